"""Security groups and network ACLs through reach and diff, and every cell of random clouds against evaluate_groups."""

from __future__ import annotations

import ipaddress
import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analyzers.flows import address_halves, address_object
from analyzers.inventory import Endpoint, Identity, Inventory
from flowctl.cli import main
from policygen.model import CidrPeer, GroupPeer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.network_acls import read_network_acls
from policygen.verify.evaluate import Flow
from policygen.verify.group_reachability import GroupReachability, member_name
from policygen.verify.matching import FlowEnd
from policygen.verify.security_groups import evaluate_groups

Json = dict[str, Any]
ANYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def permission(port: int, *sources: str, protocol: str = "tcp") -> Json:
    found: Json = {"IpProtocol": protocol, "FromPort": port, "ToPort": port, "IpRanges": [], "UserIdGroupPairs": []}
    for source in sources:
        group = source.startswith("sg-")
        found["UserIdGroupPairs" if group else "IpRanges"].append({"GroupId" if group else "CidrIp": source})
    return found


def group(name: str, *ingress: Json, egress: tuple[Json, ...] = (ANYWHERE,)) -> Json:
    return {"GroupId": name, "GroupName": name[3:], "VpcId": "vpc-1", "IpPermissions": list(ingress),
            "IpPermissionsEgress": list(egress)}  # fmt: skip


def interface(number: int, subnet: str, *groups: str, instance: str = "") -> Json:
    return {
        "NetworkInterfaceId": f"eni-{number}",
        "VpcId": "vpc-1",
        "SubnetId": subnet,
        "PrivateIpAddress": f"10.0.{subnet[-1]}.{number}",
        "Groups": [{"GroupId": one} for one in groups],
        "Attachment": {"InstanceId": instance or f"i-{number}", "DeviceIndex": 0},
    }


def acl(subnet: str, *entries: tuple[int, bool, str, str, tuple[int, int] | None]) -> Json:
    found = [
        {"RuleNumber": number, "RuleAction": "deny" if number % 2 else "allow", "Egress": egress, "CidrBlock": cidr,
         "Protocol": protocol, **({"PortRange": {"From": ports[0], "To": ports[1]}} if ports else {})}
        for number, egress, cidr, protocol, ports in entries
    ]  # fmt: skip
    return {"NetworkAclId": f"acl-{subnet}", "VpcId": "vpc-1", "Associations": [{"SubnetId": subnet}], "Entries": found}


CLOUD = {
    "groups.json": {"SecurityGroups": [
        group("sg-web", permission(443, "0.0.0.0/0"), egress=(permission(5432, "sg-db"),)),
        group("sg-db", permission(5432, "sg-web", "sg-ops")),
        group("sg-ops", permission(22, "192.0.2.0/24")),
    ]},
    "interfaces.json": {"NetworkInterfaces": [
        interface(1, "subnet-1", "sg-web"), interface(2, "subnet-2", "sg-db"),
        interface(3, "subnet-2", "sg-db", "sg-ops"),
    ]},
}  # fmt: skip


def written(folder: Path, files: Json) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def flowctl(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


WEB, DB, BOTH = "vpc-1/i-1[Instance]", "vpc-1/i-2[Instance]", "vpc-1/i-3[Instance]"
LINES = {
    f"0.0.0.0-255.255.255.255[External] => {WEB} : TCP 443",
    f"{WEB} => {DB} : TCP 5432",
    f"{WEB} => {BOTH} : TCP 5432",
    f"{DB} => {WEB} : TCP 443",
    f"{BOTH} => {WEB} : TCP 443",
    f"{BOTH} => {DB} : TCP 5432",  # by sg-ops, the second group of its interface
    f"{DB} => 0.0.0.0-255.255.255.255[External] : All Connections",
    f"{BOTH} => 0.0.0.0-255.255.255.255[External] : All Connections",
    f"192.0.2.0-192.0.2.255[External] => {BOTH} : TCP 22",
}


def test_reach_follows_references_and_several_groups_of_an_interface(tmp_path: Path) -> None:
    done = flowctl("reach", written(tmp_path, CLOUD))
    assert (done.exit_code, set(done.stdout.splitlines())) == (0, LINES)


def test_interfaces_of_one_instance_keep_their_own_groups(tmp_path: Path) -> None:
    cards = [interface(1, "subnet-1", "sg-web", instance="i-9"), interface(2, "subnet-2", "sg-db", instance="i-9"),
             interface(3, "subnet-2", "sg-ops")]  # fmt: skip
    folder = written(tmp_path, {**CLOUD, "interfaces.json": {"NetworkInterfaces": cards}})
    lines = flowctl("reach", folder).stdout.splitlines()
    assert "vpc-1/i-3[Instance] => vpc-1/i-9[Instance] : TCP 443,5432" in lines  # each at its own address


def test_acls_are_ordered_and_need_the_way_back(tmp_path: Path) -> None:
    everything = (100, False, "0.0.0.0/0", "-1", None)
    closed = acl("subnet-2", everything, (100, True, "10.0.0.0/8", "6", (1024, 65535)))
    lines = reach_with(tmp_path / "a", closed)
    assert f"{WEB} => {DB} : TCP 5432" in lines
    assert f"{BOTH} => {DB} : TCP 5432" in lines  # one subnet: no ACL is asked
    assert f"{DB} => {WEB} : TCP 443" not in lines  # 443 does not leave
    assert not [line for line in lines if "192.0.2" in line]  # replies to outside do not leave
    narrow = acl("subnet-2", everything, (100, True, "10.0.0.0/8", "6", (1024, 40000)))
    # replies to ports above 40000 do not leave
    assert f"{WEB} => {DB} : TCP 5432" not in reach_with(tmp_path / "b", narrow)
    denying = (99, False, "10.0.1.0/24", "6", (5432, 5432))
    first = acl("subnet-2", denying, everything, (100, True, "0.0.0.0/0", "-1", None))
    gone = {f"{WEB} => {DB} : TCP 5432", f"{WEB} => {BOTH} : TCP 5432"}
    assert reach_with(tmp_path / "c", first) == LINES - gone


def reach_with(folder: Path, one: Json) -> set[str]:
    done = flowctl("reach", written(folder, {**CLOUD, "acl.json": {"NetworkAcls": [one]}}))
    return set(done.stdout.splitlines())


def test_a_broken_acl_is_left_out_and_said(tmp_path: Path) -> None:
    broken = acl("subnet-2", (100, False, "10.0.0.0/33", "6", None))
    folder = written(tmp_path, {**CLOUD, "acl.json": {"NetworkAcls": [broken]}})
    done = flowctl("reach", folder)
    assert (done.exit_code, set(done.stdout.splitlines())) == (1, LINES)
    assert "acl.json document 1 (line 1): NetworkAcls[0]" in done.stderr and "is no CIDR" in done.stderr
    assert flowctl("reach", folder, "--strict").exit_code == 3


def test_diff_has_a_packet_for_each_change(tmp_path: Path) -> None:
    groups = json.loads(json.dumps(CLOUD["groups.json"]))
    groups["SecurityGroups"][1]["IpPermissions"] = [permission(5432, "sg-web"), permission(22, "192.0.2.0/25")]
    new = written(tmp_path / "new", {**CLOUD, "groups.json": groups})
    done = flowctl("diff", written(tmp_path / "old", CLOUD), new, "--format", "json")
    changes = {(c["source"], c["destination"]): c for c in json.loads(done.stdout)["changes"]}
    assert {pair: (c["before"], c["after"]) for pair, c in changes.items()} == {
        (BOTH, DB): ("TCP 5432", "No Connections"),
        ("192.0.2.0-192.0.2.127[External]", DB): ("No Connections", "TCP 22"),
    }
    for change in changes.values():
        (witness,) = change["witnesses"]
        assert witness["before"]["allowed"] != witness["after"]["allowed"]
        assert witness["destination"] == "i-2"


def test_flows_that_a_change_of_groups_would_break(tmp_path: Path) -> None:
    log = tmp_path / "flows.log"
    log.write_text("".join(
        f"2 123456789012 eni-2 10.0.1.1 10.0.2.2 {40000 + i} 5432 6 9 900 1767225600 1767225660 ACCEPT OK\n"
        f"2 123456789012 eni-2 10.0.2.2 10.0.1.1 5432 {40000 + i} 6 9 900 1767225600 1767225660 ACCEPT OK\n"
        for i in range(9)
    ))  # fmt: skip
    groups = json.loads(json.dumps(CLOUD["groups.json"]))
    groups["SecurityGroups"][0]["IpPermissionsEgress"] = [ANYWHERE]
    old = written(tmp_path / "old", {**CLOUD, "groups.json": groups})
    groups["SecurityGroups"][1]["IpPermissions"] = [permission(5433, "sg-web")]
    new = written(tmp_path / "new", {**CLOUD, "groups.json": groups})
    done = flowctl("diff", old, new, "--flows", log, "--format", "json")
    assert done.exit_code == 1, done.stderr
    flows = json.loads(done.stdout)["flows"]
    assert [(one["port"], one["after"]["allowed"]) for one in flows["would_break"]] == [(5432, False)]
    assert flows["opened_never_used"] == [
        {"source": WEB, "destination": other, "connections": "TCP 5433"} for other in (DB, BOTH)
    ]


@pytest.mark.parametrize("seed", range(25))
def test_every_cell_is_what_evaluate_groups_says(seed: int) -> None:
    chance = random.Random(seed)
    names = ("sg-a", "sg-b", "sg-c")
    peers = [*(GroupPeer(name) for name in names), CidrPeer("10.0.0.0/8"), CidrPeer("10.0.0.2/32"),
             CidrPeer("8.8.8.0/24"),
             CidrPeer("0.0.0.0/0"), CidrPeer("::/0"), CidrPeer("2001:db8::/32")]  # fmt: skip
    ports = [PortRange("TCP", 80), PortRange("TCP", 79, 81), PortRange("UDP"), PortRange("-1"), PortRange("icmp"),
             PortRange("47"), PortRange("TCP", 0, 80), PortRange("132")]  # fmt: skip

    def rules() -> tuple[Rule, ...]:
        return tuple(Rule((chance.choice(peers),), (chance.choice(ports),)) for _ in range(chance.randint(0, 3)))

    policies = PolicySet(tuple(Policy(name, "vpc-1", Selector(), rules(), rules()) for name in names))
    endpoints = [
        Endpoint(f"i-{i}", "", Identity("Instance", "", f"i-{i}", "vpc-1"), (), (address_halves(address),), "vpc-1",
                 security_groups=tuple(chance.sample(names, chance.randint(0, 3))))
        for i, address in enumerate(("10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1"))
    ]  # fmt: skip
    found = GroupReachability(policies, Inventory(endpoints=tuple(endpoints)))
    numbered = [("UDP", 17, 53), ("SCTP", 132, 9), ("IP", 47, 47), ("IP", 50, 50)]
    cells = [*(("TCP", 6, port) for port in (1, 79, 80, 81, 82)), *numbered]
    ends = {member_name(e): FlowEnd(e, e.addresses[0]) for e in endpoints}
    for (one, source), (other, destination) in product(ends.items(), ends.items()):
        for name, number, port in cells if one != other else ():
            asked = Flow(source, destination, number, port if number in (6, 17, 132) else 0)
            expected = evaluate_groups(found.membership, asked).allowed
            assert ((name, port) in found.connections(one, other)) == expected, (one, other, name, port)
    for text, (one, end) in product(("8.8.8.8", "9.9.9.9", "2001:db8::9"), ends.items()):
        far = FlowEnd(None, address_halves(text))
        assert end.address
        if ipaddress.ip_address(text).version != address_object(*end.address).version:
            continue
        for (name, number, port), outgoing in product(cells, (True, False)):
            asked = Flow(*((end, far) if outgoing else (far, end)), number, port if number in (6, 17, 132) else 0)
            place = far.addresses[0][0] << 64 | far.addresses[0][1]
            expected = evaluate_groups(found.membership, asked).allowed
            assert ((name, port) in found.outside(one, place, outgoing=outgoing)) == expected, (one, text, name, port)


def test_acl_documents_that_are_none() -> None:
    for entries in ([None, {}, {"NetworkAclId": "a", "Entries": [None]}], [{"NetworkAclId": 1}]):
        acls, problems = read_network_acls([("f", {"NetworkAcls": entries})])
        assert acls == () and len(problems) == len(entries)
