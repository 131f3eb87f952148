"""What `aws ec2 describe-...` says, and clusters that run on such instances."""

from __future__ import annotations

import itertools
from pathlib import Path

from analyzers.inventory.resolve import interface_networks
from inventory.samples import START_S, by_name, instance, interface, listed, load, node, pod, texts, workload


def reservations(*instances: dict) -> dict:
    return {"Reservations": [{"ReservationId": "r", "Instances": [one]} for one in instances]}


def interfaces(*found: dict) -> dict:
    return {"NetworkInterfaces": list(found)}


def names(tmp_path: Path, *tags: dict) -> list[str]:
    """The workload names of instances with these tags, in their order."""
    found = by_name(load(tmp_path, reservations(*(instance(f"i-{i}", "vpc-1", t) for i, t in enumerate(tags)))))
    return [found[f"i-{i}"].workload.name for i in range(len(tags))]


def test_instance_and_interface_are_one_endpoint(tmp_path: Path) -> None:
    eni = interface("eni-1", "vpc-1", ["10.0.0.5", "10.0.0.6"], "i-1", Association={"PublicIp": "203.0.113.5"})
    brief = {"NetworkInterfaceId": "eni-1", "VpcId": "vpc-1", "PrivateIpAddress": "10.0.0.5"}
    given = [interfaces(eni), reservations(instance("i-1", "vpc-1", {"role": "web", "Name": "web-1"}, [brief]))]
    for number, order in enumerate(itertools.permutations(given)):
        inventory = load(tmp_path / str(number), *order)
        (found,) = inventory.endpoints
        assert (found.name, found.network, found.since) == ("i-1", "vpc-1", START_S)
        assert sorted(texts(found)) == ["10.0.0.5", "10.0.0.6", "203.0.113.5"]
        assert found.security_groups == ("sg-vpc-1",)
        assert (found.workload.kind, found.workload.name) == ("Instance", "web")
        assert found.workload.labels == (("role", "web"),)
        assert dict(found.labels)["Name"] == "web-1"
        assert [i.id for i in inventory.interfaces] == ["eni-1"]
        assert inventory.interfaces[0].instance == "i-1"


def test_same_addresses_in_two_vpcs_are_two(tmp_path: Path) -> None:
    given = interfaces(
        interface("eni-1", "vpc-1", ["10.0.0.5"], "i-1"), interface("eni-2", "vpc-2", ["10.0.0.5"], "i-2")
    )
    inventory = load(tmp_path, given)
    assert [(e.network, e.name) for e in inventory.endpoints] == [("vpc-1", "i-1"), ("vpc-2", "i-2")]
    assert interface_networks(inventory) == {"eni-1": "vpc-1", "eni-2": "vpc-2"}


def test_workloads_are_distinct_tag_sets(tmp_path: Path) -> None:
    group = "aws:autoscaling:groupName"
    assert names(tmp_path / "1", {"app": "shop", "role": "web", "Name": "a"}, {"app": "shop", "role": "web"}) == [
        "shop-web",
        "shop-web",
    ]
    assert names(tmp_path / "2", {"role": "web", group: "asg-1"}, {"role": "db", group: "asg-1"}) == ["asg-1"] * 2
    # one name would stand for two tag sets: what differs is added
    assert names(tmp_path / "3", {"app": "web", "env": "prod"}, {"app": "web", "env": "test"}) == [
        "web-prod",
        "web-test",
    ]
    # tags that don't say what a machine does fold nothing
    assert names(tmp_path / "4", {"owner": "x", "Name": "web"}, {"owner": "x", "Name": "db"}, {"owner": "x"}) == [
        "web",
        "db",
        "i-2",
    ]
    assert names(tmp_path / "5", {}, {"Name": ""}) == ["i-0", "i-1"]


def test_interfaces_without_an_instance(tmp_path: Path) -> None:
    balancer = {"Description": "ELB app/front/50dc", "RequesterManaged": True, "InterfaceType": "interface"}
    nat = {"Description": "Interface for NAT Gateway nat-1", "RequesterManaged": True, "InterfaceType": "nat_gateway"}
    database = {"Description": "RDSNetworkInterface", "RequesterManaged": True}
    inventory = load(
        tmp_path,
        interfaces(
            interface("eni-1", "vpc-1", ["10.0.0.11"], **balancer),
            interface("eni-2", "vpc-1", ["10.0.1.11"], **balancer),
            interface("eni-3", "vpc-1", ["10.0.0.12"], **nat),
            interface("eni-4", "vpc-1", ["10.0.0.13"], **database, Groups=[{"GroupId": "sg-a"}]),
            interface("eni-5", "vpc-1", ["10.0.0.14"], **database, Groups=[{"GroupId": "sg-b"}]),
            interface("eni-6", "vpc-1", ["10.0.0.15"]),
        ),
    )
    assert {e.name: e.workload.name for e in inventory.endpoints} == {
        "eni-1": "ELB app/front/50dc",
        "eni-2": "ELB app/front/50dc",
        "eni-3": "Interface for NAT Gateway nat-1",
        "eni-4": "RDSNetworkInterface-sg-a",
        "eni-5": "RDSNetworkInterface-sg-b",
        "eni-6": "eni-6",
    }
    assert {e.workload.kind for e in inventory.endpoints} == {"Interface"}
    assert [(i.id, i.kind) for i in inventory.interfaces if i.requester_managed][2] == ("eni-3", "nat_gateway")


def test_security_groups_terminated_instances_and_bare_lists(tmp_path: Path) -> None:
    gone = {**instance("i-2", "vpc-1", {}), "State": {"Name": "terminated"}}
    groups = {"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "web", "VpcId": "vpc-1", "Description": "d"}]}
    inventory = load(tmp_path, [gone, instance("i-1", "vpc-1", {"app": "a"})], groups)
    assert [e.name for e in inventory.endpoints] == ["i-1"]
    assert [(g.id, g.network, g.name) for g in inventory.security_groups] == [("sg-1", "vpc-1", "web")]
    assert [(n.reason, n.detail) for n in inventory.notes] == [
        ("instances that are terminated hold no address and were not used", "i-2")
    ]


# -- clusters on instances -------------------------------------------------------------------------------------------


def test_a_cluster_gets_its_nodes_vpc(tmp_path: Path) -> None:
    """With the VPC CNI pods have secondary addresses and delegated prefixes of their node's interfaces."""
    eni = interface(
        "eni-1",
        "vpc-1",
        ["10.0.0.1", "10.0.0.20", "10.0.0.21"],
        "i-1",
        Ipv4Prefixes=[{"Ipv4Prefix": "10.0.7.0/28"}],
    )
    other = interface("eni-9", "vpc-9", ["10.0.0.1"], "i-9")  # the node's address exists in another VPC too
    cluster = listed(
        node("node-1", "10.0.0.1", providerID="aws:///eu-west-1a/i-1"),
        pod("web", "10.0.0.20"),
        pod("api", "10.0.7.3"),
        workload("Deployment", "idle", {"app": "idle"}),
    )
    for number, order in enumerate(itertools.permutations((interfaces(eni, other), cluster))):
        inventory = load(tmp_path / str(number), *order)
        found = {(e.network, e.name): e for e in inventory.endpoints}
        assert sorted(found) == [("vpc-1", "api"), ("vpc-1", "node-1"), ("vpc-1", "web"), ("vpc-9", "i-9")]
        assert texts(found["vpc-1", "node-1"]) == ["10.0.0.1"]
        assert found["vpc-1", "node-1"].security_groups == ("sg-vpc-1",)
        assert {w.network for w in inventory.workloads if w.namespace} == {"vpc-1"}
        # a warm address and a delegated prefix are pods' to come
        assert inventory.pod_cidrs == (("vpc-1", "10.0.0.21/32"), ("vpc-1", "10.0.7.0/28"))
        assert inventory.notes == ()


def test_a_cluster_is_found_by_addresses_when_no_provider_id_tells(tmp_path: Path) -> None:
    by_node = load(
        tmp_path / "1",
        interfaces(interface("eni-1", "vpc-1", ["10.0.0.1"], "i-1")),
        listed(node("node-1", "10.0.0.1"), pod("web", "10.200.0.5")),
    )
    assert {e.network for e in by_node.endpoints} == {"vpc-1"}
    by_pod = load(
        tmp_path / "2",
        interfaces(interface("eni-1", "vpc-1", ["10.0.0.1", "10.0.0.20"], "i-1")),
        listed({**pod("web", "10.0.0.20"), "spec": {"containers": []}}),
    )
    assert {e.network for e in by_pod.endpoints} == {"vpc-1"}
    assert texts(by_name(by_pod)["i-1"]) == ["10.0.0.1"]  # the pod wins over its node's interface


def test_an_address_that_two_vpcs_know_tells_nothing(tmp_path: Path) -> None:
    clouds = interfaces(
        interface("eni-1", "vpc-1", ["10.0.0.1"], "i-1"),
        interface("eni-2", "vpc-2", ["10.0.0.1"], "i-2"),
        interface("eni-3", "vpc-2", ["10.0.0.2"], "i-3"),
    )
    unclear = load(tmp_path / "1", clouds, listed(node("node-1", "10.0.0.1")))
    assert ("", "node-1") in {(e.network, e.name) for e in unclear.endpoints}
    clear = load(tmp_path / "2", clouds, listed(node("node-1", "10.0.0.1"), node("node-2", "10.0.0.2")))
    assert {e.network for e in clear.endpoints if e.workload.kind == "Node"} == {"vpc-2"}


def test_nodes_in_several_vpcs_are_left_to_the_user(tmp_path: Path) -> None:
    inventory = load(
        tmp_path,
        interfaces(interface("eni-1", "vpc-1", ["10.0.0.1"], "i-1"), interface("eni-2", "vpc-2", ["10.9.0.1"], "i-2")),
        listed(node("node-1", "10.0.0.1", providerID="aws:///a/i-1"), node("node-2", "10.9.0.1"), pod("p", "10.1.0.5")),
        listed(node("node-3", "10.9.0.1", providerID="aws:///b/i-2")),
    )
    assert by_name(inventory)["p"].network == ""
    assert [n.detail for n in inventory.notes if "several VPCs" in n.reason] == ["vpc-1, vpc-2"]


def test_a_branch_interface_is_its_pod(tmp_path: Path) -> None:
    branch = interface("eni-b", "vpc-1", ["10.0.0.30"], InterfaceType="branch", Groups=[{"GroupId": "sg-pod"}])
    inventory = load(
        tmp_path,
        interfaces(interface("eni-1", "vpc-1", ["10.0.0.1"], "i-1"), branch),
        listed(node("node-1", "10.0.0.1"), pod("p", "10.0.0.30")),
    )
    assert sorted(by_name(inventory)) == ["node-1", "p"]
    assert by_name(inventory)["p"].security_groups == ("sg-pod",)
