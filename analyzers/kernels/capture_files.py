"""CaptureReader: a pcap or pcapng capture, whole or through windows, into packet batches.

A mapped file is one final window::

    reader = CaptureReader(np.memmap(path, np.uint8, "r"), name)
    while count := reader.next_batch(batch): ...

A stream is a chain of windows, each beginning where the reader stands in the one before::

    reader = CaptureReader(window, name, final=False)
    while True:
        while count := reader.next_batch(batch): ...
        if reader.finished:
            break
        rest = window[reader.consumed :]          # reader.wanted bytes are needed before it can go on
        window = np.concatenate([rest, more])
        reader.feed(window, final=not more_to_come)

What comes out does not depend on how the bytes were cut into windows.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.capture_state import (
    MAX_CAPTURED,
    NEED_MORE,
    S_BIG_ENDIAN,
    S_BLOCK,
    S_DETAIL,
    S_NEXT,
    S_OFFSET,
    S_POSITION,
    S_RUNNING,
    S_SCOUTED,
    S_TRAILER,
    S_UNFIT,
    S_WANTED,
    STATE_FIELDS,
    Outcome,
    RecordBatch,
    Tally,
)
from analyzers.kernels.connections import (
    PACKETS_AT_ONCE,
    ROOM,
    Target,
    aggregate_capture,
    flush,
)
from analyzers.kernels.frame_status import FrameStatus
from analyzers.kernels.frames import Memory, PacketBatch, decode_frames
from analyzers.kernels.links import SUPPORTED_LINK_TYPES
from analyzers.kernels.pcap import FILE_HEADER, walk_pcap
from analyzers.kernels.pcapng import MAX_BLOCK, MAX_INTERFACES, Interfaces, walk_pcapng
from analyzers.kernels.tunnels import Tunnel

SMALLEST_WINDOW = FILE_HEADER
"""The first window of a stream must hold at least this many bytes, unless it is the whole file."""

_PCAP_MAGICS = {0xA1B2C3D4: "pcap", 0xA1B23C4D: "pcap, nanoseconds"}
_PCAPNG_MAGIC = 0x0A0D0D0A
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_OTHER_MAGICS = (
    (b"\xa1\xb2\xcd\x34", "a pcap of the modified kind (Kuznetzov), whose records have extra fields"),
    (b"\x34\xcd\xb2\xa1", "a pcap of the modified kind (Kuznetzov), whose records have extra fields"),
    (b"\x1f\x8b", "gzip data: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstandard data: decompress it first"),
    (b"snoop\0\0\0", "a snoop capture: convert it to pcap (editcap -F pcap)"),
    (b"GMBU", "a Network Monitor capture: convert it to pcap (editcap -F pcap)"),
    (b"RTSS", "a Network Monitor capture: convert it to pcap (editcap -F pcap)"),
)
_DAMAGE = {
    Outcome.IMPOSSIBLE_LENGTH: ("impossible captured length", f"a captured length of {{}} (at most {MAX_CAPTURED})"),
    Outcome.BLOCK_LENGTH: (
        "impossible pcapng block length",
        f"a block length of {{}} (a multiple of 4, at most {MAX_BLOCK})",
    ),
    Outcome.TRAILER: ("pcapng block lengths disagree", "a block that repeats its length as {}"),
    Outcome.SECTION: ("unreadable pcapng section header", "a byte-order mark or major version of {}"),
    Outcome.INTERFACE_COUNT: ("too many pcapng interfaces", f"more than {MAX_INTERFACES} interfaces in a section"),
    Outcome.CUT: ("cut mid-packet", "the file ends inside a record"),
}


_NO_INTERFACES = Interfaces.empty(0)


class Carrier(NamedTuple):
    """A tunnel between two outer addresses; both are "" under IP, and for further pairs than are told apart (NONE)."""

    tunnel: Tunnel
    one: str
    other: str
    packets: int


def _ends(halves: list[int]) -> tuple[str, str]:
    if not any(halves):
        return "", ""
    return _address(*halves[:2]), _address(*halves[2:])


def _address(hi: int, lo: int) -> str:
    if hi == 0 and lo >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(lo & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address(hi << 64 | lo))


class NotACapture(ValueError):
    """The bytes are no pcap or pcapng file that can be read; the message says what was found."""


class CaptureReader:
    """Reads one capture; see the module for how it is driven.

    window: uint8[n], contiguous; never written to, and kept until the next `feed`. Raises NotACapture when it does
    not begin like a pcap (version 2.4) or pcapng file. Damage further on raises nothing: everything before it is
    delivered, `damage` tells the place, and `counts()` has it.
    """

    def __init__(self, window: NDArray[np.uint8], name: str, *, final: bool = True, outer: bool = False) -> None:
        self.name = name
        self.damage: str | None = None
        self.finished = False
        self._state = np.zeros(STATE_FIELDS, np.int64)
        self._tally = Tally.empty()
        self._interfaces: Interfaces | None = None
        self._inner = not outer
        self._memory = Memory.empty()
        self._batch: PacketBatch | None = None
        self._records = RecordBatch.allocate(1)
        self._packets = 0
        self._exhausted = False
        self._link_type = 0
        self._damage_count: tuple[str, int] | None = None
        self._window = _read_only(window)
        self._final = final
        self._detect(self._window[:FILE_HEADER].tobytes())

    def _detect(self, head: bytes) -> None:
        for other, what in _OTHER_MAGICS:
            if head.startswith(other):
                raise NotACapture(f"{self.name}: no capture that can be read: {what}")
        for order in ("little", "big"):
            magic = int.from_bytes(head[:4], order)
            if len(head) >= 4 and magic in _PCAP_MAGICS:
                return self._open_pcap(head, order == "big")
        if len(head) >= 4 and int.from_bytes(head[:4], "big") == _PCAPNG_MAGIC:
            return self._open_pcapng(head)
        found = f"it begins with {head[:8].hex(' ')}" if head else "it is empty"
        raise NotACapture(f"{self.name}: neither pcap nor pcapng: {found}")

    def _open_pcap(self, head: bytes, big: bool) -> None:
        if len(head) < FILE_HEADER:
            raise NotACapture(f"{self.name}: cut inside the pcap file header, at offset {len(head)} of {FILE_HEADER}")
        order: Any = "big" if big else "little"
        version = int.from_bytes(head[4:6], order), int.from_bytes(head[6:8], order)
        if version != (2, 4):
            raise NotACapture(f"{self.name}: pcap version {version[0]}.{version[1]} at offset 4: only 2.4 can be read")
        self._link_type = int.from_bytes(head[20:24], order) & 0xFFFF  # above it: the length of the frame checksum
        self._state[S_BIG_ENDIAN] = big
        self._state[S_POSITION] = FILE_HEADER

    def _open_pcapng(self, head: bytes) -> None:
        mark = head[8:12]
        if _BYTE_ORDER_MAGIC not in (int.from_bytes(mark, "big"), int.from_bytes(mark, "little")):
            raise NotACapture(
                f"{self.name}: a pcapng section header without its byte-order mark: {mark.hex(' ') or 'nothing'}"
                " at offset 8"
            )
        self._interfaces = Interfaces.empty()

    @property
    def kind(self) -> str:
        """`pcap` or `pcapng`."""
        return "pcap" if self._interfaces is None else "pcapng"

    @property
    def packets(self) -> int:
        """Packet records walked so far, whatever became of them."""
        return self._packets + int(self._state[S_UNFIT])

    @property
    def consumed(self) -> int:
        """Bytes of the present window that are done with; the next window begins with the byte after them."""
        return int(self._state[S_POSITION])

    @property
    def wanted(self) -> int:
        """When more is needed: bytes that the next window must hold for a record to be whole (at most MAX_BLOCK)."""
        return int(self._state[S_WANTED])

    @property
    def link_types(self) -> dict[int, int]:
        """Frames by link type, sorted."""
        return {int(t): int(self._tally.link_packets[t]) for t in np.flatnonzero(self._tally.link_packets)}

    def feed(self, window: NDArray[np.uint8], *, final: bool) -> None:
        """The next window; its first byte is the one at `consumed` in the present one. `final`: nothing follows."""
        self._state[S_OFFSET] += self._state[S_POSITION]
        self._state[S_POSITION] = 0
        self._state[[S_SCOUTED, S_NEXT, S_RUNNING]] = 0
        self._window = _read_only(window)
        self._final = final
        self._exhausted = self.finished

    def next_batch(self, batch: PacketBatch) -> int:
        """Fill the batch from its start. -> packets in it; 0: nothing more in this window (see `finished`)."""
        while not self._exhausted:
            count, code = self._walk(len(batch.meta))
            self._exhausted = code >= NEED_MORE
            filled = decode_frames(self._window, self._records, count, self._inner, self._memory, batch, self._tally)
            self._packets += count
            if self._exhausted:
                self._stop(Outcome(code))
            if filled:
                return int(filled)
        return 0

    def aggregate(self, target: Target, network: int, observer: int, facts: Any) -> bool:
        """Add this window's packets to a table -> whether it is done; if not, the table needs room first.

        After the last window they are all there only when `finish` has returned True.

        `facts`: see analyzers.kernels.text.Facts. The same packets as from `next_batch`, without leaving the kernel.
        """
        if self._exhausted:
            return True
        if self._batch is None:
            self._batch = PacketBatch.allocate(PACKETS_AT_ONCE)
            self._records = RecordBatch.allocate(PACKETS_AT_ONCE)
        walked, code = aggregate_capture(
            self._window, -1 if self._interfaces else self._link_type, self._state,
            self._interfaces or _NO_INTERFACES, self._tally, self._records, self._inner, self._memory, self._batch,
            np.uint64(network), np.uint64(observer), facts, target,
        )  # fmt: skip
        self._packets += int(walked)
        if code == ROOM:
            return False
        self._exhausted = code >= NEED_MORE
        self._stop(Outcome(code))
        return True

    @staticmethod
    def finish(target: Target, network: int, observer: int) -> bool:
        """What is still kept beside the table goes into it -> whether that is done; if not, the table needs room."""
        return bool(flush(np.uint64(network), np.uint64(observer), target))

    def _walk(self, capacity: int) -> tuple[int, int]:
        if len(self._records.start) != capacity:
            self._records = RecordBatch.allocate(capacity)
        if self._interfaces is None:
            found = walk_pcap(self._window, self._link_type, self._state, self._records)
        else:
            found = walk_pcapng(self._window, self._state, self._interfaces, self._tally, self._records)
        return int(found[0]), int(found[1])

    def _stop(self, outcome: Outcome) -> None:
        if outcome == Outcome.NEED_MORE:
            if not self._final:
                return
            self.finished = True
            if self.consumed == len(self._window) and not self._state[S_TRAILER]:
                return
            outcome = Outcome.CUT
        self.finished = True
        offset = int(self._state[S_BLOCK] if self._state[S_TRAILER] else self._state[S_OFFSET] + self.consumed)
        reason, detail = _DAMAGE[outcome]
        self._damage_count = reason, offset
        self.damage = (
            f"{self.name}: offset {offset}: {detail.format(int(self._state[S_DETAIL]))}; "
            f"the {self.packets} packet records before it are read, nothing after it is"
        )

    def counts(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """What was passed over: reason -> (records, file offsets of the first ones); damage counts as one."""
        found: dict[str, tuple[int, tuple[int, ...]]] = {}
        for status in FrameStatus:
            if status == FrameStatus.LINK_TYPE:
                found |= self._unsupported()
            elif status.skipped and self._tally.counts[status]:
                found[status.text] = self._counted(status)
        if self._damage_count:
            found[self._damage_count[0]] = 1, (self._damage_count[1],)
        return found

    def notes(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Facts about packets that are in the batches all the same: text -> (records, file offsets)."""
        if not self._tally.counts[FrameStatus.UNTIMED]:
            return {}
        return {FrameStatus.UNTIMED.text: self._counted(FrameStatus.UNTIMED)}

    def carriers(self) -> list[Carrier]:
        """The tunnels that were opened, sorted: who carried how many packets."""
        table = self._memory.carriers
        found = [
            Carrier(Tunnel(int(row[0])), *_ends(row[1:5].tolist()), int(row[5]))
            for row in table.pairs[np.flatnonzero(table.pairs[:, 0])]
        ]
        if table.counts[1]:
            found.append(Carrier(Tunnel.NONE, "", "", int(table.counts[1])))
        return sorted(found)

    def _counted(self, status: FrameStatus) -> tuple[int, tuple[int, ...]]:
        samples = self._tally.samples[status]
        return int(self._tally.counts[status]), tuple(int(offset) for offset in samples if offset >= 0)

    def _unsupported(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        found = {}
        for link_type, packets in self.link_types.items():
            if link_type not in SUPPORTED_LINK_TYPES:
                samples = self._tally.link_samples[link_type]
                offsets = tuple(int(offset) - 1 for offset in samples if offset)
                found[f"{FrameStatus.LINK_TYPE.text} {link_type}"] = packets, offsets
        return found


def _read_only(window: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same memory as a plain read-only array: one compiled variant of the kernels serves maps and buffers."""
    if window.dtype != np.uint8 or window.ndim != 1 or not window.flags.c_contiguous:
        raise TypeError(f"a window is a contiguous one-dimensional uint8 array, not {window.dtype}{window.shape}")
    view = window.view(np.ndarray)
    view.flags.writeable = False
    return view
