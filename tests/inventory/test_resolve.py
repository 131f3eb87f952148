"""Who held an address when, against a slow twin that asks one second at a time, and rule by rule."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory.intervals import LAG, RECORD_SPAN
from analyzers.inventory.model import Endpoint, Inventory
from analyzers.inventory.resolve import cuts
from inventory.asking import endpoint, one, resolve


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


def test_a_long_gap_between_pods_of_one_workload_is_nobodys() -> None:
    def held(gap: int) -> Inventory:
        begin = 2000 + LAG + gap
        old = endpoint("old", "10.1.0.5", 1000, 2000, workload="db")
        return Inventory((old, endpoint("new", "10.1.0.5", begin, None, workload="db")))

    assert one(held(RECORD_SPAN), "10.1.0.5", 1500, 9000) == "new"
    assert one(held(RECORD_SPAN + 1), "10.1.0.5", 1500, 9000) == "ambiguous"


def test_only_the_last_to_end_keeps_an_address_for_the_lag() -> None:
    short = Inventory((endpoint("a", "10.1.0.5", 1000, 2000), endpoint("b", "10.1.0.5", 2010, 2020)))
    assert one(short, "10.1.0.5", 2030, 2031) == "b"


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
