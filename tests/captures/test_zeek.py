"""Flows against the connection logs that Zeek wrote for the same captures; each difference has its reason here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captures.flows import Flow, flow, flows

CORPORA = os.environ.get("FLOWCTL_CORPORA")

if not CORPORA or not (Path(CORPORA) / "captures").is_dir():
    pytest.skip("FLOWCTL_CORPORA is unset or has no `captures`: NO flow is compared", allow_module_level=True)

ROOT = Path(CORPORA) / "captures"
FIELDS = ("proto", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
PROTOCOLS = {"tcp": 6, "udp": 17}  # it does not know SCTP

# Log -> how many connections only Zeek has, and why. There is none that only we have.
DIFFERENCES = {
    "tunnels/ayiya3.conn.log": (1, "AYIYA is not opened: the outer flow is kept"),
    "tunnels/geneve-vxlan-dns-truncated.conn.log": (1, "VXLAN in Geneve: the flow between outermost and innermost"),
    "tunnels/gre-aruba-amsdu.conn.log": (1, "802.11 frames in GRE are not opened: the outer flow is kept"),
    "tunnels/gtp/gtp6_gtp_0x32.conn.log": (1, "GTP is not opened: the outer flow is kept"),
}


def connections(log: Path) -> set[Flow] | None:
    """Of a log that has all of FIELDS; None: it has not."""
    lines = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines() if line]
    named = [line[1:] for line in lines if line[0] == "#fields"]
    rows = [line for line in lines if not line[0].startswith("#")]
    names = named[0] if named else rows.pop(0)
    if not set(FIELDS) <= set(names):
        return None
    found = set()
    for line in rows:
        protocol, client, sport, server, dport = (dict(zip(names, line, strict=False))[field] for field in FIELDS)
        if protocol in PROTOCOLS:
            found.add(flow(PROTOCOLS[protocol], f"{client}:{sport}", f"{server}:{dport}"))
    return found


def capture_of(log: Path) -> Path:
    """`x.conn.log` and `x.some-option.conn.log` are of `x.pcap` or `x.pcapng`."""
    stem = log.name.split(".")[0]
    return next(
        log.with_name(f"{stem}.{kind}") for kind in ("pcap", "pcapng") if log.with_name(f"{stem}.{kind}").exists()
    )


LOGS = {
    str(log.relative_to(ROOT / "zeek")): found
    for log in sorted(ROOT.rglob("*.conn.log"))
    if (found := connections(log)) is not None
}


@pytest.mark.parametrize("name", sorted(LOGS))
def test_flows_are_zeeks_connections(name: str) -> None:
    capture = capture_of(ROOT / "zeek" / name)
    seen = flows(capture, outer=False) | flows(capture, outer=True)
    ours = {one for one in seen if one[0] in PROTOCOLS.values()}
    if "max-depth" not in name:  # an option of Zeek's that ours is not set to
        assert len(LOGS[name] - ours) == DIFFERENCES.get(name, (0, ""))[0], LOGS[name] - ours
    assert ours <= LOGS[name] or "max-depth" in name, ours - LOGS[name]


def test_there_are_logs() -> None:
    assert len(LOGS) > 30 and sum(map(len, LOGS.values())) > 80
    assert set(DIFFERENCES) <= set(LOGS)
