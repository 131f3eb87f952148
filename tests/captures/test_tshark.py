"""Flow counts against tshark's conversations on real captures; each difference has its reason here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from captures.flows import Flow, flow, flows

CORPORA = os.environ.get("FLOWCTL_CORPORA")
TSHARK = shutil.which("tshark")

if not CORPORA or not (Path(CORPORA) / "captures").is_dir():
    pytest.skip("FLOWCTL_CORPORA is unset or has no `captures`: NO flow is compared", allow_module_level=True)
if TSHARK is None:
    pytest.skip("tshark is not installed: NO flow is compared with its conversations", allow_module_level=True)

ROOT = Path(CORPORA) / "captures"
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.pcap*"))
QUIET = {**os.environ, "HOME": "/nonexistent"}  # nobody's preferences
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


def conversations(name: str) -> frozenset[Flow]:
    """What tshark counts, at every depth: it shows the outer packets of tunnels as well as the inner ones."""
    assert TSHARK is not None
    taps = [part for tap in PROTOCOLS for part in ("-z", f"conv,{tap.lower()}")]
    command = [TSHARK, "-n", "-q", "-r", str(ROOT / name), *taps]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"}
    )
    found, protocol = set(), 0
    for line in done.stdout.splitlines():
        if heading := re.match(r"(\w+) Conversations", line):
            protocol = PROTOCOLS[heading[1]]
        elif ends := re.match(r"(\S+:\d+)\s+<-> (\S+:\d+)\s", line):
            found.add(flow(protocol, ends[1], ends[2]))
    return frozenset(found)


@cache
def all_conversations() -> dict[str, frozenset[Flow]]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FILES, pool.map(conversations, FILES), strict=True))


# Capture -> how many conversations only tshark has, how many flows only we have, and why.
ROUTED = "tshark shows the last address of the routing header or the home address; here it is that of the IP header"
BEHIND_THE_PORTS = "cut behind the ports: tshark wants the whole transport header"
DIFFERENCES: dict[str, tuple[int, int, str]] = {
    "tcpdump/LINKTYPE_IPV4_invalid.pcap": (1, 0, "IPv6 under a link type of IPv4: counted as malformed here"),
    "tcpdump/heapoverflow-tcp_print.pcap": (0, 1, BEHIND_THE_PORTS),
    "tcpdump/ipv6-routing-header.pcap": (1, 1, ROUTED),
    "tcpdump/nsh-over-vxlan-gpe.pcap": (
        1,
        0,
        "a service header (NSH) in VXLAN is not opened: the outer flow is kept",
    ),
    "tcpdump/tcp_header_heapoverflow.pcap": (0, 1, BEHIND_THE_PORTS),
    "tcpdump/udp-length-heapoverflow.pcap": (0, 1, BEHIND_THE_PORTS),
    "zeek/chksums/ip6-hoa-tcp-good-chksum.pcap": (1, 1, ROUTED),
    "zeek/chksums/ip6-route0-udp-good-chksum.pcap": (1, 1, ROUTED),
    "zeek/cisco-fabric-path.pcap": (0, 16, "SCTP without a single chunk: no conversation to tshark"),
    "zeek/ipv4/fragmented-3.pcap": (
        0,
        1,
        "a fragment is missing: tshark waits for it, here the first has the ports",
    ),
    "zeek/ipv6-hbh-routing0.pcap": (1, 1, ROUTED),
    "zeek/mobile-ipv6/ipv6-mobile-hoa.pcap": (1, 1, ROUTED),
    "zeek/mobile-ipv6/ipv6-mobile-routing.pcap": (1, 1, ROUTED),
    "zeek/tunnels/ayiya3.pcap": (1, 0, "AYIYA is not opened: the outer flow is kept"),
    "zeek/tunnels/geneve-vxlan-dns-truncated.pcap": (1, 0, "VXLAN in Geneve: the flow between outermost and innermost"),
    "zeek/tunnels/gre-aruba-amsdu.pcap": (1, 0, "802.11 frames in GRE are not opened: the outer flow is kept"),
    "zeek/tunnels/gtp/gtp6_gtp_0x32.pcap": (1, 0, "GTP is not opened: the outer flow is kept"),
    "zeek/tunnels/vxlan-triple-v2.pcap": (2, 0, "three times VXLAN: the flows between outermost and innermost"),
    "zeek/vntag_vlan_sandwich_clean.pcap": (0, 1, BEHIND_THE_PORTS),
}


@pytest.mark.parametrize("name", FILES)
def test_flows_are_tsharks_conversations(name: str) -> None:
    theirs = all_conversations()[name]
    ours = flows(ROOT / name, outer=False) | flows(ROOT / name, outer=True)
    only_theirs, only_ours = theirs - ours, ours - theirs
    assert (len(only_theirs), len(only_ours)) == DIFFERENCES.get(name, (0, 0, ""))[:2], (only_theirs, only_ours)


def test_tshark_found_something() -> None:
    assert sum(map(len, all_conversations().values())) > 190
    assert set(DIFFERENCES) <= set(FILES)
