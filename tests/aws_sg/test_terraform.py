"""Terraform as people leave it: edited, inline, incomplete, broken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policygen.model import CidrPeer, GroupPeer, Peer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.targets.platforms import aws_sg
from policygen.terraform import parse_groups, read_groups

GROUP = """
resource "aws_security_group" "{0}" {{
  name   = "{0}"
  vpc_id = "{1}"
}}
"""
WEB, DB = GROUP.format("web", "vpc-1"), GROUP.format("db", "vpc-1")


def rule(kind: str, label: str, *lines: str, group: str = "web") -> str:
    body = "\n  ".join([f"security_group_id = aws_security_group.{group}.id", *lines])
    return f'resource "aws_vpc_security_group_{kind}_rule" "{label}" {{\n  {body}\n}}\n'


def ingress_of(text: str) -> tuple[Rule, ...]:
    read = parse_groups(text, "x.tf")
    assert [p for p in read.problems if p.fatal] == []
    return next(p for p in read.policies if p.name == "web").ingress or ()


@pytest.mark.parametrize(
    ("lines", "peer", "ports"),
    [
        (
            ('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "tcp"', "from_port = 80", "to_port = 80"),
            CidrPeer("10.0.0.0/8"),
            PortRange("TCP", 80),
        ),
        (
            ('cidr_ipv4 = "10.1.2.3/8"', 'ip_protocol = "6"', 'from_port = "80"', "to_port = 90"),
            CidrPeer("10.0.0.0/8"),
            PortRange("TCP", 80, 90),
        ),
        (
            ('cidr_ipv6 = "2001:DB8::/32"', 'ip_protocol = "UDP"', "from_port = 0", "to_port = 65535"),
            CidrPeer("2001:db8::/32"),
            PortRange("UDP"),
        ),
        (
            ("referenced_security_group_id = aws_security_group.db.id", 'ip_protocol = "-1"'),
            GroupPeer("db"),
            PortRange("-1"),
        ),
        (
            ('referenced_security_group_id = "${aws_security_group.db.id}"', "ip_protocol = -1"),
            GroupPeer("db"),
            PortRange("-1"),
        ),
        (('referenced_security_group_id = "sg-0af"', 'ip_protocol = "47"'), GroupPeer("sg-0af"), PortRange("47")),
        (
            ('cidr_ipv4 = "0.0.0.0/0"', 'ip_protocol = "icmp"', "from_port = -1", "to_port = -1"),
            CidrPeer("0.0.0.0/0"),
            PortRange("icmp"),
        ),
        (
            ('cidr_ipv4 = "0.0.0.0/0"', 'ip_protocol = "icmp"', "from_port = 8", "to_port = 0"),
            CidrPeer("0.0.0.0/0"),
            PortRange("icmp", 8, 0),
        ),
        (('cidr_ipv6 = "::/0"', 'ip_protocol = "icmpv6"'), CidrPeer("::/0"), PortRange("icmpv6")),
        (
            (
                'cidr_ipv4 = "10.0.0.0/8" # a comment',
                'ip_protocol = "tcp"',
                "from_port = 1 /* no */",
                "to_port = 1",
                "prefix_list_id = null",
            ),
            CidrPeer("10.0.0.0/8"),
            PortRange("TCP", 1),
        ),
    ],
)
def test_rules_mean_what_the_provider_makes_of_them(lines: tuple[str, ...], peer: Peer, ports: PortRange) -> None:
    assert ingress_of(WEB + DB + rule("ingress", "r", *lines)) == (Rule((peer,), (ports,)),)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (('ip_protocol = "-1"',), "exactly one of"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'cidr_ipv6 = "::/0"', 'ip_protocol = "-1"'), "2 are given"),
        (('cidr_ipv4 = "10.0.0.0/33"', 'ip_protocol = "-1"'), "10.0.0.0/33"),
        (('cidr_ipv4 = "::/0"', 'ip_protocol = "-1"'), "not IPv4"),
        (("cidr_ipv4 = var.everything", 'ip_protocol = "-1"'), "var.everything is an expression"),
        (('cidr_ipv4 = "${var.a}/32"', 'ip_protocol = "-1"'), "is an expression"),
        (('prefix_list_id = "pl-1"', 'ip_protocol = "-1"'), "prefix list"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "tcp"'), "needs from_port and to_port"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "tcp"', "from_port = 80", "to_port = 79"), "no range of ports"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "tcp"', "from_port = 80", "to_port = 65536"), "no range of ports"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "tcp"', 'from_port = "http"', "to_port = 80"), "no number"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "-1"', "from_port = 0", "to_port = 0"), "must be left out"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "256"'), "no protocol"),
        (('cidr_ipv4 = "10.0.0.0/8"',), "no protocol"),
        (("referenced_security_group_id = aws_security_group.far.id", 'ip_protocol = "-1"'), "far is in vpc-2"),
        (("referenced_security_group_id = aws_security_group.gone.id", 'ip_protocol = "-1"'), "is an expression"),
        (('referenced_security_group_id = "web"', 'ip_protocol = "-1"'), "no id of one"),
        (('cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "-1"', "count = 2"), "count cannot be evaluated"),
        (('cidr_ipv4 = ["10.0.0.0/8"]', 'ip_protocol = "-1"'), "expected a string"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_read_is_left_out_and_said(lines: tuple[str, ...], reason: str) -> None:
    good = rule("ingress", "good", 'cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "-1"')
    text = WEB + GROUP.format("far", "vpc-2") + rule("ingress", "bad", *lines) + good
    read = parse_groups(text, "x.tf")
    (problem,) = read.problems
    assert problem.fatal
    assert problem.where == "x.tf: aws_vpc_security_group_ingress_rule.bad"
    assert reason in problem.reason
    assert len(next(p for p in read.policies if p.name == "web").ingress or ()) == 1


def test_inline_rules_are_read() -> None:
    text = """
    resource "aws_security_group" "web" {
      name   = "web"
      vpc_id = "vpc-1"
      ingress {
        protocol         = "tcp"
        from_port        = 80
        to_port          = 81
        cidr_blocks      = ["10.0.0.0/8", "192.168.0.0/16"]
        ipv6_cidr_blocks = ["::/0"]
        security_groups  = [aws_security_group.db.id]
        self             = true
      }
      ingress {
        protocol    = "tcp"
        from_port   = 22
        to_port     = 22
        cidr_blocks = [var.office]
      }
      egress = [{
        protocol    = "-1"
        from_port   = 0
        to_port     = 0
        cidr_blocks = ["0.0.0.0/0"]
      }]
    }
    """
    read = parse_groups(text + DB, "x.tf")
    web = next(p for p in read.policies if p.name == "web")
    ports = (PortRange("TCP", 80, 81),)
    peers = ("db", "web", "10.0.0.0/8", "192.168.0.0/16", "::/0")
    expected = [Rule((CidrPeer(p) if "/" in p else GroupPeer(p),), ports) for p in peers]
    assert web.ingress == tuple(expected)
    assert web.egress == (Rule((CidrPeer("0.0.0.0/0"),), (PortRange("-1"),)),)
    (problem,) = read.problems
    assert problem.where == "x.tf: aws_security_group.web: ingress[1]"
    assert problem.fatal


def test_other_resources_are_passed_over_and_counted() -> None:
    text = 'resource "aws_instance" "i" {\n ami = "x"\n}\nvariable "v" {\n}\nterraform {\n}\n'
    text += 'module "m" {\n source = "./m"\n}\n'
    read = parse_groups(WEB + text, "x.tf")
    assert [p.name for p in read.policies] == ["web"]
    (problem,) = read.problems
    assert not problem.fatal
    assert problem.reason == "4 blocks of other kinds passed over: aws_instance 1, module 1, terraform 1, variable 1"


def test_a_group_without_rules_allows_nothing() -> None:
    assert parse_groups(WEB, "x.tf").policies == (
        Policy("web", "vpc-1", Selector(), (), (), origin="x.tf: aws_security_group.web"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GROUP.format("web", "vpc-1") * 2, "another resource has this address"),
        (WEB.replace('"vpc-1"', "var.vpc"), "must be plain strings"),
        (WEB.replace('vpc_id = "vpc-1"', ""), "vpc_id is missing"),
        (WEB.replace('name   = "web"', 'name_prefix = "web"'), "name is missing"),
        (WEB.replace('name   = "web"', 'name = "web"\n for_each = {}'), "for_each cannot be evaluated"),
        (rule("egress", "r", 'cidr_ipv4 = "10.0.0.0/8"', 'ip_protocol = "-1"'), "no reference to a group"),
        (WEB + "locals {\n flowctl_members_x = { a = { members = [] } }\n}\n", "no reference to a group"),
        (WEB + "locals {\n flowctl_members_x = 7\n}\n", "expected a map"),
        ("resource {", "ends in the middle"),
        ("resource a b {\n  x = = 1\n}", "line 2, column 7: no Terraform at 'x = = 1'"),
        ("\x00\x01", "no Terraform"),
        ("x = " + "[" * 4000 + "]" * 4000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_fatal_problem(text: str, reason: str) -> None:
    fatal = [problem for problem in parse_groups(text, "x.tf").problems if problem.fatal]
    assert len(fatal) == 1
    assert reason in fatal[0].reason
    assert fatal[0].where.startswith("x.tf")


def test_files_of_a_directory_are_one_module_and_a_broken_one_loses_the_rest_nothing(tmp_path: Path) -> None:
    crossing = rule("egress", "r", "referenced_security_group_id = aws_security_group.db.id", 'ip_protocol = "-1"')
    (tmp_path / "a.tf").write_text(crossing + WEB)
    (tmp_path / "b.tf").write_text(DB)
    (tmp_path / "c.tf").write_text("resource {")
    (tmp_path / "d.tf").write_bytes(b"# caf\xe9\n")
    (tmp_path / "e.txt").write_text("no Terraform")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.tf").write_text(WEB.replace("vpc-1", "vpc-2"))
    read = read_groups([tmp_path, tmp_path / "a.tf", tmp_path / "missing.tf"])
    assert [(p.namespace, p.name) for p in read.policies] == [("vpc-1", "db"), ("vpc-1", "web"), ("vpc-2", "web")]
    assert read.policies[1].egress == (Rule((GroupPeer("db"),), (PortRange("-1"),)),)
    assert {Path(p.where).name for p in read.problems} == {"c.tf", "d.tf", "missing.tf"}
    assert all(p.fatal for p in read.problems)
    assert read == read_groups([tmp_path / "missing.tf", tmp_path])


_WRITTEN = aws_sg.render(
    PolicySet(
        (
            Policy(
                "a",
                "vpc-1",
                Selector.of(app="a"),
                (Rule((GroupPeer("b"),), (PortRange("TCP", 80),)),),
                (),
                members=("i-1",),
            ),
            Policy("b", "vpc-1", Selector(), (), (Rule((GroupPeer("a"),), (PortRange("TCP", 80),)),)),
        )
    )
)["aws-sg/vpc-1.tf"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(_WRITTEN)), st.integers(0, 12), st.text('"{}[]=$%\\\n#0,.<\x00', max_size=4))
def test_no_damage_ends_in_a_traceback(start: int, length: int, instead: str) -> None:
    damaged = _WRITTEN[:start] + instead + _WRITTEN[start + length :]
    read = parse_groups(damaged, "x.tf")
    assert all(problem.where.startswith(("x.tf", "Terraform")) for problem in read.problems)


@pytest.mark.slow
def test_reading_takes_time_in_proportion_to_the_rules() -> None:
    def seconds(count: int) -> float:
        rules = tuple(Rule((CidrPeer(f"10.{n // 250}.{n % 250}.1/32"),), (PortRange("TCP", 80),)) for n in range(count))
        (text,) = aws_sg.render(PolicySet((Policy("a", "vpc-1", Selector(), rules, ()),))).values()
        start = time.process_time()
        assert len(parse_groups(text, "x.tf").policies[0].ingress or ()) == count
        return time.process_time() - start

    few, many = seconds(100), seconds(600)
    assert many < 15 * few  # six times the rules; a square would be 36 times
