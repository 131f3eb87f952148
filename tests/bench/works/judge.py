"""The judge: all pairs against NCA, all pairs and a difference at size, many flows, and how the cost grows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policygen.model import PodPeer, PortRange, Rule, Selector
from tests.bench.engines import peak_memory
from tests.bench.judge_world import Shape, manifests, world
from tests.bench.result import Result

TITLE = "What policies mean"
ORDER = 40

DATA = Path("bench-data")
SMALL = Shape(namespaces=20, workloads=400, replicas=1, policies=400)
LARGE = Shape(namespaces=200, workloads=2000, replicas=5, policies=2000)
NCA_LIMIT = 600  # s
FLOWS = int(os.environ.get("BENCH_FLOWS", "10000000"))
GROWTH = [Shape(200, workloads, 5, workloads) for workloads in (500, 1000, 2000, 4000)]
MUST_RATIO, MUST_PAIRS, MUST_DIFF, MUST_REPLAY, MUST_MIB = 100, 10.0, 2.0, 10.0, 1024

Answer = dict[str, Any]


# -- what runs in a process of its own: `python -m tests.bench.works.judge NAME` ---------------------------------------


def _warm() -> None:
    """Kernels are compiled once a machine; what is measured is what every later run costs."""
    from policygen.verify.reachability import Reachability

    Reachability.compile(*world(Shape(1, 3, 1, 3)))


def pairs_of_manifests() -> Answer:
    """Manifests of the small world to all pairs as text, as NCA is asked for."""
    from flowctl.policy_sources import load_policies
    from policygen.verify.reachability import Reachability

    _warm()
    file = _small_file()
    started = time.perf_counter()
    loaded = load_policies((str(file),))
    read = time.perf_counter()
    found = Reachability.compile(loaded.network, loaded.inventory)
    lines = [f"{p.source} => {p.destination} : {p.connections}" for p in found.pairs(True)]
    done = time.perf_counter()
    return {"seconds": done - started, "judging": done - read, "lines": len(lines)}


def pairs(shape: Shape = LARGE) -> Answer:
    """The large world to all pairs by workload."""
    from policygen.verify.reachability import Reachability

    _warm()
    policies, inventory = world(shape)
    started = time.perf_counter()
    found = Reachability.compile(policies, inventory)
    compiled = time.perf_counter()
    count = sum(1 for _ in found.pairs())
    return {
        "seconds": time.perf_counter() - started,
        "compile": compiled - started,
        "pairs": count,
        "units": len(found.judge.units.units),
    }


def growth() -> Answer:
    """All pairs at several sizes in one process."""
    return {str(shape.workloads): pairs(shape) for shape in GROWTH}


def diff() -> Answer:
    """Two large worlds that differ in one rule: the second is compiled and compared, the first was before."""
    from policygen.verify.differences import difference
    from policygen.verify.reachability import Reachability

    _warm()
    policies, inventory = world(LARGE)
    changed = list(policies.policies)
    rule = Rule((PodPeer(None, Selector()),), (PortRange("TCP", 4444),))  # from its namespace, on a port of no rule
    changed[777] = replace(changed[777], ingress=(*(changed[777].ingress or ()), rule))
    old = Reachability.compile(policies, inventory)
    started = time.perf_counter()
    changes = difference(old, Reachability.compile(replace(policies, policies=tuple(changed)), inventory))
    return {"seconds": time.perf_counter() - started, "changes": len(changes)}


def replay() -> Answer:
    """FLOWS distinct flows through the large world's policies: each rule's count, and every kind of denial."""
    from policygen.verify.flow_columns import ColumnJudge

    policies, inventory = world(LARGE)
    small = world(Shape(1, 3, 1, 3))
    warm = ColumnJudge(small[0], small[1].namespaces, small[1].endpoints)
    warm.run(_flows(warm.endpoints, 1000))
    flows = _flows(inventory.endpoints, FLOWS)
    started = time.perf_counter()
    judge = ColumnJudge(policies, inventory.namespaces, inventory.endpoints)
    judge.judge.matrix  # noqa: B018  (compiles)
    compiled = time.perf_counter()
    judged = judge.run(flows)
    done = time.perf_counter()
    return {
        "seconds": done - started,
        "compile": compiled - started,
        "flows": len(flows),
        "denied": judged.refused,
        "kinds": len(judged.counts),
        "used": len(judged.flows_of_rule),
    }


def _flows(endpoints: Any, count: int) -> Any:
    """Distinct flows: nine of ten between pods, the others from or to addresses outside; ports that policies name."""
    from policygen.verify.flow_columns import FlowColumns
    from tests.bench.judge_world import PORTS

    chance = np.random.default_rng(1)
    address = np.array([endpoint.addresses[0] for endpoint in endpoints], np.uint64)
    places = len(endpoints)
    number = (np.arange(count) * 2_654_435_761) % (places * places * len(PORTS))  # a prime: no repeats
    source = (number % places).astype(np.int32)
    destination = (number // places % places).astype(np.int32)
    port = np.array(PORTS, np.uint16)[number // places // places]
    outside = chance.random(count) < 0.1
    incoming = outside & (chance.random(count) < 0.5)
    source[incoming], destination[outside & ~incoming] = -1, -1
    halves = []
    for column in (source, destination):
        lo = address[column, 1].copy()
        public = chance.integers(1 << 24, 224 << 24, int((column < 0).sum()), np.uint64)
        lo[column < 0] = np.uint64(0xFFFF_0000_0000) + public
        halves.append((address[column, 0], lo))
    return FlowColumns(
        source, *halves[0], destination, *halves[1], np.full(count, 6, np.uint8), port, np.ones(count, np.uint64)
    )


WORKS: dict[str, Callable[[], Answer]] = {
    "pairs_of_manifests": pairs_of_manifests,
    "pairs": pairs,
    "growth": growth,
    "diff": diff,
    "replay": replay,
}


def _small_file() -> Path:
    file = DATA / "judge-small.yaml"
    if not file.exists():
        DATA.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text("\n---\n".join(map(json.dumps, manifests(*world(SMALL)))))
        partial.replace(file)
    return file


# -- the section -------------------------------------------------------------------------------------------------------


def _once(name: str) -> Answer:
    """One fresh process, with its peak memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.works.judge", name], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    found: Answer = json.loads(done.stdout.splitlines()[-1])
    return found


def _nca() -> tuple[float | None, str]:
    """(seconds, whether its answers are ours) of NCA; None where it is not installed (`make fuzz-nca` installs it).
    Stopped after NCA_LIMIT, which then stands for its time."""
    from tests.nca.comparing import PYTHON, differences, ours, run_nca

    if not PYTHON.exists():
        return None, "NCA is not installed: `make .venv-nca/.installed`"
    try:
        ((_, seconds, theirs),) = run_nca([_small_file()], NCA_LIMIT)
    except subprocess.TimeoutExpired:
        return float(NCA_LIMIT), f"NCA stopped after {NCA_LIMIT} s, so answers are compared by `make fuzz-nca` alone"
    differing = differences(ours(_small_file()), theirs)
    return seconds, f"{len(differing)} cells differ" if differing else "equal answers"


def run(repeats: int) -> Result:
    """The section of the document."""
    small_file = _small_file()
    runs: dict[str, list[Answer]] = {name: [] for name in WORKS if name != "growth"}
    theirs: list[float] = []
    for _ in range(repeats):
        for name, found in runs.items():
            found.append(_once(name))

    seconds, said = _nca()  # once: it takes longer than everything else together
    theirs += [] if seconds is None else [seconds]

    def median(name: str, what: str = "seconds") -> float:
        return statistics.median(float(answer[what]) for answer in runs[name])

    lines = ["| work | time | must |", "|---|---|---|"]
    broken = []
    small = f"{SMALL.workloads} workloads, {SMALL.policies} policies, manifests to all pairs"
    ours_small = median("pairs_of_manifests")
    if theirs:
        ratio = statistics.median(theirs) / ours_small
        judging = statistics.median(theirs) / median("pairs_of_manifests", "judging")
        lines.append(
            f"| {small} | {ours_small:.2f} s, {median('pairs_of_manifests', 'judging'):.2f} s without reading; "
            f"NCA {statistics.median(theirs):.1f} s: {ratio:.0f}x, {judging:.0f}x without reading; {said} | "
            f"{MUST_RATIO}x |"
        )
        if ratio < MUST_RATIO or "differ" in said:
            broken.append(f"all pairs against NCA: {ratio:.0f}x of {MUST_RATIO}x, {said}")
    else:
        lines.append(f"| {small} | {ours_small:.2f} s; {said} | {MUST_RATIO}x |")
        broken.append(f"all pairs against NCA: {said}")
    size = f"{LARGE.workloads * LARGE.replicas:,} pods, {LARGE.namespaces} namespaces, {LARGE.policies:,} policies"
    for name, text, must in (
        ("pairs", f"{size}: all pairs by workload", MUST_PAIRS),
        ("diff", "two such sets that differ in one rule, after the first is compiled", MUST_DIFF),
        ("replay", f"{FLOWS:,} distinct flows through them", MUST_REPLAY),
    ):  # fmt: skip
        seconds, peak = median(name), median(name, "peak_mib")
        lines.append(f"| {text} | {seconds:.2f} s, {peak:.0f} MiB{_detail(runs[name][0])} | {must:.0f} s"
                     f"{f', {MUST_MIB} MiB' if name == 'pairs' else ''} |")  # fmt: skip
        if seconds > must:
            broken.append(f"{text}: {seconds:.1f} s of {must:.0f} s")
        if name == "pairs" and peak > MUST_MIB:
            broken.append(f"{text}: {peak:.0f} MiB of {MUST_MIB} MiB")
    lines += ["", "How the cost grows (one policy a workload, five pods each, one process):", ""]
    lines += ["| workloads | compile | all pairs listed | pairs |", "|---|---|---|---|"]
    for size, answer in _once("growth").items():
        if size.isdigit():
            listed = answer["seconds"] - answer["compile"]
            lines.append(f"| {size} | {answer['compile']:.2f} s | {listed:.2f} s | {answer['pairs']:,} |")
    lines += [
        "",
        f"Fresh processes, {repeats} of each in turn (NCA once), medians; kernels were compiled before. The small "
        f"world is read from {small_file.stat().st_size / 1e6:.1f} MB of JSON manifests by both; NCA's time is that of "
        "its query, without starting Python. The large world is handed over as values: reading is measured above. The "
        "table of answers has a cell for each pair of units, so its cost grows with the square of the workloads that "
        "policies tell apart; replicas cost nothing, and rules cost by the pods that they select.",
    ]
    return Result(lines, broken)


def _detail(answer: Answer) -> str:
    shown = {"pairs": "pairs", "changes": "changes", "denied": "denied", "units": "units"}
    found = [f"{answer[key]:,} {word}" for key, word in shown.items() if key in answer]
    return f" ({', '.join(found)})" if found else ""


if __name__ == "__main__":
    outcome = WORKS[sys.argv[1]]()
    outcome["peak_mib"] = peak_memory() / 2**20
    print(json.dumps(outcome))
