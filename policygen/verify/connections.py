"""ConnectionSet: which protocols and ports pass between two parties, as a value that prints in np-guard's grammar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FIRST_PORT, LAST_PORT = 1, 65535
NETWORK_POLICY_PROTOCOLS = ("SCTP", "TCP", "UDP")
"""The protocols that NetworkPolicy defines, in the order in which they are printed."""


@dataclass(frozen=True, slots=True)
class PortSpan:
    """Ports of one protocol, both ends included."""

    protocol: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ConnectionSet:
    """Sorted spans that neither overlap nor touch: equal sets are equal values. Make one with `of`."""

    spans: tuple[PortSpan, ...] = ()

    @staticmethod
    def of(spans: Iterable[PortSpan]) -> ConnectionSet:
        """The union of `spans`."""
        joined: list[PortSpan] = []
        for span in sorted(spans, key=lambda s: (s.protocol, s.first, s.last)):
            last = joined[-1] if joined else None
            if last is not None and last.protocol == span.protocol and span.first <= last.last + 1:
                joined[-1] = PortSpan(span.protocol, last.first, max(last.last, span.last))
            else:
                joined.append(span)
        return ConnectionSet(tuple(joined))

    @staticmethod
    def everything(protocols: Iterable[str] = NETWORK_POLICY_PROTOCOLS) -> ConnectionSet:
        """Every port of `protocols`."""
        return ConnectionSet.of(PortSpan(protocol, FIRST_PORT, LAST_PORT) for protocol in protocols)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, cell: tuple[str, int]) -> bool:
        """Whether (protocol, port) is in it."""
        return any(span.protocol == cell[0] and span.first <= cell[1] <= span.last for span in self.spans)

    def __or__(self, other: ConnectionSet) -> ConnectionSet:
        return ConnectionSet.of((*self.spans, *other.spans))

    def __and__(self, other: ConnectionSet) -> ConnectionSet:
        return ConnectionSet.of(
            PortSpan(a.protocol, max(a.first, b.first), min(a.last, b.last))
            for a in self.spans
            for b in other.spans
            if a.protocol == b.protocol and max(a.first, b.first) <= min(a.last, b.last)
        )

    def __sub__(self, other: ConnectionSet) -> ConnectionSet:
        return ConnectionSet.of(piece for span in self.spans for piece in _without(span, other))

    def __str__(self) -> str:
        """`All Connections`, `No Connections`, or `SCTP 1-65535,TCP 80,443-445`."""
        if not self.spans:
            return "No Connections"
        if self in (_ALL, CLOUD_EVERYTHING):
            return "All Connections"
        words: list[str] = []
        protocol = ""
        others = tuple(span for span in self.spans if span.protocol == "IP")
        for span in self.spans if others != _OTHERS else (*(s for s in self.spans if s not in others), _EVERY_OTHER):
            if span.protocol in ("ICMP", "ICMPv6") or span is _EVERY_OTHER:
                words.append(_icmp_text(span))
                continue
            ports = str(span.first) if span.first == span.last else f"{span.first}-{span.last}"
            words.append(ports if span.protocol == protocol else f"{span.protocol} {ports}")
            protocol = span.protocol
        return ",".join(words)


_EVERY_OTHER = PortSpan("other protocols", 0, LAST_PORT)


def _icmp_text(span: PortSpan) -> str:
    """`ICMP`, `ICMP type 8`, `ICMP type 3 code 4`."""
    (first, code), (last, last_code) = divmod(span.first, 256), divmod(span.last, 256)
    if (span.first, span.last) == (0, LAST_PORT):
        return span.protocol
    if (code, last_code) == (0, 255):
        return f"{span.protocol} type {first}" + (f"-{last}" if last != first else "")
    until = f" to type {last} code {last_code}" if span.last != span.first else ""
    return f"{span.protocol} type {first} code {code}{until}"


def _without(span: PortSpan, other: ConnectionSet) -> Iterator[PortSpan]:
    first = span.first
    for taken in other.spans:
        if taken.protocol != span.protocol or taken.last < first or taken.first > span.last:
            continue
        if taken.first > first:
            yield PortSpan(span.protocol, first, taken.first - 1)
        first = taken.last + 1
    if first <= span.last:
        yield PortSpan(span.protocol, first, span.last)


_ALL = ConnectionSet.everything()
_NAMED_NUMBERS = (1, 6, 17, 58, 132)
CLOUD_EVERYTHING = ConnectionSet.of(
    (
        *_ALL.spans,
        PortSpan("ICMP", 0, LAST_PORT),
        PortSpan("ICMPv6", 0, LAST_PORT),
        *(PortSpan("IP", number, number) for number in range(256) if number not in _NAMED_NUMBERS),
    )
)
"""Every IP protocol: ICMP spans count type * 256 + code, IP spans the protocols that have no name here."""
_OTHERS = tuple(span for span in CLOUD_EVERYTHING.spans if span.protocol == "IP")
