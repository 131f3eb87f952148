"""The whole way through, by the command a user types, on clusters that are in no repository.

A simulator that knows nothing of the product makes inventory, flow logs and the right answer; an evaluator of its own
reads the written files. Nothing here imports the product.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # `simulation` is found whatever import mode pytest runs with

from simulation import policy_check  # noqa: E402  (needs the line above)
from simulation.simulator import Knobs, Simulation, simulate  # noqa: E402

CASES = [
    pytest.param(Knobs(seed=11), "v2", id="v2"),
    pytest.param(Knobs(seed=11), "v5", id="v5"),
    pytest.param(Knobs(seed=12, window=600, hours=2.0), "v2", id="v2-600s-windows"),
    pytest.param(Knobs(seed=12, window=600, hours=2.0), "v5", id="v5-600s-windows"),
    pytest.param(Knobs(seed=13, same_node_logged=False), "v2", id="v2-same-node-unlogged"),
    pytest.param(Knobs(seed=13, namespaces=6, nodes=6, same_node_logged=False), "v5", id="v5-large"),
    pytest.param(Knobs(seed=14, secondary_addresses=True), "v5", id="v5-secondary-addresses"),
    pytest.param(Knobs(seed=15, half_open_probes=True), "v5", id="v5-half-open-scan"),
]


def _generate(sources: list[Path], inventory: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Runs `flowctl generate` as a user would; the checkout is found through the environment, not the directory."""
    command = [sys.executable, "-m", "flowctl", "generate", *map(str, sources), "--inventory", str(inventory)]
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [*command, "--target", "kubernetes", "-o", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=600,
        check=False,
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def simulations() -> Iterator[dict[Knobs, Simulation]]:
    """Simulations by their knobs, so that both formats share one."""
    yield {}


def _simulation(simulations: dict[Knobs, Simulation], knobs: Knobs) -> Simulation:
    if knobs not in simulations:
        simulations[knobs] = simulate(knobs)
    return simulations[knobs]


@pytest.mark.slow
@pytest.mark.parametrize(("knobs", "format_name"), CASES)
def test_policies_are_right_for_a_cluster_nobody_has_seen(
    simulations: dict[Knobs, Simulation], tmp_path: Path, knobs: Knobs, format_name: str
) -> None:
    """Every true edge allowed, nothing else, no client port in a rule, job runs to come selected."""
    simulation = _simulation(simulations, knobs)
    inventory, logs = simulation.write(tmp_path / "in", format_name)
    done = _generate(logs, inventory, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    world = policy_check.read_world(simulation, tmp_path / "out")
    assert world.policies, "no policy was written"
    found = policy_check.complaints(world)
    assert not found, f"{len(found)} complaints, the first ones:\n" + "\n".join(found[:25])


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["v2", "v5"])
def test_the_order_of_the_files_changes_no_byte(
    simulations: dict[Knobs, Simulation], tmp_path: Path, format_name: str
) -> None:
    """The same files the other way round, and once more with one of them given twice.

    The report may count a file that was given twice; policies may not change.
    """
    simulation = _simulation(simulations, Knobs(seed=11))
    inventory, logs = simulation.write(tmp_path / "in", format_name)
    for name, sources in (("a", logs), ("b", logs[::-1]), ("c", [*logs[2:], *logs[:2], logs[1]])):
        done = _generate(sources, inventory, tmp_path / name)
        assert done.returncode == 0, done.stdout + done.stderr
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    first, twice = _files(tmp_path / "a"), _files(tmp_path / "c")
    assert {n: b for n, b in first.items() if n != "report.json"} == {
        n: b for n, b in twice.items() if n != "report.json"
    }


@pytest.mark.slow
def test_the_report_says_what_was_not_seen(simulations: dict[Knobs, Simulation], tmp_path: Path) -> None:
    """`report.json` names the workloads that got no policy, the internet-facing one, and what the logs left out."""
    simulation = _simulation(simulations, Knobs(seed=11))
    inventory, logs = simulation.write(tmp_path / "in", "v5")
    done = _generate(logs, inventory, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert isinstance(json.loads(text), dict)
    for key in simulation.truth.idle:
        namespace, _, name = key.split("/")
        assert f"{namespace}/{name}" in text or (f'"{namespace}"' in text and f'"{name}"' in text), key
    for word in ("SKIPDATA", "NODATA"):
        assert word in text
    assert "internet" in text
    for name in ("edge/gateway", "edge/dormant", "edge/spare"):
        assert name in text


@pytest.mark.slow
def test_late_records_change_no_policy(tmp_path: Path) -> None:
    """Rows that came in late by another delay tell the same story: the policies' meaning stays."""
    worlds = []
    for lag in (0, 25):
        simulation = simulate(replace(Knobs(seed=16, namespaces=2), lag=lag))
        inventory, logs = simulation.write(tmp_path / f"in{lag}", "v5")
        done = _generate(logs, inventory, tmp_path / f"out{lag}")
        assert done.returncode == 0, done.stdout + done.stderr
        worlds.append(policy_check.read_world(simulation, tmp_path / f"out{lag}"))
    assert [p["spec"] for p in worlds[0].policies] == [p["spec"] for p in worlds[1].policies]
    assert worlds[0].policies
