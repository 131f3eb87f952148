"""For programs: everything the table says, as one JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from flowctl.lint_formats import LintOutput
from policygen.lint.model import Reported, Severity


def show(output: LintOutput) -> None:
    """Print to stdout."""
    report, loaded = output.report, output.loaded
    document = {
        "format_version": 1,
        "cni": output.cni,
        "policies": report.policies,
        "counts": {str(severity): report.count(severity) for severity in Severity},
        "findings": [_finding(output, one) for one in report.findings],
        "fixed": list(output.fixed),
        "not_fixed": list(output.not_fixed),
        "left_out": [{"where": p.where, "reason": p.reason} for p in loaded.left_out],
        "notes": [{"where": p.where, "reason": p.reason} for p in loaded.remarks],
        "not_checked": [{"check": check, "reason": reason} for check, reason in report.skipped],
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _finding(output: LintOutput, one: Reported) -> dict[str, object]:
    finding = one.finding
    return {
        "check": one.check,
        "severity": str(one.severity),
        "policy": finding.policy,
        "path": finding.path,
        "message": finding.message,
        "proof": finding.proof,
        "advice": finding.advice,
        "place": asdict(output.places.of(finding)),
        "fixable": finding.removal is not None,
    }
