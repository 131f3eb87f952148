"""Checks of admin policies beside those that samples show."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.linting import run_checks
from flowctl.policy_sources import load_policies
from tests.lint.samples import CLUSTER, admin, ingress


def found(tmp_path: Path, text: str, check: str) -> list[tuple[str, str, str]]:
    (tmp_path / "all.yaml").write_text(CLUSTER + text)
    loaded = load_policies([str(tmp_path)])
    assert not loaded.left_out
    return [
        (str(one.severity), one.finding.path, one.finding.message)
        for one in run_checks(loaded, "spec", [check]).findings
    ]


def spec(rules: str, tier: str = "Admin", subject: str = "{namespaces: {matchLabels: {team: shop}}}") -> str:
    return f"{{tier: {tier}, priority: 5, subject: {subject}, {rules}}}"


@pytest.mark.parametrize(
    ("check", "rules", "path", "said"),
    [
        ("world-open", "egress: [{action: Accept, to: [{networks: [0.0.0.0/0]}]}]", "spec.egress[0]", "whatever"),
        ("named-port", "ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{destinationNamedPort: htpp}]}]",
         "spec.ingress[0]", "no destination pod has a port named 'htpp'"),
        ("dangling-peer", "ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: shpo}}}]}]",
         "spec.ingress[0]", "no namespace has team=shpo"),
        ("volatile-label", "egress: [{action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: "
         "{job-name: x}}}}]}]", "spec.egress[0]", "job-name=x stops matching"),
    ],
)  # fmt: skip
def test_rules(tmp_path: Path, check: str, rules: str, path: str, said: str) -> None:
    ((_, place, message),) = found(tmp_path, admin("a", spec(rules)), check)
    assert place == path and said in message


@pytest.mark.parametrize(
    ("check", "rules"),
    [
        ("world-open", "egress: [{action: Pass, to: [{networks: [0.0.0.0/0]}]}]"),
        ("world-open", "egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]"),
        (
            "named-port",
            "ingress: [{action: Pass, from: [{namespaces: {}}], protocols: [{destinationNamedPort: sql}]}]",
        ),
        ("dangling-peer", "ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: shop}}}]}]"),
    ],
)
def test_sound_rules(tmp_path: Path, check: str, rules: str) -> None:
    assert found(tmp_path, admin("a", spec(rules)), check) == []


def test_a_subject_that_selects_nobody(tmp_path: Path) -> None:
    text = admin("a", spec("ingress: []", subject="{namespaces: {matchLabels: {team: nobody}}}"))
    assert [path for _, path, _ in found(tmp_path, text, "vacuous")] == ["spec.subject"]


@pytest.mark.parametrize(
    ("first", "second", "ties"),
    [
        # disjoint subjects, one action, one direction only, another tier: no tie
        ("{namespaces: {matchLabels: {team: shop}}}", "{namespaces: {matchLabels: {team: ops}}}", 0),
        ("{namespaces: {}}", "{namespaces: {matchLabels: {team: shop}}}", 1),
        ("{namespaces: {}}", "{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}", 1),
        ("{namespaces: {}}", "{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: none}}}}", 1),
    ],
)
def test_ties_are_about_shared_pods(tmp_path: Path, first: str, second: str, ties: int) -> None:
    deny, accept = (f"ingress: [{{action: {a}, from: [{{namespaces: {{}}}}]}}]" for a in ("Deny", "Accept"))
    text = admin("a", spec(deny, subject=first)) + admin("b", spec(accept, subject=second))
    assert len(found(tmp_path, text, "priority-tie")) == ties
    same = admin("a", spec(deny, subject=first)) + admin("b", spec(deny, subject=second))
    assert found(tmp_path, same, "priority-tie") == []
    tiers = admin("a", spec(deny, subject=first)) + admin("b", spec(accept, "Baseline", subject=second))
    assert found(tmp_path, tiers, "priority-tie") == []


def test_a_pass_before_keeps_networkpolicies_in_force(tmp_path: Path) -> None:
    deny = "{action: Deny, from: [{namespaces: {}}]}"
    passed = "{action: Pass, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 1}}}]}"
    rule = ingress("{from: [{podSelector: {}}], ports: [{port: 1}]}")
    alone = found(tmp_path, admin("a", spec(f"ingress: [{deny}]")) + rule, "shadowed")
    assert [path for _, path, _ in alone] == ["spec.ingress[0]"]
    assert found(tmp_path, admin("a", spec(f"ingress: [{passed}, {deny}]")) + rule, "shadowed") == []
