"""Every pair of the netpol-analyzer cases: the explanation says what the engine says, and why."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowctl.policy_sources import LoadedPolicies, load_policies
from policygen.explain.ends import find_end
from policygen.explain.explanation import explain
from policygen.explain.values import Explanation, Question
from policygen.verify.profiles import SPEC
from policygen.verify.reachability import Reachability

PAIRS = 12
"""Pairs of one case that are asked, each at ports on both sides of what is allowed."""

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}


def cases() -> list[str]:
    root = os.environ.get("FLOWCTL_CORPORA")
    return sorted(p.name for p in Path(root, "netpol-analyzer", "cases").iterdir()) if root else []


def questions(loaded: LoadedPolicies, seed: str) -> Iterator[tuple[str, str, bool, Explanation]]:
    """(from, to, what the engine says, the answer)."""
    found = Reachability.compile(loaded.network, loaded.inventory, SPEC)
    uneven = set(found.uneven())
    names = [name for name in found.workloads if name not in uneven]
    chance = random.Random(seed)
    pairs = [(a, b) for a in names for b in names if a != b]
    for source, destination in chance.sample(pairs, min(PAIRS, len(pairs))):
        allowed = found.connections(source, destination)
        edges = {(span.protocol, port) for span in allowed.spans for port in (span.first, span.last, span.last + 1)}
        edges |= {("TCP", 80), ("UDP", 53)}
        for protocol, port in chance.sample(sorted(e for e in edges if 1 <= e[1] <= 65535), 2):
            question = Question(
                find_end(source, loaded.inventory),
                find_end(destination, loaded.inventory),
                NUMBERS[protocol],
                port,
                loaded.network,
                loaded.groups,
                loaded.inventory,
            )
            for answer in explain(question):
                yield source, destination, (protocol, port) in allowed, answer


@pytest.mark.skipif(not cases(), reason="FLOWCTL_CORPORA is not set: THE NETPOL-ANALYZER CASES ARE NOT EXPLAINED")
@pytest.mark.parametrize("case", cases())
def test_the_answer_is_the_engines_and_the_reason_is_there(case: str) -> None:
    loaded = load_policies([str(Path(os.environ["FLOWCTL_CORPORA"], "netpol-analyzer", "cases", case))])
    for source, destination, allowed, answer in questions(loaded, case):
        assert answer.allowed == allowed or answer.always, (source, destination, answer)
        denied = [view for view in answer.views if not view.allowed]
        assert bool(denied) == (not answer.allowed)
        for view in denied:
            # which policies hold the pod, or which admin rule refuses; what to change; what each rule misses by
            assert view.steps and view.change
            assert any("isolated by" in step or "denied by" in step for step in view.steps), view.steps
            assert all(rule.misses for rule in view.nearest)
        for view in answer.views:
            if view.allowed and any("allowed by" in step or "accepted by" in step for step in view.steps):
                assert any(rule.matches for rule in view.rules), view
