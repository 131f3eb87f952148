"""For people: findings by severity, each with place, proof and advice."""

from __future__ import annotations

from flowctl.lint_formats import LintOutput
from flowctl.printing import ROWS, clean, console
from policygen.lint.model import Severity

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def show(output: LintOutput) -> None:
    """Print to stdout."""
    out = console()
    report, loaded = output.report, output.loaded
    for one in report.findings:
        finding = one.finding
        style = _STYLES[one.severity]
        out.print(
            f"[{style}]{one.severity}[/] [bold]{one.check}[/] {clean(finding.policy)} {clean(finding.path)}".rstrip(),
            soft_wrap=True,
        )
        out.print(f"  {clean(finding.message)}", soft_wrap=True)
        out.print(f"  proof: {clean(finding.proof)}", soft_wrap=True)
        if finding.advice:
            out.print(f"  advice: {clean(finding.advice)}", soft_wrap=True)
        out.print(f"  at {clean(output.places.of(finding))}", soft_wrap=True)
    for line in output.fixed:
        out.print(f"fixed: {clean(line)}", soft_wrap=True)
    for line in output.not_fixed:
        out.print(f"not fixed: {clean(line)}", soft_wrap=True)
    for problem in loaded.left_out[:ROWS]:
        out.print(f"[bold red]left out:[/] {clean(problem.where)}: {clean(problem.reason)}", soft_wrap=True)
    for problem in loaded.remarks[:ROWS]:
        out.print(f"note: {clean(problem.where)}: {clean(problem.reason)}", soft_wrap=True)
    for rest, what in ((len(loaded.left_out) - ROWS, "left out"), (len(loaded.remarks) - ROWS, "notes")):
        if rest > 0:
            out.print(f"... and {rest} more {what}")
    for check, reason in report.skipped:
        out.print(f"not checked: {check}: {reason}")
    counts = ", ".join(f"{report.count(severity)} {severity}s" for severity in Severity)
    out.print(f"{report.policies} policies: {counts}", soft_wrap=True)
