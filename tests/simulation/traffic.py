"""Turns needs into packets on interfaces: sessions, replies, late packets, rejected ones and scans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from .blueprint import DNS_PORT, Blueprint, Need, Outside
from .cluster import Cluster, Pod, Port, Workload
from .flow_logs import ACK, FIN, RST, SYN, SYN_ACK, Collector, Interface, Wire

PROTOCOLS = {"TCP": 6, "UDP": 17}
SCANNED_PORTS = (21, 22, 23, 25, 111, 139, 445, 1433, 2375, 3306, 3389, 5900, 9200, 10250, 11211, 27017, 31337, 47001)
EPHEMERAL = range(32768, 61000)


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a session: its address, and its interface where flow logs are taken of it."""

    address: str
    interface: Interface | None = None
    node: str = ""


@dataclass
class ClientPorts:
    """Ephemeral ports of each client address, used again for other servers; never twice for one server port."""

    rng: Random
    reuse: float  # share of connections that take a port which the same client used before, towards another server
    _used: dict[str, list[int]] = field(default_factory=dict)
    _pairs: set[tuple[str, int, str, int]] = field(default_factory=set)

    def pick(self, client: Party, server: str, port: int, listening: frozenset[int]) -> int:
        """A port for one more connection to `server`:`port`. The internet's clients come from behind any NAT."""
        used = self._used.setdefault(client.address, [])
        while True:
            if used and self.rng.random() < self.reuse:
                number = self.rng.choice(used)
            elif client.interface is None:
                number = self.rng.randrange(1024, 65536)
            else:
                # 50051 and 61616 lie where clients choose; so clients do choose them
                number = 50051 if self.rng.random() < 0.01 else self.rng.choice(EPHEMERAL)
            pair = (client.address, number, server, port)
            if pair not in self._pairs and number not in listening:
                self._pairs.add(pair)
                used.append(number)
                return number


@dataclass
class Wires:
    """How both ends see one connection. They differ where the client's side still shows a Service's address."""

    client: Party
    server: Party
    at_client: Wire
    at_server: Wire
    collector: Collector
    visible: bool = True  # False: both ends share a node whose inner traffic no interface sees

    def send(self, time: int, packets: int = 1, size: int = 60, bits: int = 0, rejected: bool = False) -> None:
        """Packets from the client to the server; `rejected` at the server's interface."""
        if not self.visible:
            return
        if self.client.interface is not None:
            self.collector.packets(
                self.client.interface, "egress", time, self.at_client, packets=packets, size=size, tcp_bits=bits
            )
        if self.server.interface is not None:
            action = "REJECT" if rejected else "ACCEPT"
            self.collector.packets(
                self.server.interface,
                "ingress",
                time,
                self.at_server,
                packets=packets,
                size=size,
                tcp_bits=bits,
                action=action,
            )

    def answer(self, time: int, packets: int = 1, size: int = 60, bits: int = 0, rejected: bool = False) -> None:
        """Packets from the server to the client; `rejected` at the client's interface."""
        if not self.visible:
            return
        if self.server.interface is not None:
            self.collector.packets(
                self.server.interface, "egress", time, self.at_server.reply(), packets=packets, size=size, tcp_bits=bits
            )
        if self.client.interface is not None:
            action = "REJECT" if rejected else "ACCEPT"
            self.collector.packets(
                self.client.interface,
                "ingress",
                time,
                self.at_client.reply(),
                packets=packets,
                size=size,
                tcp_bits=bits,
                action=action,
            )


def tcp_session(wires: Wires, begin: int, end: int, rng: Random, held: bool) -> None:
    """Handshake, data both ways, both FINs; sometimes a straggler after the close, which the client's side rejects."""
    wires.send(begin, bits=SYN)
    wires.answer(begin, bits=SYN_ACK)
    wires.send(begin, bits=ACK, size=52)
    step = 20 if held else max(1, (end - begin) // 3)
    for time in range(begin, end, step):
        wires.send(time, packets=rng.randrange(1, 6), size=rng.randrange(80, 900), bits=ACK)
        wires.answer(time, packets=rng.randrange(1, 8), size=rng.randrange(80, 1400), bits=ACK)
    wires.send(end, bits=FIN | ACK, size=52)
    wires.answer(end, bits=FIN | ACK, size=52)
    wires.send(end, bits=ACK, size=52)
    if rng.random() < 0.1:
        wires.answer(end + rng.randrange(2, 9), bits=rng.choice((RST, FIN | ACK, ACK)), size=52, rejected=True)


def udp_exchange(wires: Wires, begin: int, rng: Random) -> None:
    """A question and its answer."""
    wires.send(begin, size=rng.randrange(60, 110))
    wires.answer(begin, size=rng.randrange(90, 300))


def rejected_attempt(wires: Wires, begin: int) -> None:
    """SYNs that the server's interface rejects: the client's side still logs them as accepted."""
    for delay in (0, 1, 3):
        wires.send(begin + delay, bits=SYN, rejected=True)


def probe(wires: Wires, begin: int, outcome: str) -> None:
    """One port of a scan. `half-open` finds a listener and resets it without a word."""
    if outcome == "rejected":
        rejected_attempt(wires, begin)
        return
    wires.send(begin, bits=SYN)
    if outcome == "reset":
        wires.answer(begin, bits=RST | ACK, size=40)
    elif outcome == "half-open":
        wires.answer(begin, bits=SYN_ACK)
        wires.send(begin, bits=RST, size=40)


@dataclass
class Traffic:
    """Everything that is said in the cluster between the collector's times."""

    cluster: Cluster
    collector: Collector
    rng: Random
    same_node_logged: bool = True
    port_reuse: float = 0.08
    ports: ClientPorts = field(init=False)

    def __post_init__(self) -> None:
        self.ports = ClientPorts(self.rng, self.port_reuse)

    def wires(self, client: Party, server: Party, port: Port, facade: tuple[str, int] | None = None) -> Wires:
        """A new connection of `client`. `facade`: the Service address and port that the client's side logs.

        Gossip uses its own port at both ends.
        """
        protocol = PROTOCOLS[port.protocol]
        listening = frozenset(
            p.number for pod in self.cluster.pods if pod.address == client.address for p in pod.workload.ports
        )
        source = (
            port.number if port.name == "gossip" else self.ports.pick(client, server.address, port.number, listening)
        )
        at_server = Wire(client.address, source, server.address, port.number, protocol)
        at_client = Wire(client.address, source, *facade, protocol) if facade else at_server
        hidden = not self.same_node_logged and client.node != "" and client.node == server.node
        return Wires(client, server, at_client, at_server, self.collector, visible=not hidden)

    def alive(self, end: Workload | Outside, time: int, until: int) -> list[Party]:
        """Who can speak for an end for the whole of [time, until]."""
        if isinstance(end, Outside):
            return [Party(a) for a in end.addresses]
        return [
            party(pod)
            for pod in self.cluster.pods_of(end)
            if pod.start + 2 <= time and (pod.end is None or until <= pod.end - 2)
        ]

    def meet(self, need: Need) -> None:
        """All sessions of one need, over the whole time; every run of a job has its own."""
        spans = [(self.collector.begin + 5, self.collector.finish - 70, need.sessions)]
        if isinstance(need.client, Workload) and need.client.kind in ("CronJob", "Job"):
            runs = self.cluster.pods_of(need.client)
            each = max(2, need.sessions // len(runs))
            spans = [(p.start + 3, p.end - 30, each) for p in runs if p.end is not None]
        for first, last, sessions in spans:
            for number in range(sessions):
                begin = self.rng.randrange(first, last)
                self._session(need, begin, number)

    def _session(self, need: Need, begin: int, number: int) -> None:
        end = begin + self.rng.randrange(2, 25)
        if need.held and number < 2:
            begin, end = self.collector.begin - 900, self.collector.finish + 900
        clients = self.alive(need.client, max(begin, self.collector.begin), min(end, self.collector.finish))
        servers = self.alive(need.server, max(begin, self.collector.begin), min(end, self.collector.finish))
        if not clients or not servers:
            return
        client = clients[number % len(clients)] if isinstance(need.client, Outside) else self.rng.choice(clients)
        others = [s for s in servers if s.address != client.address]
        if not others:
            return
        server = others[number % len(others)] if isinstance(need.server, Outside) else self.rng.choice(others)
        self._resolve_name(client, max(begin, self.collector.begin + 1))
        facade = None
        if need.via_service and isinstance(need.server, Workload) and number % 2:
            service = self.cluster.service_of(need.server)
            if service is not None and service.address is not None:
                facade = (service.address, service.port_of(need.port))
        wires = self.wires(client, server, need.port, facade)
        if need.port.protocol == "UDP":
            udp_exchange(wires, begin, self.rng)
        else:
            tcp_session(wires, begin, end, self.rng, need.held)

    def _resolve_name(self, client: Party, time: int) -> None:
        """Pods ask the cluster's DNS before they connect; nodes and the internet ask others."""
        if client.interface is None or client.address in {n.address for n in self.cluster.nodes}:
            return
        dns = next(w for w in self.cluster.workloads if DNS_PORT in w.ports)
        servers = [s for s in self.alive(dns, time, time) if s.address != client.address]
        if servers and self.rng.random() < 0.5:
            udp_exchange(self.wires(client, self.rng.choice(servers), DNS_PORT), time, self.rng)

    def scan(self, plan: Blueprint, half_open: bool) -> Iterator[tuple[str, str, int]]:
        """Both scanners' probes of many ports; yields (scanner's address or workload key, target's key, port)."""
        assert plan.scanner is not None
        inside = party(next(p for p in self.cluster.pods_of(plan.scanner) if p.end is None))
        scanners = [(inside, plan.scanner.key), (Party(plan.outside_scanner), plan.outside_scanner)]
        targets = [w for w in plan.workloads if w not in (plan.scanner, *plan.idle) and not w.host_network]
        for scanner, name in scanners:
            for target in self.rng.sample(targets, min(8, len(targets))):
                begin = self.rng.randrange(self.collector.begin + 10, self.collector.finish - 60)
                servers = self.alive(target, begin, begin + 30)
                if not servers:
                    continue
                served = {p.number for p in target.ports if p.protocol == "TCP"}
                outcome = self.rng.choice(("rejected", "silent", "reset"))
                for number in (*SCANNED_PORTS, *(sorted(served) if half_open else ())):
                    if number in served and not half_open:
                        continue
                    wires = self.wires(scanner, servers[0], Port("scan", number))
                    probe(wires, begin + self.rng.randrange(20), "half-open" if number in served else outcome)
                    yield name, target.key, number

    def reject(self, client: Workload, server: Workload, port: Port) -> None:
        """A connection that is tried a few times and always rejected by the server's security group."""
        for _ in range(4):
            begin = self.rng.randrange(self.collector.begin + 10, self.collector.finish - 60)
            clients, servers = self.alive(client, begin, begin + 9), self.alive(server, begin, begin + 9)
            if clients and servers:
                rejected_attempt(self.wires(clients[0], servers[-1], port), begin)

    def ping(self, client: Workload, server: Workload) -> None:
        """ICMP echo, which no NetworkPolicy can speak of."""
        begin = self.rng.randrange(self.collector.begin + 10, self.collector.finish - 60)
        clients, servers = self.alive(client, begin, begin + 9), self.alive(server, begin, begin + 9)
        if clients and servers:
            wire = Wire(clients[0].address, 0, servers[0].address, 0, 1)
            wires = Wires(clients[0], servers[0], wire, wire, self.collector)
            for second in range(5):
                wires.send(begin + second, size=84)
                wires.answer(begin + second, size=84)

    def silences(self) -> None:
        """NODATA rows of idle interfaces, and a SKIPDATA row."""
        for pod in self.cluster.pods[:: max(1, len(self.cluster.pods) // 7)]:
            assert pod.interface is not None
            start = self.collector.begin + self.rng.randrange(1, 900)
            self.collector.silence(pod.interface, start, "NODATA")
        assert self.cluster.pods[0].interface is not None
        self.collector.silence(self.cluster.pods[0].interface, self.collector.begin + 600, "SKIPDATA")


def party(pod: Pod) -> Party:
    """A pod as an end of a session."""
    assert pod.node is not None
    return Party(pod.address, pod.interface, pod.node.name)
