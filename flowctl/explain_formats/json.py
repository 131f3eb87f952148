"""For programs: one object a pair, with every rule that was asked."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from flowctl.explain_formats import ExplainOutput
from flowctl.linting import FindingPlaces
from policygen.explain.values import DirectionView, RuleView


def show(output: ExplainOutput) -> None:
    """Print to stdout."""
    document = {
        "format_version": 1,
        "cni": output.cni,
        "answers": [
            {
                "source": answer.source,
                "destination": answer.destination,
                "port": answer.port_text,
                "verdict": answer.word,
                "always": answer.always,
                "ends": [_view(view, output.places) for view in answer.views],
                "doubts": list(answer.doubts),
                "notes": list(answer.remarks),
            }
            for answer in output.answers
        ],
        "left_out": [{"where": p.where, "reason": p.reason} for p in output.loaded.left_out],
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _view(view: DirectionView, places: FindingPlaces) -> dict[str, object]:
    return {
        "layer": view.layer,
        "direction": view.direction,
        "end": view.end,
        "allowed": view.allowed,
        "path": list(view.steps),
        "rules": [_rule(rule, places) for rule in view.rules],
        "nearest": [str(rule.rule) for rule in view.nearest],
        "smallest_change": view.change,
        "rule_that_would_allow_it": view.snippet,
    }


def _rule(rule: RuleView, places: FindingPlaces) -> dict[str, object]:
    return {
        "rule": str(rule.rule),
        "action": rule.action,
        "ports": rule.text,
        "place": asdict(places.at(rule.origin, rule.path)),
        "path": rule.path,
        "matches": rule.matches,
        "misses": [asdict(miss) for miss in rule.misses],
    }
