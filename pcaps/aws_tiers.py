"""The shop as EC2 instances: two VPCs which both use 10.0.0.0/24, with the same addresses for other machines."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import Any

from packets import Conversation, Host, Packet, log
from simulation import flow_logs

BEGIN = 1_767_232_200
FINISH = BEGIN + 1200
SECOND = 1_000_000  # µs
PRODUCTION, STAGING = "vpc-0f00d5a1e5b00c4a1", "vpc-0ca7a1096e5a1e5b2"
ACCOUNT = "123456789010"
PAYMENT_API = "151.101.3.19"
VISITORS = tuple(f"62.{n + 11}.{240 - n}.{7 * n + 5}" for n in range(20))
OFFICE = ("81.2.69.142", "81.2.69.143")


@dataclass(frozen=True)
class Machine:
    """One EC2 instance with one interface."""

    vpc: str
    environment: str
    role: str
    name: str
    address: str

    @property
    def digest(self) -> str:
        """What its ids are made of."""
        return hashlib.sha256(f"{self.vpc}/{self.name}".encode()).hexdigest()

    @property
    def interface(self) -> flow_logs.Interface:
        """Its network interface."""
        digest, subnet = self.digest, hashlib.sha256(self.vpc.encode()).hexdigest()
        return flow_logs.Interface(
            f"eni-0{digest[:16]}", self.address, self.vpc, f"subnet-0{subnet[:16]}", f"i-0{digest[16:32]}", ACCOUNT
        )

    @property
    def host(self) -> Host:
        """Its end on the wire."""
        return Host(self.address, self.interface)

    @property
    def tags(self) -> list[dict[str, str]]:
        """Its tags; only `Name` differs between machines of one role."""
        return [
            {"Key": "Name", "Value": self.name},
            {"Key": "environment", "Value": self.environment},
            {"Key": "role", "Value": self.role},
        ]


MACHINES = (
    Machine(PRODUCTION, "production", "web", "web-1", "10.0.0.10"),
    Machine(PRODUCTION, "production", "web", "web-2", "10.0.0.11"),
    Machine(PRODUCTION, "production", "app", "app-1", "10.0.0.20"),
    Machine(PRODUCTION, "production", "app", "app-2", "10.0.0.21"),
    Machine(PRODUCTION, "production", "db", "db-1", "10.0.0.30"),
    # the same addresses, other roles: only the VPC tells them apart
    Machine(STAGING, "staging", "db", "db-1", "10.0.0.10"),
    Machine(STAGING, "staging", "app", "app-1", "10.0.0.30"),
    Machine(STAGING, "staging", "web", "web-1", "10.0.0.20"),
)

NEEDS = (
    (PRODUCTION, "web", "app", 8080),
    (PRODUCTION, "app", "db", 5432),
    (STAGING, "web", "app", 8080),
    (STAGING, "app", "db", 5432),
    (STAGING, "web", "db", 5432),  # in staging only: production's web tier must not reach its database
)


def _members(vpc: str, role: str) -> list[Machine]:
    return [m for m in MACHINES if (m.vpc, m.role) == (vpc, role)]


def _packets() -> list[Packet]:
    rng = Random("tiers")
    packets: list[Packet] = []

    def talk(client: Host, server: Host, port: int) -> None:
        time = rng.randrange(BEGIN + 5, FINISH - 30) * SECOND
        one = Conversation(client, rng.randrange(32768, 61000), server, port, time).handshake()
        packets.extend(one.exchange(b"Q" * 200, b"A" * 900, SECOND).exchange(b"Q" * 90, b"A" * 90).close().packets)

    for vpc, client, server, port in NEEDS:
        for speaker in _members(vpc, client):
            for listener in _members(vpc, server):
                for _ in range(3):
                    talk(speaker.host, listener.host, port)
    for number, visitor in enumerate(VISITORS):
        talk(Host(visitor), _members(PRODUCTION, "web")[number % 2].host, 443)
    for address in OFFICE:
        for _ in range(2):
            talk(Host(address), _members(STAGING, "web")[0].host, 443)
    for speaker in _members(PRODUCTION, "app"):
        talk(speaker.host, Host(PAYMENT_API), 443)
    for port in (22, 3389, 5432, 5900):
        target = _members(PRODUCTION, "db")[0].host
        one = Conversation(Host("185.220.7.13"), 60000, target, port, (BEGIN + port % 900) * SECOND)
        packets.extend(one.rejected(1).packets)
    web, database = _members(PRODUCTION, "web")[0].host, _members(PRODUCTION, "db")[0].host
    packets.extend(Conversation(web, 60999, database, 5432, (BEGIN + 400) * SECOND).rejected().packets)
    return packets


def _interface(machine: Machine) -> dict[str, Any]:
    interface = machine.interface
    return {
        "NetworkInterfaceId": interface.id,
        "InterfaceType": "interface",
        "RequesterManaged": False,
        "Description": "",
        "Status": "in-use",
        "OwnerId": ACCOUNT,
        "VpcId": machine.vpc,
        "SubnetId": interface.subnet,
        "AvailabilityZone": "eu-west-1a",
        "PrivateIpAddress": machine.address,
        "PrivateIpAddresses": [{"PrivateIpAddress": machine.address, "Primary": True}],
        "Ipv6Addresses": [],
        "Groups": [{"GroupId": f"sg-0{machine.vpc[-16:]}", "GroupName": "default"}],
        "Attachment": {"InstanceId": interface.instance, "InstanceOwnerId": ACCOUNT, "DeviceIndex": 0},
        "TagSet": machine.tags,
    }


def _instance(machine: Machine) -> dict[str, Any]:
    interface = machine.interface
    return {
        "InstanceId": interface.instance,
        "State": {"Code": 16, "Name": "running"},
        "VpcId": machine.vpc,
        "SubnetId": interface.subnet,
        "PrivateIpAddress": machine.address,
        "LaunchTime": "2025-12-01T08:00:00+00:00",
        "SecurityGroups": [{"GroupId": f"sg-0{machine.vpc[-16:]}", "GroupName": "default"}],
        "NetworkInterfaces": [
            {"NetworkInterfaceId": interface.id, "VpcId": machine.vpc, "PrivateIpAddress": machine.address}
        ],
        "Tags": machine.tags,
    }


def _expected() -> dict[str, Any]:
    edges = [
        {"vpc": vpc, "client": {"role": client}, "server": {"role": server}, "protocol": "TCP", "port": port}
        for vpc, client, server, port in NEEDS
    ]
    edges += [
        {"vpc": STAGING, "client": {"address": a}, "server": {"role": "web"}, "protocol": "TCP", "port": 443}
        for a in OFFICE
    ]
    edges.append(
        {
            "vpc": PRODUCTION,
            "client": {"role": "app"},
            "server": {"address": PAYMENT_API},
            "protocol": "TCP",
            "port": 443,
        }
    )
    wrong = [
        {"vpc": PRODUCTION, "client": {"role": "web"}, "server": {"role": "db"}, "port": 5432, "why": "rejected"},
        {
            "vpc": PRODUCTION,
            "client": {"role": "db"},
            "server": {"role": "app"},
            "port": 8080,
            "why": "staging's addresses",
        },
        {
            "vpc": PRODUCTION,
            "client": {"address": "185.220.7.13"},
            "server": {"role": "db"},
            "port": 22,
            "why": "a scan",
        },
    ]
    return {
        "edges": edges,
        "internet_facing": [
            {"vpc": PRODUCTION, "server": {"role": "web"}, "protocol": "TCP", "port": 443, "sources": len(VISITORS)}
        ],
        "must_not_be_allowed": [{**entry, "protocol": "TCP"} for entry in wrong],
    }


def files() -> dict[str, bytes]:
    """All files of the two VPCs: name -> content."""
    collector = flow_logs.Collector(BEGIN, FINISH, 60, 12)
    log(_packets(), collector)
    text = flow_logs.text(collector.records(), flow_logs.CUSTOM_FIELDS)
    instances = [
        {"ReservationId": f"r-0{m.digest[32:48]}", "OwnerId": ACCOUNT, "Instances": [_instance(m)]} for m in MACHINES
    ]
    contents = {
        "aws/describe-network-interfaces.json": {"NetworkInterfaces": [_interface(m) for m in MACHINES]},
        "aws/describe-instances.json": {"Reservations": instances},
        "aws/expected-aws.json": _expected(),
    }
    found = {name: (json.dumps(value, indent=1) + "\n").encode() for name, value in contents.items()}
    return {**found, "aws/vpc-v5.log.gz": flow_logs.gzip_bytes(text)}
