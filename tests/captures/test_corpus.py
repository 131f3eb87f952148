"""The capture kernels against dpkt, packet by packet, on real captures."""

from __future__ import annotations

import io
import os
from collections import Counter
from functools import cache
from pathlib import Path

import dpkt
import pytest

from analyzers.kernels.capture_files import NotACapture
from analyzers.kernels.frame_status import FrameStatus
from analyzers.kernels.links import SUPPORTED_LINK_TYPES
from captures.corpus_facts import CORPUS
from captures.flows import flows
from captures.kernel import outcomes, read, read_in_windows
from captures.twin import Seen, Twin, harmless_dpkt, read_records

CORPORA = os.environ.get("FLOWCTL_CORPORA")

if not CORPORA or not (Path(CORPORA) / "captures").is_dir():
    pytest.skip(
        "FLOWCTL_CORPORA is unset or has no `captures`: NO real capture is compared with dpkt", allow_module_level=True
    )

ROOT = Path(CORPORA) / "captures"
REASONS = {status.name: status.text for status in FrameStatus}
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.pcap*"))

# (capture, packet) -> what dpkt makes of it, what the kernel makes of it, and why the kernel is right to differ.
DIFFERENCES = {
    ("tcpdump/LINKTYPE_IPV4_invalid.pcap", 0): ("TRUNCATED", "MALFORMED", "IPv6 under IPV4: dpkt parses it as IPv4"),
    ("tcpdump/LINKTYPE_IPV6_invalid.pcap", 0): ("TRUNCATED", "MALFORMED", "IPv4 under IPV6: dpkt parses it as IPv6"),
    ("tcpdump/ipv4_invalid_hdr_length.pcap", 0): ("TRUNCATED", "MALFORMED", "header length below 20: an error in dpkt"),
    ("tcpdump/tcp_header_heapoverflow.pcap", 0): (
        "TRUNCATED",
        Seen("48.48.48.48", "48.48.48.48", 6, 12336, 12336, 12336),
        "cut behind the ports: dpkt wants the whole TCP header",
    ),
    ("tcpdump/udp-length-heapoverflow.pcap", 0): (
        "TRUNCATED",
        Seen("48.48.48.48", "48.48.48.48", 17, 12336, 12336, 12336),
        "cut behind the ports: dpkt wants the whole UDP header",
    ),
}

# Captures whose times dpkt's own file readers give otherwise than the kernel and the twin's reader do, and why.
TIMES_DIFFER = {
    "tcpdump/timestamp_invalid_micro.pcap": "more than 10^6 microseconds: dpkt carries them into the seconds",
    "tcpdump/timestamp_invalid_nano.pcap": "more than 10^9 nanoseconds: dpkt carries them into the seconds",
    "zeek/pcapng-multi-interface.pcapng": "dpkt takes the first interface's clock for all",
}


@cache
def content(name: str) -> bytes:
    return (ROOT / name).read_bytes()


def test_the_corpus_is_there() -> None:
    assert set(FILES) == set(CORPUS)
    assert {name for name, _ in DIFFERENCES} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_packet_is_what_dpkt_sees(name: str) -> None:
    data = content(name)
    records = list(read_records(data))
    found = outcomes(data)
    assert [record.offset for record in records] == [offset for offset, _, _ in found]
    different = {}
    twin = Twin()
    with harmless_dpkt():
        for i, (record, (_, second, seen)) in enumerate(zip(records, found, strict=True)):
            assert record.time == second
            expected = twin.decode(record)
            if expected != seen:
                different[name, i] = expected, seen
    assert different == {key: value[:2] for key, value in DIFFERENCES.items() if key[0] == name}
    reader = read(data, name)[1]
    mine = {(c.tunnel.name, c.one, c.other): c.packets for c in reader.carriers()}
    assert mine == {(k, a.strip(":"), b.strip(":")): n for (k, a, b), n in twin.carriers.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_right_rows_or_the_right_reason(name: str) -> None:
    """Facts that the comparisons with dpkt, tshark and Zeek have borne out, pinned."""
    facts = CORPUS[name]
    found, reader = read(content(name), name)
    told = {**facts.reasons}
    expected = {text: told.pop(status) for status, text in REASONS.items() if status in told}
    expected |= {key.replace("LINK_TYPE", FrameStatus.LINK_TYPE.text): count for key, count in told.items()}
    assert {reason: count for reason, (count, _) in reader.counts().items()} == expected
    assert (reader.packets, len(found)) == (facts.records, facts.read)
    assert len(flows(ROOT / name, outer=False)) == facts.flows
    tunnels: Counter[str] = Counter()
    for carrier in reader.carriers():
        tunnels[carrier.tunnel.text] += carrier.packets
    assert tunnels == facts.tunnels
    assert facts.records == facts.read + sum(facts.reasons.values())


@pytest.mark.parametrize("name", FILES)
def test_every_record_is_delivered_or_counted(name: str) -> None:
    data = content(name)
    records = list(read_records(data))
    delivered, reader = read(data, name)
    assert reader.damage is None and reader.finished
    assert reader.packets == len(records)
    assert delivered == read(data, name, capacity=1)[0]
    assert [seen for seen, _, _ in delivered] == [seen for _, _, seen in outcomes(data) if isinstance(seen, Seen)]
    assert reader.packets == len(delivered) + sum(count for count, _ in reader.counts().values())
    unsupported = [record for record in records if record.link_type not in SUPPORTED_LINK_TYPES]
    told = {reason: count for reason, (count, _) in reader.counts().items() if reason.startswith("unsupported link")}
    assert sum(told.values()) == len(unsupported)
    for link_type in {record.link_type for record in unsupported}:
        mine = [record.offset for record in unsupported if record.link_type == link_type]
        assert reader.counts()[f"unsupported link type {link_type}"] == (len(mine), tuple(mine[:3]))


@pytest.mark.parametrize("name", FILES)
def test_windows_of_any_size_give_the_same(name: str) -> None:
    data = content(name)
    whole, reader = read(data, name)
    for size in (24, 333, 5000):
        found, windowed = read_in_windows(data, size, name)
        assert found == whole
        assert (windowed.counts(), windowed.packets) == (reader.counts(), reader.packets)


@pytest.mark.parametrize("name", FILES)
def test_the_twins_reader_agrees_with_dpkts(name: str) -> None:
    data = content(name)
    mine = [(record.time, record.frame) for record in read_records(data)]
    is_pcapng = data[:4] == b"\x0a\x0d\x0d\x0a"
    theirs = dpkt.pcapng.Reader(io.BytesIO(data)) if is_pcapng else dpkt.pcap.Reader(io.BytesIO(data))
    other = [(int(time), bytes(frame)) for time, frame in theirs]
    assert [frame for _, frame in mine] == [frame for _, frame in other]
    assert (mine != other) == (name in TIMES_DIFFER)


def test_a_text_file_is_no_capture() -> None:
    with pytest.raises(NotACapture, match=r"README.md: neither pcap nor pcapng: it begins with 23 20"):
        read((ROOT / "README.md").read_bytes(), "README.md")
