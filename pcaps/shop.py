"""One microservice shop: what runs, who talks to whom on a winter night from 01:50 to 02:10, and the right answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from packets import Conversation, Host, Packet, capture, log, lookup
from simulation import flow_logs
from simulation.cluster import Cluster, Node, Pod, Port, Service, Workload, job_labels, kubectl_list
from simulation.placement import interface_of

BEGIN = 1_767_232_200
"""2026-01-01T01:50:00Z."""
FINISH = BEGIN + 1200
SECOND = 1_000_000  # µs
PAYMENT_API = "151.101.3.19"
SCANNER = "185.220.7.13"
VISITORS = tuple(f"{a}.{b}.{c}.{d}" for a, b, c, d in ((31 + n % 7, 14 + n, 200 - n, 3 + 5 * n) for n in range(24)))

FRONTEND = Workload(
    "Deployment", "shop", "frontend", (("app", "frontend"),), (Port("http", 8080), Port("metrics", 9102))
)
CART = Workload("Deployment", "shop", "cart", (("app", "cart"),), (Port("grpc", 50051), Port("metrics", 9102)))
CATALOG = Workload("Deployment", "shop", "catalog", (("app", "catalog"),), (Port("grpc", 3550),))
CHECKOUT = Workload(
    "Deployment", "shop", "checkout", (("app", "checkout"), ("country", "no")), (Port("http", 8082),), 1
)
PAYMENT = Workload(
    "Deployment", "shop", "payment", (("app", "payment"), ("version", "1.10")), (Port("grpc", 50052),), 1
)
WISHLIST = Workload("Deployment", "shop", "wishlist", (("app", "wishlist"),), (Port("http", 8083),), 1)
REDIS = Workload("StatefulSet", "shop", "redis", (("app.kubernetes.io/name", "redis"),), (Port("redis", 6379),), 1)
POSTGRES = Workload(
    "StatefulSet", "shop", "postgres", (("app.kubernetes.io/name", "postgres"),), (Port("postgres", 5432),), 1
)
REPORT = Workload("CronJob", "shop", "report", (("app", "report"),), schedule="0 2 * * *")
PROMETHEUS = Workload("StatefulSet", "monitoring", "prometheus", (("app", "prometheus"),), (Port("web", 9090),), 1)
DNS = Workload(
    "Deployment",
    "kube-system",
    "coredns",
    (("k8s-app", "kube-dns"),),
    (Port("dns", 53, "UDP"), Port("dns-tcp", 53)),
)
WORKLOADS = (FRONTEND, CART, CATALOG, CHECKOUT, PAYMENT, WISHLIST, REDIS, POSTGRES, REPORT, PROMETHEUS, DNS)

NEEDS: tuple[tuple[Workload, Workload, str, int], ...] = (
    (FRONTEND, CART, "grpc", 6),
    (FRONTEND, CATALOG, "grpc", 8),
    (FRONTEND, CHECKOUT, "http", 5),
    (CHECKOUT, CART, "grpc", 4),
    (CHECKOUT, PAYMENT, "grpc", 4),
    (CART, REDIS, "redis", 6),
    (CATALOG, POSTGRES, "postgres", 6),
    (CHECKOUT, POSTGRES, "postgres", 4),
    (REPORT, POSTGRES, "postgres", 3),
    (PROMETHEUS, FRONTEND, "metrics", 6),
    (PROMETHEUS, CART, "metrics", 6),
)
"""client, server, the server's port by name, sessions."""


def cluster() -> Cluster:
    """The shop's cluster. The report's pod ended at 02:01:30; a new catalog pod got its address at 02:05."""
    nodes = [
        Node(f"node-{n}", f"10.42.0.{10 + n}", interface_of(f"node-{n}", f"10.42.0.{10 + n}"), f"10.42.{n}.0/24")
        for n in (1, 2)
    ]
    shop = Cluster({"kube-system": {}, "monitoring": {}, "shop": {"team": "storefront"}}, nodes, list(WORKLOADS))
    counters = {1: 4, 2: 4}

    def start(workload: Workload, name: str, controller: str, at: int, extra: dict[str, str], **given: Any) -> Pod:
        number = 1 + len(shop.pods) % 2
        node = nodes[number - 1]
        pod = Pod(
            workload, name, (controller, given.pop("owner", workload.name)), {**dict(workload.labels), **extra}, at
        )
        pod.end = given.pop("end", None)
        pod.node = node
        if "address" in given:
            pod.address = given["address"]
        else:
            counters[number] += 1
            pod.address = f"10.42.{number}.{counters[number]}"
        pod.interface = interface_of(f"{workload.key}/{name}", pod.address)
        shop.pods.append(pod)
        return pod

    for index, workload in enumerate(w for w in WORKLOADS if w is not REPORT):
        for replica in range(workload.replicas):
            since = BEGIN - 86_400 + index
            if workload.kind == "StatefulSet":
                name = f"{workload.name}-{replica}"
                start(workload, name, "StatefulSet", since, {"statefulset.kubernetes.io/pod-name": name})
            else:
                revision = f"{0x5D4F8B + index * 77:x}c7d{index}"
                name, owner = f"{workload.name}-{revision}-x{replica}k2p", f"{workload.name}-{revision}"
                start(workload, name, "ReplicaSet", since, {"pod-template-hash": revision}, owner=owner)
    job = f"report-{(BEGIN + 600) // 60}"
    run = start(REPORT, f"{job}-7bqzt", "Job", BEGIN + 600, job_labels("shop", job), owner=job, end=BEGIN + 690)
    revision = shop.pods_of(CATALOG)[0].labels["pod-template-hash"]
    late = start(
        CATALOG, f"catalog-{revision}-x9k2p", "ReplicaSet", BEGIN + 900, {"pod-template-hash": revision},
        owner=f"catalog-{revision}", address=run.address,
    )  # fmt: skip
    late.node = run.node
    for number, workload in enumerate(w for w in WORKLOADS if w.ports and w is not WISHLIST):
        ports = tuple(
            (p.name, p.protocol, 53 if p.number == 53 else 80 + i, p.name) for i, p in enumerate(workload.ports)
        )
        shop.services.append(Service(workload.namespace, workload.name, workload, f"172.20.0.{10 + number}", ports))
    return shop


@dataclass
class Night:
    """The packets of the night, with client ports that are never in use twice at a time."""

    shop: Cluster
    rng: Random = field(default_factory=lambda: Random("shop"))
    packets: list[Packet] = field(default_factory=list)

    def hosts(self, workload: Workload, time: int) -> list[Host]:
        """The pods of a workload that live from `time` (s) for a minute."""
        return [
            Host(p.address, p.interface)
            for p in self.shop.pods_of(workload)
            if p.start + 5 <= time and (p.end is None or time + 20 <= p.end)
        ]

    def port(self) -> int:
        """A client's port, as Linux chooses them."""
        return self.rng.randrange(32768, 61000)

    def moment(self, first: int = BEGIN + 20, last: int = FINISH - 40) -> int:
        """Some second in between."""
        return self.rng.randrange(first, last)

    def talk(self, client: Host, server: Host, port: int, time: int, rounds: int = 1) -> Conversation:
        """A whole connection: handshake, requests and responses, close."""
        one = Conversation(client, self.port(), server, port, time * SECOND + self.rng.randrange(SECOND)).handshake()
        for _ in range(rounds):
            one.exchange(b"Q" * self.rng.randrange(60, 300), b"A" * self.rng.randrange(80, 1600), 200_000)
        one.close()
        self.packets += one.packets
        return one

    def resolve(self, client: Host, server: Workload, time: int) -> None:
        """The client asks the cluster's DNS for a Service's name."""
        service = self.shop.service_of(server)
        assert service is not None and service.address is not None
        dns = self.rng.choice(self.hosts(DNS, time))
        name = f"{service.name}.{service.namespace}.svc.cluster.local"
        self.packets += lookup(client, self.port(), dns, name, service.address, time * SECOND)

    def services(self) -> None:
        """Everybody's work, from inside and from the internet."""
        for client, server, port, sessions in NEEDS:
            for number in range(sessions):
                time = self.moment(BEGIN + 606, BEGIN + 660) if client is REPORT else self.moment()
                speaker = self.rng.choice(self.hosts(client, time))
                self.resolve(speaker, server, time)
                listeners = self.hosts(server, time)
                one = self.talk(speaker, listeners[number % len(listeners)], server.port(port).number, time + 1, 2)
                if number == 3:
                    before = len(one.packets)
                    self.packets += one.straggler(4 * SECOND).packets[before:]
        for visitor in VISITORS:
            for _ in range(2):
                time = self.moment()
                one = Conversation(
                    Host(visitor), self.rng.randrange(1024, 65536), self.rng.choice(self.hosts(FRONTEND, time)), 8080,
                    time * SECOND,
                )  # fmt: skip
                one.handshake().exchange(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n", b"H" * 900).close()
                self.packets += one.packets
        for _ in range(5):
            time = self.moment()
            self.talk(self.rng.choice(self.hosts(PAYMENT, time)), Host(PAYMENT_API), 443, time, 2)

    def held_connection(self) -> None:
        """Opened long before and still open afterwards: no SYN, no FIN."""
        catalog, postgres = self.hosts(CATALOG, BEGIN)[0], self.hosts(POSTGRES, BEGIN)[0]
        one = Conversation(catalog, 41234, postgres, 5432, BEGIN * SECOND)
        while one.time < FINISH * SECOND:
            one.exchange(b"S" * 80, b"R" * 200, 25 * SECOND)
        self.packets += one.packets

    def attacks(self) -> None:
        """A scan from the internet, and an insider's attempts: nothing of it may become a rule."""
        scanner = Host(SCANNER)
        for target in (FRONTEND, REDIS):
            for number, port in enumerate((21, 22, 23, 445, 3306, 3389, 5900, 9200, 27017)):
                one = Conversation(scanner, 60000 + number, self.hosts(target, BEGIN)[0], port, self.moment() * SECOND)
                self.packets += (one.refused() if number % 2 else one.rejected(1)).packets
        redis, postgres = self.hosts(REDIS, BEGIN)[0], self.hosts(POSTGRES, BEGIN)[0]
        self.packets += Conversation(scanner, 60100, redis, 6379, self.moment() * SECOND).rejected().packets
        frontend = self.hosts(FRONTEND, BEGIN)[0]
        self.packets += Conversation(frontend, 60999, postgres, 5432, self.moment() * SECOND).rejected().packets


def files() -> dict[str, bytes]:
    """All files of the shop: name -> content."""
    night = Night(cluster())
    night.services()
    night.held_connection()
    night.attacks()
    collector = flow_logs.Collector(BEGIN, FINISH, 60, 12)
    inside = [p for p in night.packets if BEGIN * SECOND <= p.time < FINISH * SECOND]
    log(inside, collector)
    wishlist = night.shop.pods_of(WISHLIST)[0].interface
    assert wishlist is not None
    for start in range(BEGIN, FINISH, 300):
        collector.silence(wishlist, start, "NODATA")
    collector.silence(night.shop.nodes[0].interface, BEGIN + 300, "SKIPDATA")
    records = collector.records()
    return {
        "shop.pcap": capture(inside),
        "shop-v2.log.gz": flow_logs.gzip_bytes(flow_logs.text(records, flow_logs.DEFAULT_FIELDS)),
        "shop-v5.log.gz": flow_logs.gzip_bytes(flow_logs.text(records, flow_logs.CUSTOM_FIELDS)),
        "inventory.json": _json(kubectl_list(night.shop)),
        "expected.json": _json(expected(inside)),
    }


def expected(packets: Iterable[Packet]) -> dict[str, Any]:
    """The right answer: who needs whom, what faces the internet, and what must not be allowed."""
    edges = [(c.key, s.key, s.port(port).protocol, s.port(port).number) for c, s, port, _ in NEEDS]
    edges += [(visitor, FRONTEND.key, "TCP", 8080) for visitor in VISITORS]
    edges += [(PAYMENT.key, PAYMENT_API, "TCP", 443)]
    edges += [(client.key, DNS.key, "UDP", 53) for client in dict.fromkeys(client for client, *_ in NEEDS)]
    scanned = {
        (p.source.address, p.destination.address, p.destination_port) for p in packets if p.source.address == SCANNER
    }
    wrong = [
        (SCANNER, REDIS.key, "TCP", 6379, "rejected, from the internet"),
        (SCANNER, FRONTEND.key, "TCP", 22, "a scan"),
        (FRONTEND.key, POSTGRES.key, "TCP", 5432, "rejected by the security group"),
        (REPORT.key, REDIS.key, "TCP", 6379, "never happened"),
        (CATALOG.key, REDIS.key, "TCP", 6379, "never happened; its new pod has the address of an old report pod"),
        (POSTGRES.key, CATALOG.key, "TCP", 41234, "reply traffic of a long connection"),
    ]
    names = ("client", "server", "protocol", "port")
    return {
        "edges": [dict(zip(names, edge, strict=True)) for edge in sorted(edges)],
        "internet_facing": [{"server": FRONTEND.key, "protocol": "TCP", "port": 8080, "sources": len(VISITORS)}],
        "must_not_be_allowed": [dict(zip((*names, "why"), entry, strict=True)) for entry in wrong],
        "scanned_ports": sorted({port for _, _, port in scanned}),
        "unseen": [WISHLIST.key],
        "window": {"first": BEGIN, "last": FINISH},
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
