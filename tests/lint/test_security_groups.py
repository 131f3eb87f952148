"""Checks of security groups as an account has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flowctl.linting import run_checks
from flowctl.policy_sources import load_policies

Json = dict[str, Any]


def tcp(first: int, last: int, **peers: Any) -> Json:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **peers}


def cidrs(*texts: str) -> Json:
    return {"IpRanges": [{"CidrIp": text} for text in texts]}


def members(*groups: str) -> Json:
    return {"UserIdGroupPairs": [{"GroupId": group} for group in groups]}


def found(tmp_path: Path, *ingress: Json, egress: tuple[Json, ...] = (), interfaces: int = 1) -> dict[str, list[str]]:
    """Check -> "severity message" of a VPC with one group, carried by `interfaces` interfaces."""
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": ingress, "IpPermissionsEgress": egress}
    cards = [
        {"NetworkInterfaceId": f"eni-{n}", "VpcId": "vpc-1", "PrivateIpAddress": f"10.0.0.{n}",
         "Groups": [{"GroupId": "sg-1" if n <= interfaces else "sg-2"}]}
        for n in range(1, 3)
    ]  # fmt: skip
    (tmp_path / "vpc.json").write_text(json.dumps({"SecurityGroups": [group], "NetworkInterfaces": cards}))
    loaded = load_policies([str(tmp_path)])
    assert not loaded.left_out
    answers: dict[str, list[str]] = {}
    for one in run_checks(loaded, "spec").findings:
        answers.setdefault(one.check, []).append(f"{one.severity} {one.finding.message}")
    return answers


def test_a_tight_group_is_left_alone(tmp_path: Path) -> None:
    assert found(tmp_path, tcp(5432, 5432, **members("sg-1")), egress=(tcp(443, 443, **cidrs("192.0.2.0/24")),)) == {}


def test_a_rule_in_another(tmp_path: Path) -> None:
    answer = found(tmp_path, tcp(80, 80, **cidrs("10.1.0.0/16")), tcp(1, 1000, **cidrs("10.0.0.0/8")))
    assert answer == {
        "contained": ["note ingress TCP 80 of 10.1.0.0/16 allows nothing that TCP 1-1000 of 10.0.0.0/8 does not allow"]
    }
    everything = {"IpProtocol": "-1", **members("sg-1")}
    assert list(found(tmp_path, tcp(80, 80, **members("sg-1")), everything)) == ["contained"]
    assert found(tmp_path, tcp(80, 80, **cidrs("10.1.0.0/16")), tcp(81, 90, **cidrs("10.0.0.0/8"))) == {}


def test_the_world_at_the_door(tmp_path: Path) -> None:
    (ssh,) = found(tmp_path, tcp(22, 22, **cidrs("0.0.0.0/0")))["world-open"]
    assert ssh.startswith("error every address (0.0.0.0/0) may reach its members on TCP 22") and "SSH" in ssh
    (https,) = found(tmp_path, tcp(443, 443, Ipv6Ranges=[{"CidrIpv6": "::/0"}]))["world-open"]
    assert https.startswith("note every address (::/0)")
    (everything,) = found(tmp_path, {"IpProtocol": "-1", **cidrs("0.0.0.0/0")})["world-open"]
    assert everything.startswith("warning")
    # what every new group has
    (egress,) = found(tmp_path, egress=({"IpProtocol": "-1", **cidrs("0.0.0.0/0")},))["world-open"]
    assert egress.startswith("note every address (0.0.0.0/0) may be reached")


def test_a_reference_to_a_group_that_is_gone(tmp_path: Path) -> None:
    (stale,) = found(tmp_path, tcp(5432, 5432, **members("sg-9")))["stale-group"]
    assert "TCP 5432 of sg-9 is for a group that is not among the 1 groups shown" in stale


def test_a_group_that_nobody_carries(tmp_path: Path) -> None:
    assert found(tmp_path, tcp(1, 1, **members("sg-1")), interfaces=0) == {
        "vacuous": ["warning no interface carries this security group"]
    }


def test_an_ipv6_provider_for_a_host(tmp_path: Path) -> None:
    (wide,) = found(tmp_path, tcp(443, 443, Ipv6Ranges=[{"CidrIpv6": "2001:db8::/32"}]))["ipv6-32"]
    assert wide == "error 2001:db8::/32 is 2^96 addresses"


def test_quotas_count_references_in_both_families(tmp_path: Path) -> None:
    v4 = [tcp(n, n, **cidrs("192.0.2.0/24")) for n in range(1, 60)]
    assert "group-quota" not in found(tmp_path, *v4, tcp(99, 99, **members("sg-1")))
    (said,) = found(tmp_path, *v4, *(tcp(n, n, **members("sg-1")) for n in (99, 100)))["group-quota"]
    assert "61 ingress rules for IPv4; 60 are the default quota" in said


def test_too_many_groups_on_one_interface(tmp_path: Path) -> None:
    groups = [{"GroupId": f"sg-{n}", "VpcId": "vpc-1", "IpPermissions": []} for n in range(1, 8)]
    card = {"NetworkInterfaceId": "eni-1", "VpcId": "vpc-1", "PrivateIpAddress": "10.0.0.1", "Groups": groups}
    (tmp_path / "vpc.json").write_text(json.dumps({"SecurityGroups": groups, "NetworkInterfaces": [card]}))
    loaded = load_policies([str(tmp_path)])
    (one,) = run_checks(loaded, "spec", ["group-quota"]).findings
    assert one.finding.policy == "vpc-1/eni-1" and "carries 7 groups; 5 are the default quota" in one.finding.message
