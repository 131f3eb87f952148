"""What a security group has to name so that one edge passes: groups where it can, exact addresses elsewhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from analyzers.inventory import Identity
from analyzers.servicemap import Edge, External
from policygen.model import CidrPeer, GroupPeer, Peer
from policygen.synthesis.group_members import CLOUD_KINDS, Roster, Subject
from policygen.synthesis.unfiltered import unfiltered_service

Side = Literal["client", "server"]

LISTED = 8
"""An edge lists at most so many addresses of an end; a list of that length may be incomplete."""


@dataclass(frozen=True, slots=True)
class Met:
    """What a rule needs for one edge, seen from one end."""

    edge: Edge
    peers: tuple[Peer, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()  # (reason, detail)
    unknown: str = ""  # the other end, where nothing says how to name it
    public_source: int = 0  # 4 or 6 where the peer is a public address that no inventory knows


@dataclass(frozen=True)
class PeerFinder:
    """Resolves the ends of edges against a roster."""

    roster: Roster
    vpc_cidrs: tuple[tuple[str, str], ...] = ()

    def subjects(self, edge: Edge, side: Side) -> set[Subject]:
        """The subjects whose groups filter this end of the edge: its own, or those of the nodes its pods are on."""
        end = getattr(edge, side)
        if isinstance(end, External):
            return set()
        if end.kind in CLOUD_KINDS:
            own = set(self.roster.of_workload.get(end, ()))
            there = {subject for subject in own if subject.network in edge.networks}
            return there or own
        networks = self._networks(end, edge.networks)
        held = {self.roster.carrying(n, a) for n in networks for a in self._addresses(edge, side, end)}
        return {subject for subject in held if subject is not None}

    def subjects_of_workload(self, workload: Identity) -> set[Subject]:
        """The subjects that filter a workload's traffic, whatever it was seen to do."""
        if workload.kind in CLOUD_KINDS:
            return set(self.roster.of_workload.get(workload, ()))
        addresses = self.roster.addresses(workload, past=False)
        held = {self.roster.carrying(n, a) for n in self._networks(workload, ()) for a in addresses}
        return {subject for subject in held if subject is not None}

    def met(self, edge: Edge, side: Side, subject: Subject) -> list[Met]:
        """How `subject`'s group has to name the end at `side`, which its own end met."""
        end = getattr(edge, side)
        if isinstance(end, External):
            return [self._external(edge, side, end, subject)]
        return [self._identified(edge, side, end, subject)]

    def _external(self, edge: Edge, side: Side, end: External, subject: Subject) -> Met:
        if side == "server":
            cidrs = [cidr for network, cidr in self.vpc_cidrs if network == subject.network]
            service = unfiltered_service(end.address, edge.protocol, edge.port, cidrs)
            if service:
                return Met(edge, notes=((f"no rule for {service}", f"{end.address} is never filtered by groups"),))
        peer = _exact(end.address)
        if not end.private:
            return Met(edge, (peer,), public_source=ipaddress.ip_address(end.address).version)
        return Met(edge, (peer,), (("unidentified private address", f"{end.address} is allowed as {side}"),))

    def _identified(self, edge: Edge, side: Side, end: Identity, subject: Subject) -> Met:
        addresses = self._addresses(edge, side, end)
        notes: list[tuple[str, str]] = []
        if side == "client" and any(_is_public_ipv4(a) for a in _listed(edge, "server")):
            translated = {a for a in self.roster.addresses(end, past=True) if _is_public_ipv4(a)}
            if not translated:
                detail = f"{end} meets it there; a NAT gateway's address has to be allowed where there is one"
                notes.append(("met at its public address", detail))
            addresses |= translated
        groups: set[Peer] = set()
        exact: set[str] = set()
        for address in addresses:
            target = self._group_at(edge, end, subject.network, address)
            if target is None:
                exact.add(address)
            else:
                groups.add(GroupPeer(target.name))
        if exact:
            exact |= self._alike(end, exact)
            notes.append(self._why_exact(end, subject.network, exact))
        peers = groups | {_exact(address) for address in exact}
        return Met(edge, tuple(sorted(peers, key=repr)), tuple(notes), "" if peers else str(end))

    def _group_at(self, edge: Edge, end: Identity, network: str, address: str) -> Subject | None:
        """The group that a reference would match for the end at this address. References see private addresses."""
        if _is_public_ipv4(address):
            return None
        if end.kind not in CLOUD_KINDS:
            return self.roster.carrying(network, address) if network in self._networks(end, edge.networks) else None
        own = [s for s in self.roster.of_workload.get(end, ()) if s.network == network]
        return own[0] if own and address in self.roster.addresses(end, past=True, network=network) else None

    def _addresses(self, edge: Edge, side: Side, end: Identity) -> set[str]:
        """The addresses at which the end was met. A list that may be cut short is filled up with others of its kind."""
        listed = _listed(edge, side)
        known = self.roster.addresses(end, past=True)
        if not listed:
            return {address for address in known if not _is_public_ipv4(address)} or known
        kinds = {_kind(address) for address in listed}
        return listed | ({a for a in known if _kind(a) in kinds} if len(listed) >= LISTED else set())

    def _alike(self, end: Identity, exact: Iterable[str]) -> set[str]:
        """The other living members' addresses: a workload is allowed as a whole, as a reference would do."""
        if end.kind not in CLOUD_KINDS:
            return set()
        kinds = {_kind(address) for address in exact}
        return {a for a in self.roster.addresses(end, past=False) if _kind(a) in kinds}

    def _why_exact(self, end: Identity, network: str, exact: Iterable[str]) -> tuple[str, str]:
        if any(_is_public_ipv4(address) for address in exact):
            return (
                "peer met at public addresses",
                f"{end} is allowed by address: references match private addresses only",
            )
        others = {s.network for s in self.roster.of_workload.get(end, ())} - {network}
        if others:
            where = ", ".join(sorted(others))
            return (
                "peer in another VPC",
                f"{end} of {where} is allowed by address: whether the VPCs are peered is not known",
            )
        detail = f"{end} is allowed by the addresses it was met at, which last as long as it keeps them"
        existing = sorted({g for e in self.roster.endpoints_of.get(end, ()) for g in e.security_groups})
        if existing:
            detail += f"; its interfaces carry {', '.join(existing)}, which a person may reference instead"
        return "peer without a group", detail

    def _networks(self, end: Identity, seen_in: Iterable[str]) -> set[str]:
        """Where an end that is no cloud workload lives."""
        if end.network:
            return {end.network}
        placed = {e.network for e in self.roster.endpoints_of.get(end, ())} - {""}
        return placed or set(seen_in) - {""}


def _listed(edge: Edge, side: Side) -> set[str]:
    listed = set(edge.client_addresses if side == "client" else edge.server_addresses)
    end = edge.client if side == "client" else edge.server
    listed |= {end.address} if isinstance(end, External) else set()
    return {str(ipaddress.ip_address(address)) for address in listed}


def _exact(address: str) -> CidrPeer:
    return CidrPeer(str(ipaddress.ip_network(address)))


def _is_public_ipv4(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.version == 4 and parsed.is_global


def _kind(address: str) -> str:
    """Addresses of one kind stand for one another: private IPv4, public IPv4, IPv6."""
    return "IPv6" if ":" in address else "public" if _is_public_ipv4(address) else "private"
