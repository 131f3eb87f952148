"""The renderer: canonical bytes, quoting that no reader misreads, and refusal of what would change its meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from policygen.manifests import parse_policies
from policygen.model import (
    EVERYTHING,
    CidrPeer,
    GroupPeer,
    PodPeer,
    Policy,
    PolicySet,
    PortRange,
    Requirement,
    Rule,
    Selector,
)
from policygen.targets import Inexpressible, names, target

from .clusters import written_and_read

ANYONE = (PodPeer(None, EVERYTHING),)
TCP_80 = (PortRange("TCP", 80),)

NORWAY = (
    *("no", "No", "NO", "n", "N", "y", "Y", "yes", "on", "off", "true", "False", "null", "Null", "NULL", ""),
    *("1", "01", "0o7", "0x1F", "0b1", "1e3", "1E3", "1.0", "1_000", "1__0", "2020-01-01", "1.e3", "1e-3"),
    *("0", "123456789012345678901234567890", "nan", "inf", "NaN"),
)
"""Label values that Kubernetes takes and that some reader of YAML 1.1 or 1.2 takes for something else when plain."""


def render(*policies: Policy) -> dict[str, str]:
    return target("kubernetes").render(PolicySet(policies))


def policy(**fields: object) -> Policy:
    plain: dict[str, object] = {"name": "web", "namespace": "shop", "subject": Selector.of(app="web"), "ingress": ()}
    return Policy(**(plain | fields))  # type: ignore[arg-type]


def refusal(*policies: Policy) -> str:
    with pytest.raises(Inexpressible) as caught:
        render(*policies)
    return str(caught.value)


def test_the_target_is_found_by_name() -> None:
    assert "kubernetes" in names()
    with pytest.raises(ValueError, match=r"'openshift' is no target; there are .*kubernetes"):
        target("openshift")


@pytest.mark.parametrize("value", NORWAY)
def test_values_and_keys_stay_strings(value: str) -> None:
    labels = {("k", value)} | ({(value, "v")} if value else set())
    selector = Selector(tuple(sorted(labels)), (Requirement("z", "NotIn", (value,)),))
    one = policy(subject=selector, ingress=(Rule((PodPeer(selector, selector),), TCP_80),))
    assert written_and_read(PolicySet((one,))).policies[0].meaning() == one.meaning()


@pytest.mark.parametrize("name", ["1", "1e3", "null", "true", "0x10", "2020-01-01", "on", "1.5"])
def test_names_stay_strings(name: str) -> None:
    one = policy(name=name, namespace=name.replace(".", "-"))
    assert written_and_read(PolicySet((one,))).policies[0].meaning() == one.meaning()


def test_every_plain_scalar_is_a_word_of_the_api_a_number_or_a_safe_key() -> None:
    """Independent of any one reader: plain text that some reader could take for another type does not occur."""
    rules = (Rule((CidrPeer("10.0.0.0/8", ("10.1.0.0/16",)),), (PortRange("SCTP", 1, 9),)),)
    subject = Selector(tuple((v or "k", v) for v in sorted(NORWAY)), (Requirement("on", "Exists"),))
    text = render(policy(subject=subject, ingress=rules, annotations=(("y", "no"),)))["shop/web.yaml"]
    odd = re.compile(r"(?i)(y|n|yes|no|on|off|true|false|null|nan|~|[-+.0-9].*|)\Z")

    def scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
        if isinstance(node, yaml.ScalarNode):
            return [node]
        pairs = node.value if isinstance(node, yaml.SequenceNode) else [n for pair in node.value for n in pair]
        return [scalar for child in pairs for scalar in scalars(child)]

    plain = [s.value for s in scalars(yaml.compose(text)) if s.style is None]
    assert [p for p in plain if odd.match(p)] == ["1", "9"]  # the ports
    assert not re.search(r"[&*]id|!!|\? ", text)


def test_files_have_one_order_whatever_the_order_of_the_labels() -> None:
    one = policy(subject=Selector((("a", "1"), ("b", "2"))), labels=(("x", "1"), ("y", "2")))
    two = policy(subject=Selector((("b", "2"), ("a", "1"))), labels=(("y", "2"), ("x", "1")))
    assert render(one) == render(two)
    text = render(one)["shop/web.yaml"]
    assert [line for line in text.splitlines() if line[0] != " "] == [
        "apiVersion: networking.k8s.io/v1", "kind: NetworkPolicy", "metadata:", "spec:",
    ]  # fmt: skip


def test_evidence_stands_above_its_rule() -> None:
    first, second = (Rule(ANYONE, (PortRange("TCP", n),), (f"because {n}",)) for n in (80, 81))
    lines = render(policy(ingress=(first, second), egress=(second,)))["shop/web.yaml"].splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("  # because")]
    assert [lines[n] for n in starts] == ["  # because 80", "  # because 81", "  # because 81"]
    assert [lines[n + 1] for n in starts] == ["  - from:", "  - from:", "  - to:"]
    many = Rule(ANYONE, TCP_80, tuple(f"reason {n:03}" for n in range(200)))
    text = render(policy(ingress=(many,)))["shop/web.yaml"]
    assert text.count("# reason") == 20
    assert "  # and 180 more\n" in text


@pytest.mark.parametrize(
    "evil",
    [
        "a\nspec: {}",
        "a\r- from: []",
        "\x1b[2J",
        "\u2028x: y",
        "\u0085x",
        "\u202eright",
        "\x00",
        "x" * 5000,
        "many words " * 40,
        "\ud800",
    ],
)
def test_evidence_and_annotations_cannot_leave_their_line(evil: str) -> None:
    plain, hostile = (
        policy(ingress=(Rule(ANYONE, TCP_80, (text,)),), annotations=(("a", text),)) for text in ("x", evil)
    )
    texts = [render(one)["shop/web.yaml"] for one in (plain, hostile)]
    assert len(texts[0].splitlines()) == len(texts[1].splitlines())
    assert max(map(len, texts[1].splitlines())) < 400
    assert all(character == "\n" or character.isprintable() for character in texts[1])
    read = [parse_policies(text, "x").policies[0].meaning() for text in texts]
    assert read[0] == read[1] == plain.meaning()


def test_absence_and_emptiness_keep_their_meaning() -> None:
    cases = [
        policy(),
        policy(egress=()),
        policy(ingress=None, egress=()),
        policy(subject=EVERYTHING),
        policy(ingress=(Rule(None, None),)),
        policy(ingress=(Rule(None, TCP_80),)),
        policy(ingress=(Rule(ANYONE, None),)),
        policy(ingress=(Rule((PodPeer(EVERYTHING, None),), (PortRange("UDP"),)),)),
        policy(ingress=(Rule((PodPeer(EVERYTHING, EVERYTHING),), (PortRange("TCP", "http"),)),)),
        policy(egress=(Rule((CidrPeer("2001:db8::/32", ("2001:db8:1::/48",)),), (PortRange("UDP", 5, 9),)),)),
    ]
    for case in cases:
        text = render(case)["shop/web.yaml"]
        assert "policyTypes:\n" in text
        assert parse_policies(text, "x").policies[0].meaning() == case.meaning()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ingress": (Rule((), TCP_80),)}, "empty list of peers"),
        ({"egress": (Rule(ANYONE, ()),)}, "empty list of ports"),
        ({"ingress": (Rule((GroupPeer("sg-1"),), TCP_80),)}, "security group"),
        ({"members": ("i-1",)}, "security group"),
        ({"ingress": None}, "isolates no direction"),
        ({"name": "Web"}, "metadata.name"),
        ({"name": "../../etc/passwd"}, "metadata.name"),
        ({"namespace": "a/b"}, "metadata.namespace"),
        ({"namespace": ""}, "another meaning"),
        ({"labels": (("a b", "c"),)}, "label key 'a b'"),
        ({"subject": Selector.of(app="two words")}, "label value 'two words'"),
        ({"subject": Selector((("a", "1"), ("a", "2")))}, "another meaning"),
        ({"subject": Selector((), (Requirement("a", "In"),))}, "must be specified"),
        ({"subject": Selector((), (Requirement("a", "Like", ("b",)),))}, "not a valid selector operator"),
        ({"ingress": (Rule((PodPeer(None, None),), TCP_80),)}, "must specify a peer"),
        ({"ingress": (Rule((CidrPeer("10.0.0.1/8"),), TCP_80),)}, "another meaning"),
        ({"ingress": (Rule((CidrPeer("10.0.0.0"),), TCP_80),)}, "no CIDR"),
        ({"ingress": (Rule((CidrPeer("10.0.0.0/8", ("11.0.0.0/8",)),), TCP_80),)}, "strict subset"),
        ({"ingress": (Rule((CidrPeer("10.0.0.0/8", ("10.0.0.0/8",)),), TCP_80),)}, "strict subset"),
        ({"ingress": (Rule(ANYONE, (PortRange("icmp", 8),)),)}, "'icmp' is not supported"),
        ({"ingress": (Rule(ANYONE, (PortRange("TCP", 0),)),)}, "between 1 and 65535"),
        ({"ingress": (Rule(ANYONE, (PortRange("TCP", 9, 8),)),)}, "greater than or equal"),
        ({"ingress": (Rule(ANYONE, (PortRange("TCP", "UPPER"),)),)}, "port name"),
    ],
)
def test_what_the_server_would_refuse_or_misread_is_refused(fields: dict[str, object], reason: str) -> None:
    assert reason in refusal(policy(**fields))


def test_every_problem_is_named_with_its_object() -> None:
    text = refusal(policy(name="one", members=("i",)), policy(name="two", ingress=(Rule((), None),)))
    assert "shop/one: " in text
    assert "shop/two: " in text


def test_two_policies_of_one_name_are_refused() -> None:
    assert "same namespace and name" in refusal(policy(), policy(egress=()))


def test_objects_that_are_too_large_are_refused() -> None:
    blocks = tuple(CidrPeer(f"10.{a}.{b}.{c}/32") for a in range(2) for b in range(80) for c in range(200))
    assert "are more than the 1,048,576" in refusal(policy(ingress=(Rule(blocks, TCP_80),)))
    assert render(policy(ingress=(Rule(blocks[:1000], TCP_80),)))


def test_the_longest_names_and_keys_are_written(tmp_path: Path) -> None:
    key = f"{'.'.join(['a' * 62] * 4)[:250]}/{'k' * 63}"
    one = policy(name="n" * 253, namespace="s" * 63, subject=Selector(((key, "v" * 63),)))
    ((path, text),) = render(one).items()
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text, encoding="ascii")
    assert parse_policies((tmp_path / path).read_bytes(), path).policies[0].meaning() == one.meaning()
    assert render(policy(name="n" * 252 + "m")).keys() != render(policy(name="n" * 253)).keys()
