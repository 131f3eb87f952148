"""Names and strings from anywhere: they arrive as they left, and nothing in them is ever evaluated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.inventory import Identity
from policygen.hcl import parse_module
from policygen.model import CidrPeer, GroupPeer, PodPeer, Policy, PolicySet, PortRange, Requirement, Rule, Selector
from policygen.synthesis.security_groups import synthesize_groups
from policygen.targets import Inexpressible, names, target
from policygen.targets.platforms import aws_sg
from policygen.terraform import parse_groups

from .worlds import edge, instance, inventory, workload, written_and_read

HOSTILE = (
    'say "hi"',
    "${file(\"/etc/passwd\")}",
    "%{ if true }x%{ endif }",
    "$${x} %%{y} $$${z} $",
    "back\\slash \\u0041 \\n",
    "line\nbreak\r\n\ttab",
    "# no comment // nor */ this",
    "<<EOT\nx\nEOT",
    "caf\u00e9 \u65e5\u672c\u8a9e \U0001f600",
    "\x00\x07\u0085\u2028\ufeff",
    "'; DROP TABLE",
    "",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_tags_and_names_arrive_as_they_left(text: str, tmp_path: Path) -> None:
    identity = workload(text, app=text, **{f"k{text}": "v"})
    other = workload("other")
    cloud = inventory(instance(identity, f"x{text}", "10.0.0.1"), instance(other, "o", "10.0.0.2"))
    edges = [edge(identity, other, 80, clients=("10.0.0.1",), servers=("10.0.0.2",))]
    policies = synthesize_groups(cloud, edges, {identity, other}).policies
    read = written_and_read(policies, tmp_path)
    assert read.problems == ()
    assert [p.meaning() for p in read.policies] == [p.meaning() for p in policies.policies]
    hostile = next(p for p in read.policies if p.name != "flowctl-other")
    assert dict(hostile.subject.labels)["app"] == text


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.text('$%{}\\"u0a~', max_size=12))
def test_quoted_strings_mean_themselves(text: str) -> None:
    line = f"locals {{\n  x = {aws_sg.quoted(text)}\n}}\n"
    assert "\n" not in aws_sg.quoted(text)
    assert parse_module(line).local_values == (("x", text),)


def test_half_a_character_is_replaced() -> None:
    aws_sg.quoted("\ud800").encode()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_descriptions_hold_what_aws_allows(text: str) -> None:
    said = aws_sg.description(text, " (and 3 more)")
    assert re.fullmatch(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}", said)
    assert said.endswith(" (and 3 more)")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=6) | st.sampled_from(["web", "Web", "a.b", "a b"]), st.text("ab", max_size=2)),
        max_size=6,
    )
)
def test_names_are_legal_unique_and_labels_too(described: list[tuple[str, str]]) -> None:
    identities = sorted({Identity("Instance", "", name, "vpc-1", (("t", tag),)) for name, tag in described})
    cloud = inventory(*(instance(one, f"{n}", f"10.0.0.{n + 1}") for n, one in enumerate(identities)))
    policies = synthesize_groups(cloud, [], identities).policies
    found = [policy.name for policy in policies.policies]
    assert len({name.lower() for name in found}) == len(identities)
    for name in found:
        assert re.fullmatch(r"flowctl-[A-Za-z0-9._/:@+=-]{1,247}", name)
    labels = re.findall(r'^resource "aws_security_group" "(.*)"', "\n".join(aws_sg.render(policies).values()), re.M)
    assert len(set(labels)) == len(identities)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", label) for label in labels)


def test_namesakes_are_told_apart_by_their_tags() -> None:
    prod, stage = workload("web", app="web", env="prod"), workload("web", app="web", env="stage")
    cloud = inventory(instance(prod, "p", "10.0.0.1"), instance(stage, "s", "10.0.0.2"))
    policies = synthesize_groups(cloud, [], {prod, stage}).policies
    assert [policy.name for policy in policies.policies] == ["flowctl-web-prod", "flowctl-web-stage"]


def test_very_long_names_are_cut_and_stay_apart() -> None:
    long = [workload("x" * 300 + end) for end in "ab"]
    cloud = inventory(*(instance(one, f"{n}", f"10.0.0.{n + 1}") for n, one in enumerate(long)))
    found = [policy.name for policy in synthesize_groups(cloud, [], long).policies.policies]
    assert [len(name) for name in found] == [255, 255]
    assert len(set(found)) == 2


def test_the_target_is_found_by_its_name() -> None:
    assert "aws-sg" in names()
    assert target("aws-sg").render(PolicySet()) == {}


WEB = Policy("flowctl-web", "vpc-1", Selector(), ingress=(), egress=())
HTTPS = (PortRange("TCP", 443),)
HOLED = CidrPeer("10.0.0.0/8", ("10.1.0.0/16",))


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Policy("w", "", Selector(), (), ()), "belongs to a VPC"),
        (Policy("w", "vpc-1", Selector(), None, ()), "isolates both directions"),
        (Policy("w", "vpc-1", Selector(), (), None), "isolates both directions"),
        (Policy("SG-w", "vpc-1", Selector(), (), ()), "must not start with sg-"),
        (Policy("w\n", "vpc-1", Selector(), (), ()), "characters AWS refuses"),
        (Policy("w", "vpc-1", Selector((), (Requirement("a", "Exists"),)), (), ()), "expressions cannot be kept"),
        (Policy("w", "vpc-1", Selector(), (Rule((), HTTPS),), ()), "would mean everybody"),
        (Policy("w", "vpc-1", Selector(), (Rule(None, ()),), ()), "would mean everybody"),
        (Policy("w", "vpc-1", Selector(), (Rule((PodPeer(Selector()),), HTTPS),), ()), "select no pods"),
        (Policy("w", "vpc-1", Selector(), (Rule((HOLED,), HTTPS),), ()), "no exceptions"),
        (Policy("w", "vpc-1", Selector(), (Rule((GroupPeer("gone"),), HTTPS),), ()), "not among the groups"),
        (Policy("w", "vpc-1", Selector(), (Rule(None, (PortRange("TCP", "http"),)),), ()), "no named ports"),
        (Policy("w", "vpc-1", Selector(), (Rule(None, (PortRange("132", 5000),)),), ()), "not only 5000"),
        (Policy("w", "vpc-1", Selector(), (Rule(None, (PortRange("SCTP", 5000),)),), ()), "another name"),
        (Policy("w", "vpc-1", Selector(), (Rule(None, (PortRange("999"),)),), ()), "no protocol"),
    ],
)  # fmt: skip
def test_what_groups_do_not_have_is_refused(policy: Policy, reason: str) -> None:
    with pytest.raises(Inexpressible, match=reason):
        aws_sg.render(PolicySet((WEB, policy)))


def test_all_that_is_refused_is_said_at_once() -> None:
    bad = Policy("w", "", Selector(), (Rule((), HTTPS),), None)
    with pytest.raises(Inexpressible) as refused:
        aws_sg.render(PolicySet((bad,)))
    assert len(refused.value.problems) == 3


def test_no_restriction_is_written_out() -> None:
    open_group = Policy(
        "w", "vpc-1", Selector(), (Rule(None, None),), (Rule((GroupPeer("sg-0abc"),), (PortRange("TCP"),)),)
    )
    (text,) = aws_sg.render(PolicySet((open_group,))).values()
    (read,) = parse_groups(text, "x.tf").policies
    everything = (PortRange("-1"),)
    assert read.ingress == (Rule((CidrPeer("0.0.0.0/0"),), everything), Rule((CidrPeer("::/0"),), everything))
    assert read.egress == open_group.egress
    assert "from_port" not in text.split("egress_rule")[0]
