"""Small clouds for the tests: instances with interfaces, and edges between them."""

from __future__ import annotations

from pathlib import Path

from analyzers.flows import Direction, address_halves
from analyzers.inventory import Endpoint, Identity, Interface, Inventory
from analyzers.servicemap import Edge, End, External
from policygen.model import PolicySet
from policygen.targets.platforms import aws_sg
from policygen.terraform import read_groups
from policygen.verify.evaluate import Flow, FlowEnd

VPC = "vpc-0a1"


def workload(name: str, vpc: str = VPC, **tags: str) -> Identity:
    """An instance workload, tagged app=name unless told otherwise."""
    return Identity("Instance", "", name, vpc, tuple(sorted((tags or {"app": name}).items())))


def instance(
    identity: Identity, name: str, *addresses: str, until: int | None = None, groups: tuple[str, ...] = ()
) -> tuple[Endpoint, Interface]:
    """An instance with one interface that holds the addresses; the interface shows no public ones."""
    halves = tuple(address_halves(address) for address in addresses)
    endpoint = Endpoint(
        name=f"i-{name}",
        namespace="",
        workload=identity,
        labels=identity.labels,
        addresses=halves,
        network=identity.network,
        until=until,
        security_groups=groups,
    )
    interface = Interface(f"eni-{name}", identity.network, halves, instance=f"i-{name}", security_groups=groups)
    return endpoint, interface


def inventory(*instances: tuple[Endpoint, Interface]) -> Inventory:
    """The inventory of these instances."""
    endpoints = tuple(sorted((endpoint for endpoint, _ in instances), key=lambda e: (e.network, e.name)))
    interfaces = tuple(sorted((i for e, i in instances if e.until is None), key=lambda i: (i.network, i.id)))
    return Inventory(endpoints, tuple(sorted({e.workload for e in endpoints})), interfaces=interfaces)


def edge(
    client: End,
    server: End,
    port: int,
    protocol: int = 6,
    clients: tuple[str, ...] = (),
    servers: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
) -> Edge:
    """An accepted edge with evidence; `clients` and `servers` are the addresses met."""
    return Edge(
        client=client,
        server=server,
        protocol=protocol,
        port=port,
        accepted=True,
        rejected=False,
        records=1204,
        packets=2000,
        bytes=100_000,
        reply_packets=1800,
        reply_bytes=900_000,
        first=1_767_225_600,
        last=1_767_312_000,
        evidence=3,
        directions=(Direction.HANDSHAKE,),
        networks=networks,
        client_addresses=clients or ((client.address,) if isinstance(client, External) else ()),
        server_addresses=servers or ((server.address,) if isinstance(server, External) else ()),
    )


def written_and_read(policies: PolicySet, directory: Path) -> PolicySet:
    """The set after its way through files."""
    for path, text in aws_sg.render(policies).items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="")
    return read_groups([directory])


def end_at(inventory: Inventory, vpc: str, address: str) -> FlowEnd:
    """The end that this address is in the VPC; outside when no living instance holds it."""
    halves = address_halves(address)
    holders = [e for e in inventory.endpoints if e.network == vpc and halves in e.addresses and e.until is None]
    return FlowEnd(holders[0] if holders else None, halves)


def flow(inventory: Inventory, source: str, destination: str, port: int, protocol: int = 6, vpc: str = VPC) -> Flow:
    """A flow inside of one VPC, or with the outside."""
    return Flow(end_at(inventory, vpc, source), end_at(inventory, vpc, destination), protocol, port)
