"""The oracle has to be right before anything is measured with it: determinism, the logs' traps, its own questions."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .flow_logs import ACK, DEFAULT_FIELDS, FIN, SYN, SYN_ACK, Collector, Interface, Wire
from .ideal_policies import ideal_policies, write
from .policy_check import complaints, read_world
from .simulator import Knobs, Simulation, nasty_variants, simulate

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(Knobs(seed=1))


def _rows(simulation: Simulation, folder: Path, format_name: str) -> list[dict[str, str]]:
    _, paths = simulation.write(folder, format_name)
    rows = []
    for path in paths:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = raw.decode().splitlines()
        names = lines.pop(0).split() if format_name == "v5" else list(DEFAULT_FIELDS)
        rows += [dict(zip(names, text.split(), strict=True)) for text in lines]
    return rows


def test_it_does_not_know_the_product() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import simulation.simulator, simulation.policy_check;"
        "print([m for m in sys.modules if m.split('.')[0] in ('flowctl', 'analyzers', 'policygen')])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(HERE.parent)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("format_name", ["v2", "v5"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, format_name: str) -> None:
    for name in ("a", "b"):
        simulate(Knobs(seed=5, namespaces=2)).write(tmp_path / name, format_name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert simulate(Knobs(seed=6, namespaces=2)).records != simulate(Knobs(seed=5, namespaces=2)).records


def test_flags_are_or_ed_over_a_window_and_a_bare_ack_is_zero() -> None:
    collector = Collector(0, 1000, window=60)
    interface = Interface("eni-00000000000000000", "10.0.0.1")
    wire = Wire("10.0.0.1", 40000, "10.0.0.2", 443, 6)
    for time, bits in ((1, SYN), (2, ACK), (3, FIN | ACK), (70, ACK)):
        collector.packets(interface, "egress", time, wire, tcp_bits=bits)
    collector.packets(interface, "ingress", 1, wire.reply(), tcp_bits=SYN_ACK)
    found = [(r.direction, r.flags, r.packets, r.start, r.end) for r in collector.records()]
    assert found == [("ingress", 18, 1, 1, 1), ("egress", 3, 3, 1, 3), ("egress", 0, 1, 70, 70)]


def test_both_formats_tell_of_the_same_traffic(simulation: Simulation, tmp_path: Path) -> None:
    shared = ("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "action")
    v2, v5 = (_rows(simulation, tmp_path / f, f) for f in ("v2", "v5"))
    assert sorted(tuple(r[n] for n in shared) for r in v2) == sorted(tuple(r[n] for n in shared) for r in v5)
    assert len(v2) == len(simulation.records) > 3000


def test_the_logs_hold_every_trap(simulation: Simulation, tmp_path: Path) -> None:
    rows = _rows(simulation, tmp_path, "v5")
    assert {r["log-status"] for r in rows} == {"OK", "NODATA", "SKIPDATA"}
    rows = [r for r in rows if r["log-status"] == "OK"]
    flags = {int(r["tcp-flags"]) for r in rows if r["protocol"] == "6"}
    assert {0, 2, 3, 18, 19} <= flags
    rejected = [r for r in rows if r["action"] == "REJECT"]
    assert any(int(r["tcp-flags"]) & 2 for r in rejected)
    assert any(not int(r["tcp-flags"]) & 2 for r in rejected)  # stragglers after a close
    views: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for r in rows:
        ends = sorted([(r["srcaddr"], r["srcport"]), (r["dstaddr"], r["dstport"])])
        views.setdefault((*ends[0], *ends[1]), set()).add((r["interface-id"], r["flow-direction"]))
    assert max(len(v) for v in views.values()) == 4  # two interfaces, two directions
    served = {str(e.port) for e in simulation.truth.edges}
    assert {"50051", "61616", "30080"} <= served
    assert any(r["srcport"] == "50051" and r["dstport"] not in {*served, "50051"} for r in rows) or any(
        int(r["srcport"]) in range(32768, 61000) for r in rows
    )


def test_addresses_are_used_again_by_other_workloads(simulation: Simulation) -> None:
    lives: dict[str, list[tuple[int, int | None, str, bool]]] = {}
    for pod in simulation.cluster.pods:
        if not pod.workload.host_network:
            lives.setdefault(pod.address, []).append((pod.start, pod.end, pod.workload.key, pod.listed))
    reused = [sorted(life) for life in lives.values() if len({key for _, _, key, _ in life}) > 1]
    assert len(reused) >= 5
    assert any(sum(listed for *_, listed in life) > 1 for life in reused)  # two owners in one inventory
    assert any(not life[0][3] for life in reused)  # an owner that no inventory names, before one that it does
    for life in reused:
        for (_, end, _, _), (start, _, _, _) in itertools.pairwise(life):
            assert end is not None and end < start


def test_the_inventory_is_what_kubectl_prints(simulation: Simulation) -> None:
    items = json.loads(simulation.inventory())["items"]
    kinds = {i["kind"] for i in items}
    assert kinds == {
        *("Namespace", "Node", "Pod", "Service", "Deployment", "ReplicaSet"),
        *("StatefulSet", "DaemonSet", "CronJob", "Job"),
    }
    objects = {(i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"]) for i in items}
    assert len(objects) == len(items)
    for item in items:
        for owner in item["metadata"].get("ownerReferences", ()):
            assert (owner["kind"], item["metadata"]["namespace"], owner["name"]) in objects
    finished = [i for i in items if i["kind"] == "Pod" and i["status"]["phase"] == "Succeeded"]
    assert finished and all("terminated" in c["state"] for p in finished for c in p["status"]["containerStatuses"])


@pytest.mark.parametrize("knobs", [v for seed in (1, 2) for v in nasty_variants(seed)], ids=str)
def test_policies_from_the_truth_leave_nothing_to_complain(knobs: Knobs, tmp_path: Path) -> None:
    simulation = simulate(knobs)
    assert len(simulation.truth.edges) > 60
    write(ideal_policies(simulation), tmp_path)
    assert complaints(read_world(simulation, tmp_path)) == []


def _drop_a_rule(policies: list[dict[str, Any]]) -> None:
    next(p for p in policies if p["spec"]["ingress"])["spec"]["ingress"].pop()


def _client_port(policies: list[dict[str, Any]]) -> None:
    policies[-1]["spec"]["ingress"].append({"from": [{"podSelector": {}}], "ports": [{"port": 40123}]})


def _forget_the_peers(policies: list[dict[str, Any]]) -> None:
    del next(p for p in policies if p["metadata"]["name"].startswith("db"))["spec"]["ingress"][0]["from"]


def _bite_a_run_to_come(policies: list[dict[str, Any]]) -> None:
    selector = next(p for p in policies if p["metadata"]["name"].startswith("report"))["spec"]["podSelector"]
    selector["matchLabels"]["job-name"] = "report-1"


def _forget_the_canary(policies: list[dict[str, Any]]) -> None:
    def strip(node: object) -> None:
        if isinstance(node, dict):
            node.pop("matchExpressions", None)
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            strip(value)

    strip(policies)


def _leave_egress_open(policies: list[dict[str, Any]]) -> None:
    policies[-1]["spec"]["policyTypes"] = ["Ingress"]


def _the_whole_internet(policies: list[dict[str, Any]]) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}
    policies[0]["spec"]["egress"].append(rule)


def _isolate_the_idle(policies: list[dict[str, Any]]) -> None:
    policies[0]["metadata"]["namespace"] = "edge"
    policies[0]["spec"]["podSelector"] = {"matchLabels": {"app": "dormant"}}


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_drop_a_rule, "denied although needed"),
        (_client_port, "serves nobody"),
        (_forget_the_peers, "allowed although never needed"),
        (_bite_a_run_to_come, "selects by job-name"),
        (_forget_the_canary, "web-canary on TCP 8080"),
        (_leave_egress_open, "not isolated in both directions"),
        (_the_whole_internet, "was never needed"),
        (_isolate_the_idle, "never seen, and selected"),
    ],
)
def test_every_question_notices_its_mistake(
    simulation: Simulation, tmp_path: Path, damage: Callable[[list[dict[str, Any]]], None], expected: str
) -> None:
    policies = copy.deepcopy(ideal_policies(simulation))
    damage(policies)
    write(policies, tmp_path)
    found = complaints(read_world(simulation, tmp_path))
    assert any(expected in complaint for complaint in found), found[:5]
