"""Draws a random but realistic cluster: what runs, which Services stand before it, and who needs whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from .cluster import Port, Service, Workload

DNS_PORT = Port("dns", 53, "UDP")
NAMESPACES = ("shop", "billing", "search", "media", "accounts", "reports")
LABEL_STYLES = ("app", "recommended", "component")


@dataclass(frozen=True)
class Outside:
    """Ends that no inventory names: a few exact addresses, or a crowd of visitors."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Need:
    """A client really needs a server's port. `held`: connections live for long, opened before the logs begin."""

    client: Workload | Outside
    server: Workload | Outside
    port: Port
    held: bool = False
    via_service: bool = False  # the client's interface logs the Service's address, the server's the pod's
    sessions: int = 6


@dataclass
class Blueprint:
    """What to simulate, before anything has a place or a time."""

    namespaces: dict[str, dict[str, str]]
    workloads: list[Workload] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    idle: list[Workload] = field(default_factory=list)  # run, but nobody talks to them and they talk to nobody
    dns: Workload | None = None
    scanner: Workload | None = None
    outside_scanner: str = ""
    internet_facing: list[tuple[Workload, Port]] = field(default_factory=list)


def public_addresses(rng: Random) -> Iterator[str]:
    """Globally routable addresses, each once. Documentation ranges would count as private."""
    seen = set()
    while True:
        address = f"{rng.choice((5, 23, 31, 62, 81, 109, 151, 185))}." + ".".join(
            str(rng.randrange(1, 250)) for _ in "abc"
        )
        if address not in seen:
            seen.add(address)
            yield address


def _labels(style: str, namespace: str, name: str, rng: Random) -> tuple[tuple[str, str], ...]:
    labels = {
        "app": {"app": name},
        "recommended": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": namespace},
        "component": {"app": namespace, "component": name},  # one label alone never tells them apart
    }[style]
    labels |= {"version": rng.choice(("v1", "1.10", "2024"))} if rng.random() < 0.4 else {}
    labels |= {"region": rng.choice(("no", "on", "y", "eu"))} if rng.random() < 0.4 else {}  # YAML 1.1 reads booleans
    return tuple(sorted(labels.items()))


class _Drawing:
    """One namespace after the other, sharing the counters of addresses."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.plan = Blueprint(namespaces={})
        self.public = public_addresses(rng)
        self.cluster_addresses = (f"172.20.{n // 200}.{n % 200 + 10}" for n in range(2000))

    def add(self, workload: Workload, service: bool = True, headless: bool = False, named: bool = True) -> Workload:
        """Registers a workload, with a Service whose port differs from the target port where one is wanted."""
        self.plan.workloads.append(workload)
        if workload.ports and service:
            ports = tuple(
                (
                    p.name,
                    p.protocol,
                    p.number if headless or p.number == 53 else 80 + i,
                    p.name if named else p.number,
                )
                for i, p in enumerate(p for p in workload.ports if p.declared)
            )
            address = None if headless else next(self.cluster_addresses)
            self.plan.services.append(Service(workload.namespace, workload.name, workload, address, ports))
        return workload

    def need(self, client: Workload | Outside, server: Workload | Outside, port: str | Port, **how: object) -> None:
        """Registers a need; `port` names one of the server's ports."""
        chosen = port if isinstance(port, Port) else server.port(port) if isinstance(server, Workload) else None
        assert chosen is not None
        self.plan.needs.append(replace(Need(client, server, chosen), **how))  # type: ignore[arg-type]

    def outside(self, name: str, count: int) -> Outside:
        """Ends on the internet."""
        return Outside(name, tuple(next(self.public) for _ in range(count)))


def draw(rng: Random, namespaces: int) -> Blueprint:
    """A cluster with that many application namespaces besides kube-system, monitoring and edge."""
    drawing = _Drawing(rng)
    plan = drawing.plan
    plan.namespaces = {"kube-system": {}, "monitoring": {}, "edge": {"tier": "edge"}}
    plan.dns = drawing.add(
        Workload("Deployment", "kube-system", "coredns", (("k8s-app", "kube-dns"),),
                 (DNS_PORT, Port("dns-tcp", 53, "TCP"), Port("metrics", 9153)))
    )  # fmt: skip
    exporter = drawing.add(
        Workload("DaemonSet", "monitoring", "node-exporter", (("app", "node-exporter"),), (Port("metrics", 9100),),
                 host_network=True),
        service=False,
    )  # fmt: skip
    prometheus = drawing.add(
        Workload("StatefulSet", "monitoring", "prometheus", (("app", "prometheus"),), (Port("web", 9090),), 1)
    )
    logging = drawing.add(Workload("DaemonSet", "monitoring", "log-agent", (("name", "log-agent"),)))
    drawing.need(prometheus, exporter, "metrics", sessions=8)
    drawing.need(prometheus, plan.dns, "metrics", sessions=4)
    drawing.need(logging, drawing.outside("log-api", 1), Port("https", 443), held=True)
    # the control plane lives at a private address that no inventory names
    drawing.need(prometheus, Outside("apiserver", ("10.60.255.10",)), Port("https", 443), sessions=4)
    gateway = drawing.add(
        Workload("Deployment", "edge", "gateway", (("app.kubernetes.io/name", "gateway"),), (Port("https", 8443),), 3)
    )
    hosted = drawing.add(
        Workload("DaemonSet", "edge", "host-proxy", (("app", "host-proxy"),), host_network=True), service=False
    )
    drawing.need(drawing.outside("visitors", 40), gateway, "https", sessions=80)
    plan.internet_facing.append((gateway, gateway.port("https")))
    previous: Workload | None = None
    for number, name in enumerate(NAMESPACES[:namespaces]):
        api = _application(drawing, name, LABEL_STYLES[number % len(LABEL_STYLES)], gateway, hosted, prometheus)
        if previous is not None:
            drawing.need(api, previous, "grpc", via_service=rng.random() < 0.5)
        previous = api
    plan.scanner = drawing.add(Workload("Deployment", "edge", "toolbox", (("app", "toolbox"),), (), 1))
    plan.outside_scanner = next(drawing.public)
    for name in ("dormant", "spare"):
        plan.idle.append(drawing.add(Workload("Deployment", "edge", name, (("app", name),), (Port("http", 8088),), 1)))
    return plan


def _application(
    drawing: _Drawing, namespace: str, style: str, gateway: Workload, hosted: Workload, prometheus: Workload
) -> Workload:
    """One namespace's workloads and needs; returns its gRPC server, for other namespaces to call."""
    rng, plan = drawing.rng, drawing.plan
    plan.namespaces[namespace] = {"team": rng.choice(("blue", "no", "2024"))}

    def workload(kind: str, name: str, *ports: Port, replicas: int = 2) -> Workload:
        return Workload(kind, namespace, name, _labels(style, namespace, name, rng), ports, replicas)

    web = drawing.add(workload("Deployment", "web", Port("http", 8080), Port("metrics", 9091), replicas=3))
    api = drawing.add(workload("Deployment", "api", Port("grpc", 50051), Port("hook", 30080, declared=False)))
    worker = drawing.add(workload("Deployment", "worker", Port("callback", rng.randrange(47000, 47999))))
    cache = drawing.add(workload("StatefulSet", "cache", Port("redis", 6379), replicas=2), headless=True)
    store = drawing.add(
        workload("StatefulSet", "db", Port("postgres", 5432), Port("gossip", 7946, "UDP")), named=rng.random() < 0.5
    )
    queue = drawing.add(workload("StatefulSet", "queue", Port("openwire", 61616), Port("kafka", 9092), replicas=1))
    # the canary carries every label of `web`, and one more
    canary = Workload(
        "Deployment", namespace, "web-canary", (*web.labels, ("track", "canary")), (Port("http", 8080),), 1
    )
    drawing.add(canary, service=False)
    report = drawing.add(workload("CronJob", "report"))
    backup = drawing.add(workload("CronJob", "backup"))
    migrate = drawing.add(workload("Job", "migrate"))

    via = rng.random() < 0.6
    drawing.need(gateway, web, "http", sessions=10)
    drawing.need(hosted, web, "http", sessions=4)
    drawing.need(web, api, "grpc", via_service=via, sessions=12)
    drawing.need(canary, api, "grpc")
    drawing.need(worker, api, "hook", sessions=40)  # undeclared: only its many clients' ports give it away
    drawing.need(api, worker, "callback", sessions=8)  # and the other way round, on a port like a client's
    drawing.need(api, cache, "redis")
    drawing.need(api, store, "postgres", held=True, via_service=via)
    drawing.need(store, store, "gossip")
    drawing.need(worker, queue, "openwire", held=True, sessions=8)
    drawing.need(api, queue, "kafka")
    drawing.need(report, store, "postgres")
    drawing.need(report, drawing.outside("mail", 1), Port("smtp", 587))
    drawing.need(backup, cache, "redis")
    drawing.need(backup, drawing.outside("bucket", 3), Port("https", 443), sessions=9)
    drawing.need(migrate, store, "postgres", sessions=3)
    drawing.need(prometheus, web, "metrics", sessions=6)
    if rng.random() < 0.7:
        drawing.need(drawing.outside("partner", 3), web, "http", sessions=9)
    if rng.random() < 0.7:
        drawing.need(worker, drawing.outside("payment", 2), Port("https", 443))
    return api
