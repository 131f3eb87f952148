"""The answers of NCA (network-config-analyzer, PyPI) and ours for one manifest file, as cells of one shape."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from analyzers.inventory.load import load_inventory
from policygen.manifests import read_policies
from policygen.verify.connections import ConnectionSet, PortSpan
from policygen.verify.reachability import Reachability

PYTHON = Path(".venv-nca/bin/python")
DRIVER = Path(__file__).with_name("driver.py")

Range = tuple[int, int, int]  # 4 or 6, first, last
Peer = str | Range
Rows = list[tuple[Peer, Peer, ConnectionSet]]
_LINE = re.compile(r"(\S+) => (\S+) : (.+)")
_CUBE = re.compile(r"\{protocols:([A-Z, ]+?)(?:,dst_ports:([\d,-]+))?\}")


def run_nca(files: Sequence[Path], limit: float | None = None) -> Iterator[tuple[Path, float, Rows]]:
    """(file, seconds, answers) of each file, all in one process of its own. `limit`: s, then TimeoutExpired."""
    command, names = [str(PYTHON), str(DRIVER)], "\n".join(map(str, files))
    done = subprocess.run(command, input=names, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        raise SystemExit(f"NCA failed: {done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        said = json.loads(line)
        yield Path(said["file"]), said["seconds"], list(_rows(said["lines"]))


def _rows(lines: Sequence[str]) -> Iterator[tuple[Peer, Peer, ConnectionSet]]:
    for line in lines:
        match = _LINE.fullmatch(line)
        if match:
            yield _peer(match[1]), _peer(match[2]), _connections(match[3])
        elif " => " in line:
            raise SystemExit(f"cannot read NCA's line {line!r}")


def _peer(text: str) -> Peer:
    first_text, _, last_text = text.partition("-")
    try:
        first, last = (ipaddress.ip_address(part) for part in (first_text, last_text or first_text))
    except ValueError:
        return text  # a pod
    return first.version, int(first), int(last)


def _connections(text: str) -> ConnectionSet:
    if text == "All connections":
        return ConnectionSet.everything()
    spans = []
    cubes = list(_CUBE.finditer(text))
    if "".join(text.split(",")) != "".join("".join(cube[0].split(",")) for cube in cubes):
        raise SystemExit(f"cannot read NCA's connections {text!r}")
    for cube in cubes:
        for protocol in cube[1].split(", "):
            for ports in (cube[2] or "1-65535").split(","):
                first, _, last = ports.partition("-")
                spans.append(PortSpan(protocol, int(first), int(last or first)))
    return ConnectionSet.of(spans)


def ours(file: Path) -> Rows:
    """Our answers for the same file."""
    policies = read_policies([file])
    refused = [problem for problem in policies.problems if problem.fatal]
    if refused:
        raise SystemExit(f"{file}: {refused}")
    return rows_of(Reachability.compile(policies, load_inventory([file])))


def rows_of(found: Reachability) -> Rows:
    """Every pair, in both address families."""

    def peer(name: str) -> Peer:
        return _peer(name.removesuffix("[External]")) if name.endswith("[External]") else name.removesuffix("[Pod]")

    return [(peer(str(p.source)), peer(str(p.destination)), p.connections) for p in found.pairs(ipv6=True)]


def differences(one: Rows, other: Rows) -> list[str]:
    """Where the two differ, cell by cell on the common pieces of the address space."""
    ranges = [peer for row in (*one, *other) for peer in row[:2] if not isinstance(peer, str)]
    cuts = {version: sorted({0, *(c for v, a, b in ranges if v == version for c in (a, b + 1))}) for version in (4, 6)}

    def cells(rows: Rows) -> dict[tuple[object, object], ConnectionSet]:
        found: dict[tuple[object, object], ConnectionSet] = {}
        for source, destination, connections in rows:
            for a in _pieces(source, cuts):
                for b in _pieces(destination, cuts):
                    found[a, b] = found.get((a, b), ConnectionSet()) | connections
        return found

    left, right = cells(one), cells(other)
    return [
        f"{key}: {left.get(key, ConnectionSet())} and {right.get(key, ConnectionSet())}"
        for key in sorted(left.keys() | right.keys(), key=str)
        if left.get(key, ConnectionSet()) != right.get(key, ConnectionSet())
    ]


def _pieces(peer: Peer, cuts: dict[int, list[int]]) -> list[object]:
    if isinstance(peer, str):
        return [peer]
    version, first, last = peer
    return [(version, cut) for cut in cuts[version] if first <= cut <= last]
