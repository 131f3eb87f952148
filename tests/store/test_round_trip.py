"""A store read as a source is the sources themselves, however they got into it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from tests.store.logs import START, read, take, write_logs

CUTS = {
    ("vpc-1", *address_halves("10.0.0.3")): (START + 1800, START + 5400),
    ("", *address_halves("10.0.0.4")): (START + 100, START + 4000, START + 9000),
    ("vpc-2", *address_halves("fd00::5")): (START + 7000,),
}
INVENTORY = {
    "cuts": CUTS,
    "interface_networks": {"eni-1": "vpc-1", "eni-2": "vpc-9"},
    "declared": frozenset({(*address_halves("10.0.0.6"), 50051, 6), (*address_halves("10.0.0.7"), 33001, 17)}),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    split=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    order=st.permutations(range(5)),
    with_inventory=st.booleans(),
)
def test_a_store_equals_its_sources_for_any_split_into_runs_in_any_order(
    tmp_path: Path, seed: int, split: list[int], order: list[int], with_inventory: bool
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    paths = write_logs(folder / "in", 5, 120, seed)
    options = INVENTORY if with_inventory else {}
    store = folder / "x.duckdb"
    for run in range(3):
        chosen = [str(paths[i]) for i in order if split[i] == run]
        if chosen:
            take(store, chosen, **({"cuts": CUTS} if with_inventory else {}))
    expected, report = read([str(folder / "in")], **options)
    found, stored = read([], stores=(str(store),), **options)
    assert found == expected
    assert stored == report


def test_stores_and_sources_are_settled_together(tmp_path: Path) -> None:
    paths = write_logs(tmp_path / "in", 4, 200, 7)
    take(tmp_path / "one.duckdb", [str(paths[0])])
    take(tmp_path / "two.duckdb", [str(paths[1]), str(paths[2])])
    expected, report = read([str(tmp_path / "in")], **INVENTORY)
    stores = (str(tmp_path / "one.duckdb"), str(tmp_path / "two.duckdb"))
    take(tmp_path / "two.duckdb", [str(paths[2])])  # adds nothing
    # without the inventory at ingest, rows of one object and slice may span a change of owner: so compare without cuts
    options = {k: v for k, v in INVENTORY.items() if k != "cuts"}
    expected, report = read([str(tmp_path / "in")], **options)
    found, both = read([str(paths[3])], stores=stores, **options)
    assert found == expected
    assert both == report


@pytest.mark.parametrize("network", ["named", "*part-1*=vpc-7"])
def test_a_network_may_be_named_when_the_store_is_read(tmp_path: Path, network: str) -> None:
    paths = write_logs(tmp_path / "in", 2, 100, 3)
    pattern, _, name = network.rpartition("=")
    networks = ((pattern or "*", name),)
    take(tmp_path / "x.duckdb", [str(p) for p in paths])
    assert (
        read([], stores=(str(tmp_path / "x.duckdb"),), networks=networks)[0]
        == read([str(p) for p in paths], networks=networks)[0]
    )


def test_changes_of_owner_that_are_known_later_split_what_was_stored(tmp_path: Path) -> None:
    """Objects that do not span a change need no inventory at ingest: their rows lie on one side of it."""
    lines = [
        f"2 1 eni-1 10.0.0.3 10.0.0.9 40000 443 6 1 100 {begin} {begin + 10} ACCEPT OK"
        for begin in (START, START + 1000, START + 2000)
    ]
    for i, line in enumerate(lines):
        (tmp_path / f"{i}.log").write_text(line + "\n")
    cuts = {("", *address_halves("10.0.0.3")): (START + 500, START + 1500)}
    take(tmp_path / "x.duckdb", [str(tmp_path / f"{i}.log") for i in range(3)])
    assert len(read([], stores=(str(tmp_path / "x.duckdb"),))[0]) == 1
    assert len(read([], stores=(str(tmp_path / "x.duckdb"),), cuts=cuts)[0]) == 3
