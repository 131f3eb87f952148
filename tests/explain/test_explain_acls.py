"""Network ACLs in explanations: the entry that decides the connection, and the one that stops its replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flowctl.cli import main
from flowctl.policy_sources import load_policies
from policygen.explain.ends import find_end
from policygen.explain.explanation import explain
from policygen.explain.values import Question
from policygen.verify.group_reachability import GroupReachability

Json = dict[str, Any]


def entry(number: int, action: str, egress: bool, cidr: str, first: int = 0, last: int = 65535) -> Json:
    ports = (
        {"Protocol": "6", "PortRange": {"From": first, "To": last}}
        if (first, last) != (0, 65535)
        else {"Protocol": "-1"}
    )
    return {"RuleNumber": number, "RuleAction": action, "Egress": egress, "CidrBlock": cidr, **ports}


OPEN = [entry(100, "allow", True, "0.0.0.0/0"), entry(100, "allow", False, "0.0.0.0/0")]


def described(web: list[Json], db: list[Json]) -> Json:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    return {
        "SecurityGroups": [
            {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": everything, "IpPermissionsEgress": everything}
        ],
        "NetworkInterfaces": [
            {"NetworkInterfaceId": f"eni-{n}", "VpcId": "vpc-1", "SubnetId": f"subnet-{n}",
             "PrivateIpAddress": f"10.0.{n}.5", "Groups": [{"GroupId": "sg-1"}]}
            for n in (1, 2)
        ],
        "NetworkAcls": [
            {"NetworkAclId": name, "VpcId": "vpc-1", "Associations": [{"SubnetId": f"subnet-{n}"}], "Entries": entries}
            for n, name, entries in ((1, "acl-web", web), (2, "acl-db", db))
        ],
    }  # fmt: skip


CASES = [
    (
        OPEN,
        OPEN,
        "allowed",
        ["acl-db, inbound TCP 5432 with 10.0.1.5: allowed by entry 100 (0.0.0.0/0, every protocol)"],
    ),
    (
        OPEN,
        [*OPEN, entry(50, "deny", False, "10.0.1.0/24", 5432, 5432)],
        "denied",
        [
            "acl-db, inbound TCP 5432 with 10.0.1.5: denied by entry 50 (10.0.1.0/24, TCP 5432)",
            "smallest change: in acl-db: an inbound allow entry with a number below 50 for 10.0.1.5 TCP 5432",
        ],
    ),
    (
        OPEN,
        [entry(100, "allow", False, "0.0.0.0/0")],
        "denied",
        ["acl-db, outbound replies, TCP 32768", "denied, no entry matches"],
    ),
    (
        [entry(100, "allow", True, "0.0.0.0/0"), entry(100, "allow", False, "0.0.0.0/0", 49152, 65535)],
        OPEN,
        "denied",
        [
            "acl-web, inbound replies, TCP 32768 with 10.0.2.5: denied, no entry matches",
            "acl-web, inbound replies, TCP 60999 with 10.0.2.5: allowed by entry 100 (0.0.0.0/0, TCP 49152-65535)",
        ],
    ),
]


@pytest.mark.parametrize(("web", "db", "word", "said"), CASES)
def test_both_ways_are_explained(tmp_path: Path, web: list[Json], db: list[Json], word: str, said: list[str]) -> None:
    (tmp_path / "vpc.json").write_text(json.dumps(described(web, db)))
    arguments = ["explain", str(tmp_path), "--from", "eni-1", "--to", "eni-2", "--port", "5432"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and result.output.startswith(f"{word}: "), result.output
    for text in said:
        assert text in result.output, result.output


def test_the_verdict_is_the_judges(tmp_path: Path) -> None:
    cuts = [
        entry(100, "allow", out, cidr, *ports)
        for out in (True, False)
        for cidr, ports in (("10.0.0.0/16", (5432, 5433)), ("10.0.2.0/24", (1024, 65535)), ("10.0.1.0/24", (1, 40000)))
    ]
    for number, web in enumerate([[*cuts[:k], *cuts[k + 1 :]] for k in range(len(cuts))] + [cuts, OPEN]):
        for index, one in enumerate(web):
            one["RuleNumber"] = 100 + index
        (tmp_path / "vpc.json").write_text(json.dumps(described(web, OPEN if number % 2 else cuts)))
        loaded = load_policies([str(tmp_path)])
        found = GroupReachability(loaded.groups, loaded.inventory, loaded.acls)
        names = sorted(found.members)
        for source, destination in (("eni-1", "eni-2"), ("eni-2", "eni-1")):
            allowed = found.connections(*(next(n for n in names if end in n) for end in (source, destination)))
            for port in (1, 80, 1024, 5432, 5434, 40000, 40001, 65535):
                ends = [find_end(one, loaded.inventory) for one in (source, destination)]
                (answer,) = explain(
                    Question(*ends, 6, port, loaded.network, loaded.groups, loaded.inventory, acls=loaded.acls)
                )
                assert answer.allowed == (("TCP", port) in allowed)
                assert answer.allowed == all(view.allowed for view in answer.views), answer
