"""How findings are printed: one module a format, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Protocol, cast

from flowctl.linting import FindingPlaces
from flowctl.policy_sources import LoadedPolicies
from policygen.lint.model import LintReport


@dataclass(frozen=True)
class LintOutput:
    """Everything a format may show."""

    loaded: LoadedPolicies
    report: LintReport
    places: FindingPlaces
    cni: str = "spec"
    fixed: tuple[str, ...] = ()  # what --fix did, one line each
    not_fixed: tuple[str, ...] = field(default=())  # what it refused, and why


class LintFormat(Protocol):
    """What a module here offers."""

    def show(self, output: LintOutput) -> None:
        """Print to stdout."""


def names() -> tuple[str, ...]:
    """Format names as users type them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def printer(name: str) -> LintFormat:
    """The module of a format."""
    return cast(LintFormat, importlib.import_module(f"{__name__}.{name}"))
