"""All checks, found by their file names, over one case."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from typing import cast

from policygen.lint import checks
from policygen.lint.case import Case
from policygen.lint.model import Check, LintReport, Reported


def all_checks() -> dict[str, Check]:
    """Every check by its id, in order of the ids."""
    names = sorted(module.name for module in pkgutil.iter_modules(checks.__path__))
    return {name.replace("_", "-"): cast(Check, importlib.import_module(f"{checks.__name__}.{name}")) for name in names}


def lint(case: Case, only: Collection[str] = ()) -> LintReport:
    """Run every check, or those of `only`. Raises KeyError for an id that is none."""
    known = all_checks()
    chosen = {name: known[name] for name in sorted(only)} if only else known
    found: list[Reported] = []
    skipped: list[tuple[str, str]] = []
    for name, check in chosen.items():
        if check.NEEDS_INVENTORY and not case.knows_pods:
            skipped.append((name, "needs pods or workloads in the inventory"))
            continue
        for finding in check.find(case):
            severity = check.SEVERITY if finding.severity is None else finding.severity
            found.append(Reported(name, severity, finding))
    found.sort(key=lambda r: (r.severity, r.check, r.finding.policy, r.finding.path, r.finding.message))
    return LintReport(tuple(found), tuple(skipped), case.size)
