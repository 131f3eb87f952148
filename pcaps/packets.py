"""Sessions as packets: one list that becomes both the capture and the flow logs, so that both tell the same story."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from simulation.flow_logs import ACK, FIN, RST, SYN, SYN_ACK, Collector, Interface, Wire

PSH = 8
ROUND_TRIP = 800  # µs between a packet and its answer
SEGMENT = 1400  # bytes of payload at most


@dataclass(frozen=True, slots=True)
class Host:
    """One end on the wire. Without an interface it is outside: nobody takes flow logs there."""

    address: str
    interface: Interface | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. `rejected`: the receiver's security group drops it, so a capture inside never sees it."""

    time: int  # µs UTC
    source: Host
    source_port: int
    destination: Host
    destination_port: int
    protocol: int
    tcp_bits: int = 0
    sequence: int = 0
    acknowledged: int = 0
    payload: bytes = b""
    rejected: bool = False

    @property
    def length(self) -> int:
        """Of the IP packet, in bytes."""
        return 20 + (20 if self.protocol == 6 else 8) + len(self.payload)


@dataclass
class Conversation:
    """A TCP connection that keeps count of its bytes."""

    client: Host
    client_port: int
    server: Host
    server_port: int
    time: int  # µs UTC, moves on
    packets: list[Packet] = field(default_factory=list)
    _sent: int = 1000
    _answered: int = 5000

    def _add(self, from_client: bool, bits: int, payload: bytes = b"", rejected: bool = False) -> None:
        ends = (self.client, self.client_port, self.server, self.server_port)
        if not from_client:
            ends = (*ends[2:], *ends[:2])
        mine, other = (self._sent, self._answered) if from_client else (self._answered, self._sent)
        acknowledged = other if bits & ACK else 0
        self.packets.append(Packet(self.time, *ends, 6, bits, mine, acknowledged, payload, rejected))
        step = len(payload) + (1 if bits & (SYN | FIN) else 0)
        if from_client:
            self._sent += step
        else:
            self._answered += step
        self.time += ROUND_TRIP

    def handshake(self) -> Conversation:
        """SYN, SYN-ACK, ACK."""
        self._add(True, SYN)
        self._add(False, SYN_ACK)
        self._add(True, ACK)
        return self

    def exchange(self, request: bytes, response: bytes, pause: int = 0) -> Conversation:
        """A request and its response, each acknowledged; `pause` µs afterwards."""
        self._add(True, PSH | ACK, request)
        for start in range(0, len(response), SEGMENT):
            self._add(False, PSH | ACK, response[start : start + SEGMENT])
        self._add(True, ACK)
        self.time += pause
        return self

    def close(self) -> Conversation:
        """Both FINs and the last ACK."""
        self._add(True, FIN | ACK)
        self._add(False, FIN | ACK)
        self._add(True, ACK)
        return self

    def straggler(self, delay: int) -> Conversation:
        """A late reset of the server, after the client's side forgot the connection and rejects it."""
        self.time += delay
        self._add(False, RST | ACK, rejected=True)
        return self

    def refused(self) -> Conversation:
        """A SYN that a closed port answers with a reset."""
        self._add(True, SYN)
        self._add(False, RST | ACK)
        return self

    def rejected(self, tries: int = 3) -> Conversation:
        """SYNs that the server's security group drops."""
        for number in range(tries):
            self._add(True, SYN, rejected=True)
            self._sent -= 1  # a retransmission
            self.time += 1_000_000 << number
        return self


def lookup(client: Host, port: int, server: Host, name: str, answer: str, time: int) -> list[Packet]:
    """One DNS question over UDP and its answer."""
    number = port & 0xFFFF
    question = bytes(DNS(id=number, rd=1, qd=DNSQR(qname=name)))
    response = bytes(
        DNS(id=number, qr=1, rd=1, ra=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, ttl=30, rdata=answer))
    )
    return [
        Packet(time, client, port, server, 53, 17, payload=question),
        Packet(time + ROUND_TRIP, server, 53, client, port, 17, payload=response),
    ]


def capture(packets: Iterable[Packet]) -> bytes:
    """A classic little-endian pcap in microseconds with Ethernet frames, in the order of time."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for number, packet in enumerate(sorted(packets, key=lambda p: p.time)):
        if packet.rejected:
            continue
        frame = _frame(packet, number & 0xFFFF)
        seconds, micros = divmod(packet.time, 1_000_000)
        parts.append(struct.pack("<IIII", seconds, micros, len(frame), len(frame)) + frame)
    return b"".join(parts)


def _mac(address: str) -> str:
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _frame(packet: Packet, number: int) -> bytes:
    ip = IP(src=packet.source.address, dst=packet.destination.address, id=number, ttl=64)
    transport = (
        TCP(
            sport=packet.source_port,
            dport=packet.destination_port,
            flags=packet.tcp_bits,
            seq=packet.sequence,
            ack=packet.acknowledged,
            window=64240,
        )
        if packet.protocol == 6
        else UDP(sport=packet.source_port, dport=packet.destination_port)
    )
    ether = Ether(src=_mac(packet.source.address), dst=_mac(packet.destination.address))
    return bytes(ether / ip / transport / Raw(packet.payload))


def log(packets: Iterable[Packet], collector: Collector) -> None:
    """The same packets as the flow logs of both ends' interfaces see them."""
    for packet in packets:
        wire = Wire(
            packet.source.address,
            packet.source_port,
            packet.destination.address,
            packet.destination_port,
            packet.protocol,
        )
        second = packet.time // 1_000_000
        for interface, direction in (
            (packet.source.interface, "egress"),
            (packet.destination.interface, "ingress"),
        ):
            if interface is not None:
                action = "REJECT" if packet.rejected and direction == "ingress" else "ACCEPT"
                collector.packets(
                    interface, direction, second, wire, size=packet.length, tcp_bits=packet.tcp_bits, action=action
                )
