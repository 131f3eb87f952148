"""SARIF 2.1.0, for code scanning on pull requests.

Fingerprints hold check, policy and path, not lines: a finding keeps its identity when the file moves around it.
"""

from __future__ import annotations

import hashlib
import json

import click

from flowctl import __version__
from flowctl.lint_formats import LintOutput
from policygen.lint.model import Reported, Severity
from policygen.lint.run import all_checks

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def show(output: LintOutput) -> None:
    """Print to stdout."""
    rules = [
        {
            "id": name,
            "shortDescription": {"text": check.DOC},
            "defaultConfiguration": {"level": _LEVELS[check.SEVERITY]},
        }
        for name, check in all_checks().items()
    ]
    left_out = [
        {"level": "error", "message": {"text": f"left out: {problem.where}: {problem.reason}"}}
        for problem in output.loaded.left_out
    ]
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "flowctl", "version": __version__, "rules": rules}},
                "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": left_out}],
                "results": [_result(output, one) for one in output.report.findings],
            }
        ],
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _result(output: LintOutput, one: Reported) -> dict[str, object]:
    finding = one.finding
    place = output.places.of(finding)
    identity = "\0".join((one.check, finding.policy, finding.path, finding.message))
    region = {"region": {"startLine": place.line, "startColumn": max(place.column, 1)}} if place.line else {}
    text = f"{finding.policy} {finding.path}: {finding.message}. Proof: {finding.proof}."
    return {
        "ruleId": one.check,
        "level": _LEVELS[one.severity],
        "message": {"text": f"{text} {finding.advice}".strip()},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": place.file}, **region}}],
        "partialFingerprints": {"flowctl/v1": hashlib.sha256(identity.encode()).hexdigest()[:32]},
    }
