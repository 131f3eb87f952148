"""The interval join, against a slow twin that asks one second at a time, and its rules one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves, address_object
from analyzers.inventory.intervals import LAG, RECORD_SPAN
from analyzers.inventory.model import Endpoint, Identity, Interface, Inventory, NamedPort, Service, ServicePort
from analyzers.inventory.resolve import (
    AMBIGUOUS,
    POD_RANGE,
    SERVICE,
    UNKNOWN,
    Resolver,
    cuts,
    declared_ports,
    interface_networks,
)
from inventory.samples import halves, listed, load, node, pod, workload

Row = tuple[str, str, int, int]
"""Network, address, first, last."""


def endpoint(
    name: str,
    address: str,
    since: int | None = None,
    until: int | None = None,
    network: str = "",
    workload: str = "",
    **more: object,
) -> Endpoint:
    """A pod (or what `more` says) whose workload is its own unless named; an address with / is a prefix."""
    kind = "Node" if more.pop("is_node", False) else "Deployment"
    namespace = "" if kind == "Node" else "shop"
    identity = Identity(kind, namespace, workload or name, network)
    prefixes = (address,) if "/" in address else ()
    addresses = () if prefixes else halves(address)
    return Endpoint(
        name,
        namespace,
        identity,
        (),
        addresses,
        network,
        since,
        until,
        prefixes=prefixes,
        **more,  # type: ignore[arg-type]
    )


def resolve(inventory: Inventory, rows: list[Row], networks: tuple[str, ...] = ()) -> list[str]:
    """Endpoint names, or the codes' names, for rows."""
    networks = networks or tuple(sorted({row[0] for row in rows}))
    keys = [address_halves(row[1]) for row in rows]
    found = Resolver(inventory).resolve(
        networks,
        np.array([networks.index(row[0]) for row in rows], np.int32),
        np.array([key[0] for key in keys], np.uint64),
        np.array([key[1] for key in keys], np.uint64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.int64),
    )
    assert found.dtype == np.int32
    codes = {UNKNOWN: "unknown", AMBIGUOUS: "ambiguous", SERVICE: "service", POD_RANGE: "pod range"}
    return [codes.get(int(index)) or inventory.endpoints[index].name for index in found]


def one(inventory: Inventory, address: str, first: int, last: int, network: str = "") -> str:
    return resolve(inventory, [(network, address, first, last)])[0]


# -- time ------------------------------------------------------------------------------------------------------------


def test_an_address_that_lives_on_elsewhere() -> None:
    assert (LAG, RECORD_SPAN) == (60, 600)
    reused = Inventory((endpoint("job-1", "10.1.0.5", 1000, 2000), endpoint("job-2", "10.1.0.5", 2010, 3000)))
    assert one(reused, "10.1.0.5", 1100, 1200) == "job-1"
    assert one(reused, "10.1.0.5", 1990, 2010) == "job-1"  # [1990, 2010): the next begins at 2010
    assert one(reused, "10.1.0.5", 2005, 2006) == "job-1"  # ended, but nobody else has begun
    assert one(reused, "10.1.0.5", 2010, 2010) == "job-2"
    assert one(reused, "10.1.0.5", 1990, 2011) == "ambiguous"
    assert one(reused, "10.1.0.5", 3000 + LAG - 1, 3000 + LAG) == "job-2"
    assert one(reused, "10.1.0.5", 3000 + LAG, 3000 + LAG + 1) == "unknown"
    assert one(reused, "10.1.0.5", 0, 1) == "unknown"
    assert one(reused, "10.1.0.6", 1100, 1200) == "unknown"


def test_two_holders_at_one_time_are_ambiguous_only_then() -> None:
    clash = Inventory((endpoint("a", "10.1.0.5", 0, 2000), endpoint("b", "10.1.0.5", 1000, None)))
    assert [one(clash, "10.1.0.5", t, t + 10) for t in (500, 1500, 2500)] == ["a", "ambiguous", "b"]


def test_pods_of_one_workload_are_no_ambiguity() -> None:
    both = (
        endpoint("db-0 (old)", "10.1.0.5", 0, 1000, workload="db"),
        endpoint("db-0 (new)", "10.1.0.5", 900, None, workload="db"),
    )
    assert one(Inventory(both), "10.1.0.5", 500, 1500) == "db-0 (new)"
    assert one(Inventory(both), "10.1.0.5", 500, 600) == "db-0 (old)"


def test_a_row_that_reaches_far_beyond_its_holder_is_not_one_record() -> None:
    job = Inventory((endpoint("job", "10.1.0.5", 10_000, 10_100),))
    assert one(job, "10.1.0.5", 10_000 - RECORD_SPAN, 10_050) == "job"
    assert one(job, "10.1.0.5", 10_000 - RECORD_SPAN - 1, 10_050) == "ambiguous"
    assert one(job, "10.1.0.5", 10_050, 10_100 + LAG + RECORD_SPAN) == "job"
    assert one(job, "10.1.0.5", 10_050, 10_101 + LAG + RECORD_SPAN) == "ambiguous"


def test_open_ends_hold_for_any_time() -> None:
    always = Inventory((endpoint("a", "10.1.0.5"),))
    for first, last in ((-(2**60), 2**60), (0, 0), (2**50, 2**50), (5, 1)):
        assert one(always, "10.1.0.5", first, last) == "a"


TIMES = st.one_of(st.none(), st.integers(1, 3000))
HOLDINGS = st.lists(st.tuples(TIMES, TIMES, st.integers(0, 2)), max_size=6)


def holder_at(held: list[Endpoint], moment: int) -> str | None:
    """The twin, for one second: whose it is; None for nobody."""

    def end(e: Endpoint) -> float:
        if e.until is None:
            return float("inf")
        return max(e.until, (0 if e.since is None else e.since) + 1)

    present = [e for e in held if (e.since is None or e.since <= moment) and moment < end(e)]
    if not present:
        ended = [e for e in held if end(e) <= moment]
        latest = max((end(e) for e in ended), default=None)
        present = [e for e in ended if end(e) == latest] if latest is not None and moment < latest + LAG else []
    owners = {e.workload.name for e in present}
    return None if not owners else owners.pop() if len(owners) == 1 else "ambiguous"


def twin(held: list[Endpoint], first: int, last: int) -> str:
    """The twin, for a row: second by second, with the seconds around it that one record may reach over."""
    low, high = max(min(first, last), 1), max(first, last)
    high = max(high, low + 1)
    seen = [holder_at(held, moment) for moment in range(low, high)]
    owners = {owner for owner in seen if owner is not None}
    if not owners:
        return "unknown"
    if len(owners) > 1 or "ambiguous" in owners:
        return "ambiguous"
    empty = run = 0
    for owner in seen:  # nobody's time inside, before or after the holder's own
        run = run + 1 if owner is None else 0
        empty = max(empty, run)
    return "ambiguous" if empty > RECORD_SPAN else owners.pop()


@settings(max_examples=250, deadline=None)
@given(holdings=HOLDINGS, rows=st.lists(st.tuples(st.integers(1, 4500), st.integers(-5, 1500)), min_size=1, max_size=8))
def test_the_join_agrees_with_its_slow_twin(
    holdings: list[tuple[int | None, int | None, int]], rows: list[tuple[int, int]]
) -> None:
    held = [
        endpoint(f"p{i}", "10.1.0.5", since, until, workload=f"w{owner}")
        for i, (since, until, owner) in enumerate(holdings)
    ]
    inventory = Inventory(tuple(held))
    found = resolve(inventory, [("", "10.1.0.5", first, first + length) for first, length in rows])
    workloads = {e.name: e.workload.name for e in held}
    expected = [twin(held, first, first + length) for first, length in rows]
    assert [workloads.get(name, name) for name in found] == expected


SHORT = st.one_of(st.none(), st.integers(1, 500))


@settings(max_examples=150, deadline=None)
@given(holdings=st.lists(st.tuples(SHORT, SHORT, st.integers(0, 2)), max_size=6))
def test_cuts_are_where_the_twin_changes(holdings: list[tuple[int | None, int | None, int]]) -> None:
    held = [endpoint(f"p{i}", "10.1.0.5", s, u, "vpc", f"w{owner}") for i, (s, u, owner) in enumerate(holdings)]
    expected = [t for t in range(2, 600) if holder_at(held, t) != holder_at(held, t - 1)]
    found = cuts(Inventory(tuple(held)))
    key = ("vpc", *address_halves("10.1.0.5"))
    assert set(found) <= {key}
    # a cut at the first second says nothing to a row, which cannot begin before it
    assert [t for t in found.get(key, ()) if t > 1] == expected


def test_cuts_only_where_something_changes() -> None:
    inventory = Inventory(
        (
            endpoint("always", "10.1.0.1"),
            endpoint("job", "10.1.0.2", 100, 200),
            endpoint("prefix", "10.2.0.0/16", 100, 200),
        )
    )
    assert cuts(inventory) == {("", *address_halves("10.1.0.2")): (100, 200 + LAG)}


# -- place -----------------------------------------------------------------------------------------------------------


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
    import ipaddress

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
    web = endpoint("web", "10.1.0.5", ports=(NamedPort("http", "TCP", 8080), NamedPort("dns", "UDP", 5353)))
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
        ("10.1.0.5", 8081, 6),
        ("10.0.0.1", 9100, 6),
        ("10.0.0.1", 30080, 6),
        ("10.96.0.2", 7, 132),
    }


@pytest.mark.parametrize("second", ["vpc-2", "vpc-1", ""])
def test_interface_networks(second: str) -> None:
    inventory = Inventory(interfaces=(Interface("eni-1", "vpc-1"), Interface("eni-1", second), Interface("eni-2", "")))
    assert interface_networks(inventory) == ({} if second == "vpc-2" else {"eni-1": "vpc-1"})
