"""What `flowctl ingest` and `flowctl store` print."""

from __future__ import annotations

from collections import defaultdict

from analyzers.flows import Skip
from analyzers.store.objects import IntakeSummary
from flowctl.printing import ROWS, clean, console, table, time_text


def print_taken(summary: IntakeSummary, path: str) -> None:
    """What was taken, what was there already, what was left and why."""
    out = console()
    report = summary.report
    formats = ", ".join(f"{count} {name}" for name, count in report.formats.items()) or "none readable"
    rows: list[tuple[str, str]] = [
        ("objects", f"{summary.objects:,}"),
        ("taken now", f"{summary.taken:,}" + (f" ({formats})" if summary.taken else "")),
        ("of these in place of an earlier version", f"{summary.replaced:,}"),
        ("in the store already", f"{summary.unchanged:,}"),
        ("left", f"{len(summary.left):,}"),
        ("records", f"{report.records:,}, {time_text(report.first)} to {time_text(report.last)}"),
        ("skipped", f"{report.skipped:,}"),
    ]
    out.print(table(f"Taken into {clean(path)}", ("what", "how much"), rows))
    _print_reasons("Left as they are", summary.left)
    _print_reasons("Skipped, and not seen", (*report.skips, *report.coverage))
    for note in report.notes[:ROWS]:
        out.print(f"note: {clean(note)}", soft_wrap=True)


def _print_reasons(title: str, skips: tuple[Skip, ...]) -> None:
    folded: dict[str, list[Skip]] = defaultdict(list)
    for skip in skips:
        folded[skip.reason].append(skip)
    rows = [
        (
            reason,
            f"{sum(s.count for s in found):,}",
            f"{found[0].source}: {(found[0].samples or ('',))[0]}".rstrip(": "),
        )
        for reason, found in sorted(folded.items())
    ]
    if rows:
        shown = console()
        shown.print()
        shown.print(table(title, ("reason", "count", "first place"), rows, (1,)))
