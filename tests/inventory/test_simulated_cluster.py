"""A simulated cluster knows who held which address when; the inventory made from its pod list must never disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.simulator import Knobs, simulate

from analyzers.inventory.load import load_inventory
from inventory.asking import resolve


@pytest.mark.parametrize("seed", [11, 12])
def test_addresses_of_pods_that_come_and_go(tmp_path: Path, seed: int) -> None:
    simulation = simulate(Knobs(seed=seed))
    path = tmp_path / "cluster.json"
    path.write_text(simulation.inventory())
    rows, pods = [], []
    for pod in simulation.cluster.pods:
        end = pod.start + 50_000 if pod.end is None else pod.end
        if pod.address and not pod.workload.host_network and end > pod.start:
            moments = (pod.start, (pod.start + end) // 2, end - 1)
            rows += [("", pod.address, moment, moment + 1) for moment in moments]
            pods += [pod] * len(moments)
    found = resolve(load_inventory([path]), rows)
    assert [name for name, pod in zip(found, pods, strict=True) if pod.listed] == [p.name for p in pods if p.listed]
    # deleted before the inventory was taken: nobody's, or within the lag of a listed pod that had the address before
    gone = [(name, pod) for name, pod in zip(found, pods, strict=True) if not pod.listed]
    assert {name for name, _ in gone} <= {"pod range", "unknown"}
    assert len(gone) > 10
    workloads = {(w.kind, w.namespace, w.name) for w in load_inventory([path]).workloads if w.namespace}
    assert workloads == {(w.kind, w.namespace, w.name) for w in simulation.cluster.workloads}
