"""Whose an address is by network and prefix, against a slow twin; Services, pod ranges, nodes; declared ports."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves, address_object
from analyzers.inventory.model import Endpoint, Interface, Inventory, NamedPort, Service, ServicePort
from analyzers.inventory.resolve import Resolver, declared_ports, interface_networks
from inventory.asking import endpoint, one, resolve
from inventory.samples import halves, listed, load, node, pod, workload


def test_own_network_first_then_unscoped_then_the_only_other() -> None:
    inventory = Inventory(
        (
            endpoint("mine", "10.0.0.5", network="vpc-1"),
            endpoint("theirs", "10.0.0.5", network="vpc-2"),
            endpoint("anywhere", "10.0.0.6"),
            endpoint("peer", "10.0.0.7", network="vpc-2"),
            endpoint("here", "10.0.0.8", network="vpc-2"),
            endpoint("there", "10.0.0.8", network="vpc-3"),
        )
    )
    assert [one(inventory, f"10.0.0.{i}", 5, 6, "vpc-1") for i in (5, 6, 7, 8, 9)] == [
        "mine",
        "anywhere",
        "peer",
        "ambiguous",
        "unknown",
    ]
    assert one(inventory, "10.0.0.5", 5, 6, "vpc-2") == "theirs"
    assert one(inventory, "10.0.0.5", 5, 6, "vpc-9") == "ambiguous"
    assert one(inventory, "10.0.0.5", 5, 6, "") == "ambiguous"
    assert one(inventory, "10.0.0.7", 5, 6, "") == "peer"


def test_own_network_is_the_end_of_the_search_also_when_the_time_is_wrong() -> None:
    inventory = Inventory(
        (endpoint("mine", "10.0.0.5", 0, 100, "vpc-1"), endpoint("theirs", "10.0.0.5", network="vpc-2"))
    )
    assert one(inventory, "10.0.0.5", 500, 501, "vpc-1") == "unknown"
    unscoped = Inventory((endpoint("mine", "10.0.0.5", 0, 100), endpoint("theirs", "10.0.0.5", network="vpc-2")))
    assert one(unscoped, "10.0.0.5", 500, 501, "vpc-1") == "unknown"


def test_an_unscoped_address_met_in_two_networks_is_ambiguous() -> None:
    inventory = Inventory(
        (
            endpoint("a", "10.0.0.5"),
            endpoint("b", "10.0.0.6"),
            endpoint("dns", "8.8.8.8"),
            endpoint("net", "10.9.0.0/16"),
        )
    )
    rows = [
        ("vpc-1", "10.0.0.5", 5, 6),
        ("vpc-2", "10.0.0.5", 5, 6),
        ("vpc-1", "10.0.0.6", 5, 6),
        ("", "10.0.0.6", 5, 6),  # a row of no known network is no second one
        ("vpc-1", "8.8.8.8", 5, 6),
        ("vpc-2", "8.8.8.8", 5, 6),  # public: the same for everybody
        ("vpc-1", "10.9.0.1", 5, 6),
        ("vpc-2", "10.9.0.2", 5, 6),  # another address of that prefix
    ]
    assert resolve(inventory, rows) == ["ambiguous", "ambiguous", "b", "b", "dns", "dns", "net", "net"]
    assert resolve(inventory, rows[:1]) == ["a"]


def test_longest_prefix_wins_and_families_stay_apart() -> None:
    inventory = Inventory(
        (
            endpoint("all4", "0.0.0.0/0"),
            endpoint("all6", "::/0"),
            endpoint("wide", "10.0.0.0/8"),
            endpoint("narrow", "10.1.0.0/16", 100, 200),
            endpoint("host", "10.1.0.5", 100, 200),
            endpoint("host6", "2001:db8::5"),
            endpoint("net6", "2001:db8::/40"),
        )
    )
    assert one(inventory, "10.1.0.5", 150, 151) == "host"
    assert one(inventory, "10.1.0.6", 150, 151) == "narrow"
    assert one(inventory, "10.1.0.5", 900, 901) == "wide"  # what a longer one's past holders leave open
    assert one(inventory, "11.0.0.1", 1, 2) == "all4"
    assert one(inventory, "2001:db8::5", 1, 2) == "host6"
    assert one(inventory, "2001:db8:ff::5", 1, 2) == "net6"
    assert one(inventory, "2a00::1", 1, 2) == "all6"
    assert one(Inventory((endpoint("all6", "::/0"),)), "10.0.0.1", 1, 2) == "unknown"


@settings(max_examples=150, deadline=None)
@given(
    prefixes=st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from([0, 7, 8, 24, 31, 32]), st.integers(0, 7)),
        max_size=8,
    ),
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", "z"]), st.integers(0, 7)), min_size=1, max_size=6),
)
def test_place_agrees_with_a_slow_twin(prefixes: list[tuple[str, int, int]], rows: list[tuple[str, int]]) -> None:
    """Networks and prefixes without times; one endpoint for each (network, prefix)."""
    known = {}
    for network, length, number in prefixes:
        cidr = ipaddress.ip_network((0x0A000000 + number, length), strict=False)
        known[network, cidr] = endpoint(f"{network}:{cidr}", str(cidr), network=network)
    inventory = Inventory(tuple(known.values()))
    given_rows = [(network, str(ipaddress.ip_address(0x0A000000 + number)), 5, 6) for network, number in rows]

    def expected(network: str, address: str) -> str:
        def best(where: str) -> str | None:
            holding = [cidr for n, cidr in known if n == where and ipaddress.ip_address(address) in cidr]
            return f"{where}:{max(holding, key=lambda c: c.prefixlen)}" if holding else None

        if own := best(network):
            return own
        if unscoped := best(""):
            return unscoped if len({n for n, a, _, _ in given_rows if a == address}) == 1 else "ambiguous"
        others = [found for n in "abc" if n != network and (found := best(n))]
        return "unknown" if not others else others[0] if len(others) == 1 else "ambiguous"

    assert resolve(inventory, given_rows) == [expected(n, a) for n, a, _, _ in given_rows]


def test_services_and_pod_ranges() -> None:
    port = ServicePort("http", "TCP", 80, 8080)
    web = Service("shop", "web", (("app", "web"),), halves("10.96.0.1"), halves("192.0.2.1"), (port,))
    api = Service("shop", "api", None, (), halves("192.0.2.1"), (ServicePort("", "TCP", 81, 81),))
    inventory = Inventory((endpoint("p", "10.1.0.5", 100, 200),), services=(api, web), pod_cidrs=(("", "10.1.0.0/24"),))
    assert one(inventory, "10.96.0.1", 5, 6) == "service"
    assert one(inventory, "192.0.2.1", 5, 6) == "service"
    assert one(inventory, "10.1.0.5", 150, 160) == "p"
    assert one(inventory, "10.1.0.5", 900, 901) == "pod range"
    assert one(inventory, "10.1.0.6", 5, 6) == "pod range"
    resolver = Resolver(inventory)
    assert resolver.service_of(*address_halves("10.96.0.1")) == web
    assert resolver.service_of(*address_halves("10.96.0.1"), "vpc-1") == web
    assert resolver.service_of(*address_halves("192.0.2.1")) is None  # two share it
    assert resolver.service_of(*address_halves("192.0.2.1"), "", 6, 81) == api
    assert resolver.service_of(*address_halves("192.0.2.1"), "", 17, 81) is None
    assert resolver.service_of(*address_halves("10.1.0.5")) is None


def test_service_of_another_network() -> None:
    def named(network: str) -> Service:
        return Service("shop", "web", None, halves("10.96.0.1"), network=network)

    key = address_halves("10.96.0.1")
    two = Resolver(Inventory(services=(named("a"), named("b"))))
    assert two.service_of(*key, "a") == named("a")
    assert two.service_of(*key) is None
    assert Resolver(Inventory(services=(named("a"),))).service_of(*key) == named("a")


def test_the_node_answers_for_pods_of_its_network(tmp_path: Path) -> None:
    own = {"hostNetwork": True}
    inventory = load(
        tmp_path,
        listed(
            node("node-1", "10.0.0.1"),
            pod("agent-x", "10.0.0.1", "DaemonSet/agent", spec=own),
            pod("proxy-x", "10.0.0.1", "DaemonSet/proxy", spec=own),
            workload("DaemonSet", "agent"),
        ),
    )
    row = ("", "10.0.0.1", 1767225700, 1767225760)
    assert resolve(inventory, [row]) == ["node-1"]
    names = [e.name for e in inventory.endpoints]
    shared = Resolver(inventory).host_network_pods(names.index("node-1"))
    assert [names[i] for i in shared] == ["agent-x", "proxy-x"]


def test_nothing_in_nothing_out() -> None:
    assert one(Inventory(), "10.0.0.1", 1, 2) == "unknown"
    empty = np.zeros(0, np.uint64)
    times = np.zeros(0, np.int64)
    full = Resolver(Inventory((endpoint("a", "10.0.0.1"),)))
    assert len(full.resolve(("",), np.zeros(0, np.int32), empty, empty, times, times)) == 0


def test_a_row_in_the_order_of_another_answers_the_same() -> None:
    """Rows are independent of one another's order: a shuffled table is the shuffled answer."""
    generator = np.random.default_rng(7)
    endpoints = tuple(
        endpoint(f"p{i}", f"10.1.{i % 50}.{i % 7}", int(t), int(t) + 500, ("", "a", "b")[i % 3], f"w{i % 11}")
        for i, t in enumerate(generator.integers(0, 5000, 300))
    )
    rows = [
        (("a", "b", "")[int(n)], f"10.1.{int(x)}.{int(y)}", int(t), int(t) + 50)
        for n, x, y, t in zip(*(generator.integers(0, k, 2000) for k in (3, 50, 7, 5000)), strict=True)
    ]
    order = generator.permutation(len(rows))
    straight = resolve(Inventory(endpoints), rows)
    assert resolve(Inventory(endpoints), [rows[i] for i in order]) == [straight[i] for i in order]
    assert {"unknown", "ambiguous"} < set(straight)


# -- what is declared ------------------------------------------------------------------------------------------------


def test_declared_ports() -> None:
    labels = (("app", "web"),)
    web = endpoint(
        "web",
        "10.1.0.5",
        ports=(NamedPort("http", "TCP", 8080), NamedPort("dns", "TCP", 54), NamedPort("dns", "UDP", 5353)),
    )
    inventory = Inventory(
        (
            Endpoint(**{f: getattr(web, f) for f in web.__slots__} | {"labels": labels}),
            endpoint("n", "10.0.0.1", is_node=True),
            endpoint("agent", "10.0.0.1", host_network=True, ports=(NamedPort("", "TCP", 9100),)),
        ),
        services=(
            Service(
                "shop",
                "web",
                labels,
                halves("10.96.0.1"),
                halves("192.0.2.1"),
                (
                    ServicePort("a", "TCP", 80, "http", 30080),
                    ServicePort("b", "UDP", 53, "dns"),
                    ServicePort("c", "TCP", 81, 8081),
                    ServicePort("d", "TCP", 82, "no-such-name"),
                ),
            ),
            Service("shop", "by-hand", None, halves("10.96.0.2"), (), (ServicePort("", "SCTP", 7, 7),)),
        ),
    )
    columns = declared_ports(inventory)
    assert [c.dtype.name for c in columns] == ["uint64", "uint64", "uint16", "uint8"]
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    assert rows == sorted(set(rows))
    named = {(str(address_object(hi, lo)), port, protocol) for hi, lo, port, protocol in rows}
    service = {(a, p, n) for a in ("10.96.0.1", "192.0.2.1") for p, n in ((80, 6), (53, 17), (81, 6), (82, 6))}
    assert named == service | {
        ("10.1.0.5", 8080, 6),
        ("10.1.0.5", 5353, 17),
        ("10.1.0.5", 54, 6),
        ("10.1.0.5", 8081, 6),
        ("10.0.0.1", 9100, 6),
        ("10.0.0.1", 30080, 6),
        ("10.96.0.2", 7, 132),
    }


@pytest.mark.parametrize("second", ["vpc-2", "vpc-1", ""])
def test_interface_networks(second: str) -> None:
    inventory = Inventory(interfaces=(Interface("eni-1", "vpc-1"), Interface("eni-1", second), Interface("eni-2", "")))
    assert interface_networks(inventory) == ({} if second == "vpc-2" else {"eni-1": "vpc-1"})
