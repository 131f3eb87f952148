"""The facts an inventory holds: frozen values, no files, no cluster handle."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A workload: what keeps its name when its pods or instances come and go. It has no addresses.

    `labels` are those that its future members will carry: the pod template's labels, or the tags of the instances.
    """

    kind: str  # Deployment, StatefulSet, DaemonSet, CronJob, Job, Pod, Node, Instance, Interface, Host
    namespace: str  # "" for what has none
    name: str
    network: str = ""  # the VPC or cluster it lives in; "" where the inventory does not say
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, order=True)
class NamedPort:
    """A port that an endpoint declares (containerPorts, or `ports` of a CSV inventory)."""

    name: str  # "" when it has none
    protocol: str  # TCP, UDP, SCTP
    number: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod, node, instance or host, with the addresses it held and when."""

    name: str
    namespace: str
    workload: Identity
    labels: tuple[tuple[str, str], ...]  # its own, volatile ones included
    addresses: tuple[tuple[int, int], ...]  # (hi, lo) halves, see analyzers.flows.address_halves; may be empty
    network: str = ""
    since: int | None = None  # s UTC; None: before anything known
    until: int | None = None  # s UTC, exclusive; None: still there
    host_network: bool = False  # shares its node's addresses
    node: str = ""
    ports: tuple[NamedPort, ...] = ()
    security_groups: tuple[str, ...] = ()
    origin: str = ""  # file and object path, for messages
    prefixes: tuple[str, ...] = ()  # CIDRs it holds besides `addresses`: delegated prefixes, ranges of a table

    @property
    def policy_subject(self) -> bool:
        """Whether a NetworkPolicy can select it: a pod with an address of its own."""
        return bool(self.namespace) and not self.host_network


@dataclass(frozen=True, slots=True, order=True)
class ServicePort:
    """One port of a Service. `target` is a number or the name of a container port."""

    name: str
    protocol: str
    port: int
    target: int | str
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service. `selector` None: it has none (endpoints are managed by hand), which selects nothing."""

    namespace: str
    name: str
    selector: tuple[tuple[str, str], ...] | None
    cluster_addresses: tuple[tuple[int, int], ...] = ()  # clusterIPs; none for headless ones
    external_addresses: tuple[tuple[int, int], ...] = ()  # load balancer and external IPs
    ports: tuple[ServicePort, ...] = ()
    kind: str = "ClusterIP"
    network: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """A cloud network interface: what an interface-id of a flow log stands for."""

    id: str
    network: str  # VPC id
    addresses: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[str, ...] = ()  # delegated CIDRs
    kind: str = "interface"  # InterfaceType
    description: str = ""
    requester_managed: bool = False
    instance: str = ""
    security_groups: tuple[str, ...] = ()
    subnet: str = ""


@dataclass(frozen=True, slots=True, order=True)
class SecurityGroup:
    """A security group that exists already, by id; its rules are not kept."""

    id: str
    network: str  # VPC id
    name: str = ""
    description: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class FlowLog:
    """One flow log as its owner describes it (describe-flow-logs): what it covers, and in which format."""

    id: str
    resource: str  # id of the VPC, subnet, interface, transit gateway or attachment
    log_format: str = ""  # LogFormat, "${version} ${srcaddr} ..."; "": not told
    log_group: str = ""  # of CloudWatch Logs
    traffic: str = "ALL"  # TrafficType: ACCEPT, REJECT or ALL
    interval: int = 600  # MaxAggregationInterval, s
    delivery: str = ""  # DeliverLogsStatus
    error: str = ""  # DeliverLogsErrorMessage


@dataclass(frozen=True, slots=True, order=True)
class InventoryNote:
    """Something passed over or unclear in an inventory file, with file and object path."""

    where: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Inventory:
    """Everything the inventory files say, sorted; the same files in any order give an equal value."""

    endpoints: tuple[Endpoint, ...] = ()
    workloads: tuple[Identity, ...] = ()  # all of them, also those without a living endpoint
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)  # name -> labels
    services: tuple[Service, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    pod_cidrs: tuple[tuple[str, str], ...] = ()  # (network, CIDR) of spec.podCIDRs
    notes: tuple[InventoryNote, ...] = ()
    files: int = 0
    security_groups: tuple[SecurityGroup, ...] = ()
    host_network_workloads: tuple[Identity, ...] = ()  # all their pods share their nodes' addresses
    templates: tuple[Endpoint, ...] = ()  # one pod a workload as its template makes it: named like it, no address
    flow_logs: tuple[FlowLog, ...] = ()
