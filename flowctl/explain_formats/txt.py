"""For people: the verdict, then each end with its path, the nearest rules, and the smallest change."""

from __future__ import annotations

from rich.console import Console

from flowctl.explain_formats import ExplainOutput
from flowctl.linting import FindingPlaces
from flowctl.printing import ROWS, clean, console
from policygen.explain.values import DirectionView, Explanation, RuleView

NEAREST = 3
"""Rules that are shown with what they miss by; JSON has all of them."""

_STYLES = {"allowed": "bold green", "denied": "bold red", "undefined": "bold yellow"}


def show(output: ExplainOutput) -> None:
    """Print to stdout."""
    out = console()
    for number, answer in enumerate(output.answers):
        if number:
            out.print()
        _answer(out, answer, output.places)
    for problem in output.loaded.left_out[:ROWS]:
        out.print(f"[bold red]left out:[/] {clean(problem.where)}: {clean(problem.reason)}", soft_wrap=True)
    if len(output.loaded.left_out) > ROWS:
        out.print(f"... and {len(output.loaded.left_out) - ROWS} more left out")


def _answer(out: Console, answer: Explanation, places: FindingPlaces) -> None:
    style = _STYLES[answer.word]
    out.print(
        f"[{style}]{answer.word}[/]: {clean(answer.source)} -> {clean(answer.destination)} {clean(answer.port_text)}",
        soft_wrap=True,
    )
    for remark in answer.remarks:
        out.print(f"note: {clean(remark)}", soft_wrap=True)
    if answer.always:
        out.print(f"  {clean(answer.always)}", soft_wrap=True)
    elif not answer.views:
        out.print("  no policy can select either end")
    for view in answer.views:
        _view(out, view, places)
    for doubt in answer.doubts:
        out.print(f"[yellow]but:[/] {clean(doubt)}", soft_wrap=True)


def _view(out: Console, view: DirectionView, places: FindingPlaces) -> None:
    word = "allowed" if view.allowed else "denied"
    layer = "" if view.layer == "Kubernetes" else f", {view.layer}"
    out.print(f"\n[bold]{view.direction}[/] of {clean(view.end)}{layer}: [{_STYLES[word]}]{word}[/]", soft_wrap=True)
    for step in view.steps:
        out.print(f"  {clean(step.removeprefix(f'{view.direction}: '))}", soft_wrap=True)
    for rule in view.rules:
        if rule.matches:
            out.print(f"  matches: {_rule(rule, places)}", soft_wrap=True)
    if view.nearest:
        out.print("  nearest rules, and what they miss by:")
        for rule in view.nearest[:NEAREST]:
            out.print(f"    {_rule(rule, places)}", soft_wrap=True)
            for miss in rule.misses:
                out.print(f"      {miss.part}: {clean(miss.text)}", soft_wrap=True)
        if len(view.nearest) > NEAREST:
            out.print(f"    ... and {len(view.nearest) - NEAREST} more, which miss by more")
    if view.change:
        out.print(f"  smallest change: {clean(view.change)}", soft_wrap=True)
    if view.snippet:
        out.print("  a rule that would allow it:")
        for line in view.snippet.splitlines():
            out.print(f"    {clean(line)}", soft_wrap=True)


def _rule(rule: RuleView, places: FindingPlaces) -> str:
    action = "" if rule.action == "Allow" else f", {rule.action}"
    return clean(f"{rule.rule} ({rule.text}{action}) at {places.at(rule.origin, rule.path)}")
