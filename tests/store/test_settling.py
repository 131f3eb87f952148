"""Directions settled in the database are those that numpy settles in memory."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import Direction, address_halves
from tests.store.logs import FIELDS, START, read

PORTS = [443, 53, 8088, 33000, 33001, 40000, 40001, 50051, 61616]


def connections(count: int, chance: random.Random, hosts: int) -> list[str]:
    """Records that seldom settle themselves, between few hosts and ports, so that every step has work."""
    made = []
    for _ in range(count):
        six = chance.random() < 0.2
        a, b = (f"fd00::{chance.randrange(1, hosts)}" if six else f"10.0.0.{chance.randrange(1, hosts)}" for _ in "ab")
        flags = chance.choices(["-", "0", "2", "18", "1"], [5, 5, 1, 1, 1])[0]
        packets = chance.choice([1, 2, 9])
        begin = START + chance.randrange(9000)
        made.append(
            f"5 {chance.choice(['vpc-1', 'vpc-2'])} eni-{chance.randrange(3)} {a} {b} {chance.choice(PORTS)} "
            f"{chance.choice(PORTS)} {chance.choice([6, 6, 17, 17, 132, 1, 47])} {flags} {packets} "
            f"{packets * chance.choice([40, 60, 500])} {begin} {begin + chance.randrange(90)} "
            f"{chance.choice(['ACCEPT', 'ACCEPT', 'REJECT'])} OK"
        )
    return made


def busy_servers(chance: random.Random) -> list[str]:
    """Servers on ephemeral ports that many clients meet, one of which is a client of another."""
    made = []
    for server, port in (("10.1.0.1", 50051), ("10.1.0.2", 40000), ("10.1.0.3", 33000)):
        for _ in range(chance.randrange(1, 40)):
            client = f"10.0.0.{chance.randrange(1, 30)}" if chance.random() < 0.8 else "10.1.0.1"
            own = chance.choice([50051, chance.randrange(33000, 61000)])
            for ends in ((client, server, own, port), (server, client, port, own)):
                made.append("5 vpc-1 eni-0 {} {} {} {} 17 - 5 900 {} {} ACCEPT OK".format(*ends, START, START + 60))
    for server in range(4):  # three or four peers' ports each, some of which meet two servers
        for client in range(chance.randrange(3, 5)):
            own = 45000 + client if chance.random() < 0.7 else chance.randrange(45000, 60000)
            for ends in (("10.2.0.9", f"10.3.0.{server}", own, 46000), (f"10.3.0.{server}", "10.2.0.9", 46000, own)):
                made.append("5 vpc-1 eni-0 {} {} {} {} 17 - 5 900 {} {} ACCEPT OK".format(*ends, START, START + 60))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 100_000), hosts=st.sampled_from([3, 8, 40]), count=st.sampled_from([5, 60, 400]))
def test_the_database_settles_as_numpy_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, hosts: int, count: int
) -> None:
    chance = random.Random(seed)
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "log"
    path.write_text("\n".join([FIELDS, *connections(count, chance, hosts), *busy_servers(chance)]) + "\n")
    declared = frozenset(
        (*address_halves(f"10.0.0.{chance.randrange(1, hosts)}"), chance.choice(PORTS), chance.choice([6, 17]))
        for _ in range(chance.choice([0, 6, 60]))
    )
    cuts = {("vpc-1", *address_halves("10.0.0.2")): (START + 2000, START + 6000)}
    expected = read([str(path)], declared=declared, cuts=cuts, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr("analyzers.ingest.overflow.CONNECTION_BYTES", 1 << 40)  # does not fit: to the database
        patch.setattr("analyzers.store.read.CONNECTION_BYTES", 1 << 40)  # and is settled there
        found = read([str(path)], declared=declared, cuts=cuts, threads=1)
    assert found == expected


def test_the_cases_above_meet_every_way_of_deciding(tmp_path: Path) -> None:
    seen: set[int] = set()
    for seed in range(4):
        chance = random.Random(seed)
        path = tmp_path / f"{seed}.log"
        path.write_text("\n".join([FIELDS, *connections(400, chance, 8), *busy_servers(chance)]) + "\n")
        declared = frozenset((*address_halves(f"10.0.0.{n}"), port, 6) for n in range(1, 5) for port in PORTS)
        seen |= {int(row[9]) for row in read([str(path)], declared=declared)[0]}  # type: ignore[call-overload]
    assert seen == {int(d) for d in Direction}
