"""Peers outside of the inventory: exact addresses, and the internet only where many public sources prove it."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analyzers.inventory import Identity
from analyzers.servicemap import Edge, External
from policygen.model import CidrPeer
from policygen.synthesis.census import Census, external_block
from policygen.synthesis.evidence import addresses_line, edge_line
from policygen.synthesis.findings import Findings, InternetFacing
from policygen.synthesis.normal_rules import Permission, contains

NEVER_INTERNET = {
    4: ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    6: ("::1/128", "fc00::/7", "fe80::/10"),
}
"""Private, shared, loopback and link-local ranges (RFC 1918, 6598, 1122, 3927, 4193, 4291): no part of the internet."""

_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_LINES = 4
"""Up to this many addresses on a port have a line of evidence each; more share one."""


@dataclass(frozen=True, slots=True)
class OutsideLimits:
    """When to say that exact addresses are many, and when a port counts as internet-facing (see SynthesisOptions)."""

    max_exact_addresses: int
    internet_sources: int


class OutsidePeers:
    """Turns the external ends of one workload's edges into permissions; remembers what faces the internet."""

    def __init__(self, census: Census, limits: OutsideLimits, findings: Findings) -> None:
        self._census = census
        self._limits = limits
        self._findings = findings
        self.internet_facing: set[InternetFacing] = set()

    def clients(self, workload: Identity, protocol: str, port: int, edges: Sequence[Edge]) -> Iterator[Permission]:
        """Who from outside may reach this port of `workload`. All of `edges` have an External client."""
        found = self._addresses(workload, "client", f"ingress {protocol} {port}", edges)
        public = {block: some for block, some in found.items() if not _external(some[0], "client").private}
        internet = {v: self._everywhere(v) for v in (4, 6)}
        covered = {b: some for b, some in public.items() if contains(internet[_version(b)], CidrPeer(b))}
        if len(covered) > self._limits.internet_sources:
            yield from self._open(workload, protocol, port, covered)
            found = {b: some for b, some in found.items() if b not in covered}
        yield from self._exact(workload, "client", protocol, port, found)

    def servers(self, workload: Identity, protocol: str, port: int, edges: Sequence[Edge]) -> Iterator[Permission]:
        """Which addresses outside `workload` may reach on this port: exactly those of `edges`, however many."""
        found = self._addresses(workload, "server", f"egress {protocol} {port}", edges)
        yield from self._exact(workload, "server", protocol, port, found)

    def _addresses(self, workload: Identity, role: str, where: str, edges: Sequence[Edge]) -> dict[str, list[Edge]]:
        """Edges by the block of their external end, in order; ends that no block can stand for are reported."""
        found: dict[str, list[Edge]] = defaultdict(list)
        for edge in edges:
            end = _external(edge, role)
            block = external_block(end)
            if block is None:
                sentence = f"{{items}}: no address; no rule was written for it ({where})"
                self._findings.collect("not-expressible", str(workload), sentence, end.address, edge.records)
            elif self._census.in_pod_range(block, end.network):
                sentence = (
                    f"{{items}}: inside a range of pods, yet no pod is known by it; no rule was written ({where})."
                    " An inventory of the time of the logs would name the pod"
                )
                self._findings.collect("inside-pod-range", str(workload), sentence, end.address, edge.records)
            else:
                found[block].append(edge)
                if end.private:
                    sentence = f"unidentified private address {{items}} allowed as it was seen ({where})"
                    self._findings.collect("private-address", str(workload), sentence, end.address, edge.records)
        return dict(sorted(found.items()))

    def _exact(
        self, workload: Identity, role: str, protocol: str, port: int, found: dict[str, list[Edge]]
    ) -> Iterator[Permission]:
        direction, step = ("ingress", "") if role == "client" else ("egress", "a policy by name (FQDN) or ")
        if len(found) > self._limits.max_exact_addresses:
            self._findings.add(
                "many-addresses",
                str(workload),
                f"{direction} {protocol} {port}: {len(found)} exact addresses. Addresses to come are not covered;"
                f" {step}a CIDR that a person declares would be steadier",
                sum(e.records for some in found.values() for e in some),
            )
        together = [edge for some in found.values() for edge in some]
        shared = addresses_line(together, protocol, outside=role) if len(found) > _LINES else ""
        for block, some in found.items():
            for edge in some:
                yield Permission(CidrPeer(block), protocol, port, shared or edge_line(edge, protocol))

    def _open(
        self, workload: Identity, protocol: str, port: int, public: dict[str, list[Edge]]
    ) -> Iterator[Permission]:
        versions = sorted({_version(block) for block in public})
        together = [edge for some in public.values() for edge in some]
        blocks = tuple(_EVERYWHERE[v] for v in versions)
        self.internet_facing.add(InternetFacing(workload, protocol, port, len(public), blocks))
        self._findings.add(
            "internet-facing",
            str(workload),
            f"{protocol} {port} is open to the internet ({', '.join(blocks)} except private ranges):"
            f" {len(public)} public addresses reached it",
            sum(e.records for e in together),
        )
        line = f"internet-facing: {addresses_line(together, protocol, outside='client')}"
        yield from (Permission(self._everywhere(v), protocol, port, line) for v in versions)

    def _everywhere(self, version: int) -> CidrPeer:
        """All addresses of a family but private ones and those of pods, which some plugins match by address too."""
        ranges = [ipaddress.ip_network(r) for r in (*NEVER_INTERNET[version], *self._census.pod_ranges(version))]
        if version == 4:
            folded = [str(n) for n in ipaddress.collapse_addresses(n for n in ranges if n.version == 4)]
        else:
            folded = [str(n) for n in ipaddress.collapse_addresses(n for n in ranges if n.version == 6)]
        return CidrPeer(_EVERYWHERE[version], tuple(block for block in folded if block != _EVERYWHERE[version]))


def _external(edge: Edge, role: str) -> External:
    end = edge.client if role == "client" else edge.server
    assert isinstance(end, External)
    return end


def _version(block: str) -> int:
    return 6 if ":" in block else 4
