"""The spaces that policies cut: addresses at the borders of CIDRs, ports at the borders of ranges.

Addresses are one line of 128 bits, IPv4 in its mapped place (::ffff:0:0/96), which no IPv6 block reaches.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from policygen.model import AdminPolicy, AdminRule, CidrPeer, Policy, PolicySet, PortRange, Rule
from policygen.verify.connections import LAST_PORT, ConnectionSet, PortSpan
from policygen.verify.matching import ANY_PROTOCOL, last_port
from policygen.verify.profiles import CniProfile

PROTOCOL_NAMES = ("SCTP", "TCP", "UDP")
MAPPED_FIRST = 0xFFFF_0000_0000
MAPPED_LAST = 0xFFFF_FFFF_FFFF
LAST_ADDRESS = (1 << 128) - 1


def every_rule(policies: PolicySet) -> Iterator[Rule | AdminRule]:
    """All rules of all policies, both directions."""
    everything: tuple[Policy | AdminPolicy, ...] = (*policies.policies, *policies.admin)
    for policy in everything:
        yield from policy.ingress or ()
        yield from policy.egress or ()


@lru_cache(maxsize=65536)
def block_range(cidr: str) -> tuple[int, int]:
    """(first, last) address of a CIDR on the line. Raises ValueError when it is none."""
    network = ipaddress.ip_network(cidr, strict=False)
    first, last = int(network.network_address), int(network.broadcast_address)
    return (first + MAPPED_FIRST, last + MAPPED_FIRST) if network.version == 4 else (first, last)


def on_line(address: tuple[int, int]) -> int:
    """The (hi, lo) halves as a place on the line."""
    return address[0] << 64 | address[1]


class AddressSpace:
    """Cells of addresses that no block tells apart, numbered from 0 along the line."""

    def __init__(self, policies: PolicySet, blocks: Iterable[str] = ()) -> None:
        """`blocks`: CIDRs to cut at besides those of the policies."""
        cuts = {0, MAPPED_FIRST, MAPPED_LAST + 1}
        for first, last in map(block_range, blocks):
            cuts |= {first, last + 1}
        for rule in every_rule(policies):
            for peer in rule.peers or ():
                if isinstance(peer, CidrPeer):
                    for cidr in (peer.cidr, *peer.excepts):
                        first, last = block_range(cidr)
                        cuts |= {first, last + 1}
        self.starts = sorted(cut for cut in cuts if cut <= LAST_ADDRESS)
        self._ipv4 = slice(bisect_left(self.starts, MAPPED_FIRST), bisect_left(self.starts, MAPPED_LAST + 1))

    def __len__(self) -> int:
        return len(self.starts)

    def cell(self, place: int) -> int:
        """The cell of a place on the line."""
        return bisect_right(self.starts, place) - 1

    def bounds(self, cell: int) -> tuple[int, int]:
        """(first, last) place of a cell."""
        end = self.starts[cell + 1] if cell + 1 < len(self.starts) else LAST_ADDRESS + 1
        return self.starts[cell], end - 1

    def is_ipv4(self, cell: int) -> bool:
        """Whether the cell's addresses are IPv4."""
        return self._ipv4.start <= cell < self._ipv4.stop

    def ipv4_cells(self) -> range:
        """In order of addresses."""
        return range(self._ipv4.start, self._ipv4.stop)

    def ipv6_cells(self) -> list[int]:
        """In order of addresses; those around the IPv4 part are neighbours."""
        return [*range(self._ipv4.start), *range(self._ipv4.stop, len(self.starts))]

    def covered(self, block: CidrPeer) -> NDArray[np.bool_]:
        """bool[cells]: which cells lie in the block and in none of its exceptions."""
        inside = np.zeros(len(self.starts), bool)
        inside[self._span(block.cidr)] = True
        if ":" in block.cidr:
            inside[self._ipv4] = False
        for part in block.excepts:
            inside[self._span(part)] = False
        return inside

    def _span(self, cidr: str) -> slice:
        first, last = block_range(cidr)
        return slice(bisect_left(self.starts, first), bisect_left(self.starts, last + 1))

    def halves(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """uint64[cells] twice: the (hi, lo) halves of each cell's first address."""
        low = (1 << 64) - 1
        return (
            np.array([start >> 64 for start in self.starts], np.uint64),
            np.array([start & low for start in self.starts], np.uint64),
        )


class PortSpace:
    """Cells (protocol, first port, last port) that no port entry tells apart; port 0, which none but whole protocols
    cover, has cells of its own. A set of cells is uint64[words], cell i being bit i % 64 of word i // 64."""

    def __init__(self, policies: PolicySet, named: Iterable[tuple[str, int]], profile: CniProfile) -> None:
        """`named`: (protocol, number) of the ports that names can mean."""
        cuts: dict[str, set[int]] = {name: {0, 1} for name in PROTOCOL_NAMES}
        for protocol, number in named:
            if protocol in cuts:
                cuts[protocol] |= {number, number + 1}
        for rule in every_rule(policies):
            for allowed in rule.ports or ():
                if isinstance(allowed.port, int):
                    for protocol in PROTOCOL_NAMES if allowed.protocol == ANY_PROTOCOL else (allowed.protocol,):
                        cuts.setdefault(protocol, {0, 1}).update({allowed.port, last_port(allowed, profile) + 1})
        self.cells: list[PortSpan] = []
        self._first: dict[str, tuple[int, list[int]]] = {}  # protocol -> (its first cell, starts)
        for protocol in PROTOCOL_NAMES:
            starts = sorted(cut for cut in cuts[protocol] if cut <= LAST_PORT)
            self._first[protocol] = (len(self.cells), starts)
            ends = [start - 1 for start in starts[1:]] + [LAST_PORT]
            self.cells += [PortSpan(protocol, first, last) for first, last in zip(starts, ends, strict=True)]
        self.words = (len(self.cells) + 63) // 64
        self.profile = profile

    def __len__(self) -> int:
        return len(self.cells)

    def full(self) -> NDArray[np.uint64]:
        """Every cell."""
        return self.pack(np.ones(len(self.cells), bool))

    def cell(self, protocol: str, port: int) -> int:
        """The cell of one port."""
        first, starts = self._first[protocol]
        return first + bisect_right(starts, port) - 1

    def lookup(self) -> NDArray[np.int32]:
        """int32[3 * 65536]: the cell of port p of PROTOCOL_NAMES[i] at i * 65536 + p."""
        table = np.zeros((3, LAST_PORT + 1), np.int32)
        for number, span in enumerate(self.cells):
            table[PROTOCOL_NAMES.index(span.protocol), span.first : span.last + 1] = number
        return table.reshape(-1)

    def pack(self, members: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """bool[cells] as uint64[words]."""
        padded = np.zeros(self.words * 64, bool)
        padded[: len(members)] = members
        return np.packbits(padded, bitorder="little").view(np.uint64)

    def unpack(self, bits: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """uint64[words] as bool[cells]."""
        return np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(self.cells)].astype(bool)

    def covered(self, ports: tuple[PortRange, ...] | None, named: Iterable[tuple[str, str, int]]) -> NDArray[np.uint64]:
        """The cells that entries of `ports` cover at a destination that declares `named`: (name, protocol, number)."""
        members = np.zeros(len(self.cells), bool)
        if ports is None:
            members[:] = True
        for allowed in ports or ():
            for protocol in PROTOCOL_NAMES if allowed.protocol == ANY_PROTOCOL else (allowed.protocol,):
                if protocol not in self._first:
                    continue
                first, starts = self._first[protocol]
                if allowed.port is None:
                    members[first : first + len(starts)] = True
                elif isinstance(allowed.port, int):
                    last = self.cell(protocol, min(last_port(allowed, self.profile), LAST_PORT))
                    members[self.cell(protocol, allowed.port) : last + 1] = True
                else:
                    for name, declared, number in named:
                        if (name, declared) == (allowed.port, protocol):
                            members[self.cell(protocol, number)] = True
        return self.pack(members)

    def connections(self, bits: NDArray[np.uint64]) -> ConnectionSet:
        """The cells as a value; without port 0."""
        chosen = np.flatnonzero(self.unpack(bits)).tolist()
        return ConnectionSet.of(self.cells[number] for number in chosen if self.cells[number].last)
