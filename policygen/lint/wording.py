"""Selectors and pods in words, and which pod a selector just misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from analyzers.inventory import Endpoint
from policygen.model import Requirement, Selector
from policygen.verify.matching import selector_matches

_WORDS = {"In": "in", "NotIn": "not in", "Exists": "with", "DoesNotExist": "without"}


def selector_text(selector: Selector) -> str:
    """`app=web, tier in (a, b)`; `any labels` for the empty selector."""
    words = [f"{key}={value}" for key, value in selector.labels]
    for one in selector.expressions:
        if one.operator in ("In", "NotIn"):
            words.append(f"{one.key} {_WORDS[one.operator]} ({', '.join(one.values)})")
        else:
            words.append(f"{_WORDS[one.operator]} {one.key}")
    return ", ".join(words) or "any labels"


def conditions(selector: Selector) -> list[Selector]:
    """The selector's conditions, one each."""
    return [Selector(labels=(pair,)) for pair in selector.labels] + [
        Selector(expressions=(one,)) for one in selector.expressions
    ]


def failing(selector: Selector, labels: Mapping[str, str]) -> list[Selector]:
    """The conditions that `labels` do not meet."""
    return [one for one in conditions(selector) if not selector_matches(one, labels)]


def nearest(selector: Selector, pods: Sequence[Endpoint]) -> str:
    """Which pod comes closest, and what it has instead: "" cannot happen with pods."""
    if not pods:
        return "there is none"
    best = min(pods, key=lambda pod: (-_closeness(selector, dict(pod.labels)), pod.namespace, pod.name))
    return f"closest is {best.namespace}/{best.workload.name}: {instead(selector, dict(best.labels))}"


def nearest_namespace(selector: Selector, namespaces: Mapping[str, Mapping[str, str]]) -> str:
    """The same for namespaces."""
    if not namespaces:
        return "there is none"
    best = min(namespaces, key=lambda name: (-_closeness(selector, namespaces[name]), name))
    return f"closest is {best}: {instead(selector, namespaces[best])}"


def instead(selector: Selector, labels: Mapping[str, str]) -> str:
    """What stands where the selector asks for something else: `app=frontend, not app=fronted`."""
    return "; ".join(_instead(one, labels) for one in failing(selector, labels)) or "matches"


def _instead(condition: Selector, labels: Mapping[str, str]) -> str:
    wanted = selector_text(condition)
    key = condition.labels[0][0] if condition.labels else condition.expressions[0].key
    if key in labels:
        return f"{key}={labels[key]}, not {wanted}" if condition.labels else f"{key}={labels[key]} is not {wanted}"
    return f"no label {key} (wanted {wanted})"


def _closeness(selector: Selector, labels: Mapping[str, str]) -> float:
    return sum(_condition_closeness(one, labels) for one in conditions(selector))


def _condition_closeness(condition: Selector, labels: Mapping[str, str]) -> float:
    if selector_matches(condition, labels):
        return 1.0
    key, wanted = _wanted(condition)
    value = labels.get(key)
    if value is None:
        return 0.0
    return 0.1 + 0.8 * max((SequenceMatcher(None, value, one).ratio() for one in wanted), default=0.0)


def _wanted(condition: Selector) -> tuple[str, Iterable[str]]:
    if condition.labels:
        return condition.labels[0][0], (condition.labels[0][1],)
    requirement: Requirement = condition.expressions[0]
    return requirement.key, requirement.values if requirement.operator == "In" else ()
