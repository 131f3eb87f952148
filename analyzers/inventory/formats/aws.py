"""AWS: the JSON of describe-network-interfaces, describe-instances and describe-security-groups."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from analyzers.inventory.facts import Facts, SourceDocument
from analyzers.inventory.fields import Address, Fields, Labels, Notes
from analyzers.inventory.model import Endpoint, Identity, Interface, SecurityGroup
from analyzers.inventory.tagged_workloads import Member, fold

_RESPONSES = ("NetworkInterfaces", "Reservations", "Instances", "SecurityGroups")
_IDS = ("NetworkInterfaceId", "InstanceId", "GroupId")
_GONE = ("terminated", "shutting-down")


@dataclass(frozen=True, slots=True)
class _Card:
    """One network interface, from its own description or from its instance's."""

    interface: Interface
    tags: Labels
    own: tuple[Address, ...]  # the primary private address, IPv6 addresses, the primary's public address
    secondary: tuple[Address, ...]  # other private addresses, with their public ones
    attached: int | None  # s UTC
    primary: bool  # device 0 of its instance
    rank: tuple[bool, str]  # described by itself; its content
    origin: str
    notes: Notes


@dataclass(frozen=True, slots=True)
class _Instance:
    """One instance in one network."""

    id: str
    network: str
    tags: Labels
    addresses: tuple[Address, ...]
    groups: tuple[str, ...]
    rank: str
    origin: str


def sniff(value: object) -> bool:
    """A response of one of the three calls, or the list inside it (`--query 'NetworkInterfaces[]'`)."""
    if isinstance(value, list):
        first = next((item for item in value if isinstance(item, dict)), {})
        return any(key in first for key in (*_IDS, "Instances"))
    return isinstance(value, dict) and "kind" not in value and any(isinstance(value.get(k), list) for k in _RESPONSES)


def read(documents: Sequence[SourceDocument]) -> Facts:
    """Interfaces, endpoints and security groups. An instance and its interfaces become one endpoint in each VPC."""
    cards: dict[tuple[str, str], _Card] = {}
    instances: dict[tuple[str, str], _Instance] = {}
    facts = Facts("cloud")
    groups: dict[tuple[str, str], SecurityGroup] = {}
    for document in documents:
        for kind, fields in _described(document):
            if kind == "group":
                group = _security_group(fields, document)
                if group:
                    key = (group.network, group.id)
                    groups[key] = max(group, groups.get(key, group))
            elif kind == "interface":
                _keep(cards, _card(fields, document, None))
            else:
                for found in _instance(fields, document, cards):
                    key = (found.network, found.id)
                    instances[key] = max(found, instances.get(key, found), key=lambda i: (i.rank, i.origin))
    _assemble(facts, cards, instances)
    facts.security_groups.extend(groups.values())
    return facts


def _described(document: SourceDocument) -> Iterator[tuple[str, Fields]]:
    """(kind, fields) of everything a document describes."""
    value = document.value
    if isinstance(value, list):
        key = "items"
        root = Fields({key: value}, document.where, document.notes)
        for fields in root.maps(key):
            if "NetworkInterfaceId" in fields.value:
                yield "interface", fields
            elif "Instances" in fields.value:
                yield from (("instance", one) for one in fields.maps("Instances"))
            else:
                yield "instance" if "InstanceId" in fields.value else "group", fields
        return
    root = Fields(value if isinstance(value, dict) else {}, document.where, document.notes)
    yield from (("interface", one) for one in root.maps("NetworkInterfaces"))
    yield from (("group", one) for one in root.maps("SecurityGroups"))
    for reservation in root.maps("Reservations"):
        yield from (("instance", one) for one in reservation.maps("Instances"))
    yield from (("instance", one) for one in root.maps("Instances"))


def _id(fields: Fields, key: str) -> str:
    found = fields.text(key)
    if not found:
        fields.notes.add(fields.where, f"{key} is missing, so the object was left out")
    return found


def _tags(fields: Fields) -> Labels:
    tags = {}
    for key in ("TagSet", "Tags"):
        for tag in fields.maps(key):
            name = tag.text("Key")
            if name:
                tags[name] = tag.text("Value")
    return tuple(sorted(tags.items()))


# -- interfaces ------------------------------------------------------------------------------------------------------


def _keep(cards: dict[tuple[str, str], _Card], card: _Card | None) -> None:
    """Of several descriptions of one interface keep its own before its instance's, then by content."""
    if card is not None:
        key = (card.interface.network, card.interface.id)
        old = cards.get(key, card)
        if old.rank[0] and card.rank[0] and old.rank != card.rank:
            first = min(old, card, key=lambda c: (c.notes.file, c.origin))
            first.notes.add(card.interface.id, "described more than once, differently; one description was used")
        cards[key] = max(old, card, key=lambda c: (c.rank, c.origin))


def _card(fields: Fields, document: SourceDocument, instance: Fields | None) -> _Card | None:
    """The interface described by `fields`, on its own or inside the description of `instance`."""
    identifier = _id(fields, "NetworkInterfaceId")
    if not identifier:
        return None
    own, secondary = _addresses(fields)
    attachment = fields.map("Attachment")
    outer = instance or fields
    return _Card(
        interface=Interface(
            id=identifier,
            network=document.network_of(fields.text("VpcId") or outer.text("VpcId")),
            addresses=tuple(dict.fromkeys((*own, *secondary))),
            prefixes=_prefixes(fields),
            kind=fields.text("InterfaceType") or "interface",
            description=fields.text("Description"),
            requester_managed=fields.flag("RequesterManaged"),
            instance=instance.text("InstanceId") if instance else attachment.text("InstanceId"),
            security_groups=_groups(fields, "Groups"),
            subnet=fields.text("SubnetId") or outer.text("SubnetId"),
        ),
        tags=_tags(fields),
        own=own,
        secondary=secondary,
        attached=attachment.time("AttachTime"),
        primary=attachment.integer("DeviceIndex", 0, 1 << 16) == 0,
        rank=(instance is None, json.dumps(fields.value, sort_keys=True)),
        origin=_origin(fields, identifier),
        notes=fields.notes,
    )


def _addresses(fields: Fields) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """(the interface's own addresses, its secondary ones), public addresses with the private ones they stand for."""
    primary = fields.address("PrivateIpAddress")
    own, public, secondary = [primary], [fields.map("Association").address("PublicIp")], []
    for item in fields.maps("PrivateIpAddresses"):
        address = item.address("PrivateIpAddress")
        pair = [address, item.map("Association").address("PublicIp")]
        if address == primary or item.value.get("Primary") is True:
            own.append(pair[0])
            public.append(pair[1])
        else:
            secondary += pair
    own += [item.address("Ipv6Address") for item in fields.maps("Ipv6Addresses")]
    firsts = tuple(dict.fromkeys(a for a in (*own, *public) if a is not None))
    return firsts, tuple(dict.fromkeys(a for a in secondary if a is not None and a not in firsts))


def _prefixes(fields: Fields) -> tuple[str, ...]:
    found = []
    for key, inner in (("Ipv4Prefixes", "Ipv4Prefix"), ("Ipv6Prefixes", "Ipv6Prefix")):
        for item in fields.maps(key):
            text = item.text(inner)
            found.append(item.prefix(inner, text) if text else None)
    return tuple(sorted({prefix for prefix in found if prefix}))


def _groups(fields: Fields, key: str) -> tuple[str, ...]:
    return tuple(sorted({group.text("GroupId") for group in fields.maps(key)} - {""}))


def _origin(fields: Fields, identifier: str) -> str:
    return f"{fields.notes.file}: {fields.where} ({identifier})"


def _security_group(fields: Fields, document: SourceDocument) -> SecurityGroup | None:
    identifier = _id(fields, "GroupId")
    if not identifier:
        return None
    network = document.network_of(fields.text("VpcId"))
    return SecurityGroup(identifier, network, fields.text("GroupName"), fields.text("Description"), _tags(fields))


# -- instances and endpoints -----------------------------------------------------------------------------------------


def _instance(fields: Fields, document: SourceDocument, cards: dict[tuple[str, str], _Card]) -> Iterator[_Instance]:
    """The instance, once; its interfaces go to `cards`."""
    identifier = _id(fields, "InstanceId")
    if not identifier:
        return
    state = fields.map("State").text("Name")
    if state in _GONE:
        fields.notes.add("", f"instances that are {state} hold no address and were not used", identifier)
        return
    for one in fields.maps("NetworkInterfaces"):
        _keep(cards, _card(one, document, fields))
    found = [fields.address(key) for key in ("PrivateIpAddress", "Ipv6Address", "PublicIpAddress")]
    yield _Instance(
        id=identifier,
        network=document.network_of(fields.text("VpcId")),
        tags=_tags(fields),
        addresses=tuple(address for address in found if address is not None),
        groups=_groups(fields, "SecurityGroups"),
        rank=json.dumps(fields.value, sort_keys=True),
        origin=_origin(fields, identifier),
    )


def _assemble(facts: Facts, cards: dict[tuple[str, str], _Card], instances: dict[tuple[str, str], _Instance]) -> None:
    """Endpoints: an instance with all its interfaces in a network, or an interface that no instance has."""
    holders: dict[tuple[str, str], list[_Card]] = {key: [] for key in instances}
    for key in sorted(cards):
        card = cards[key]
        facts.interfaces.append(card.interface)
        holders.setdefault((key[0], card.interface.instance or card.interface.id), []).append(card)
    tags_of = {identifier: instance.tags for (_, identifier), instance in sorted(instances.items())}
    members: list[Member] = []
    endpoints: list[Endpoint] = []
    for (network, identifier), own in sorted(holders.items()):
        endpoint = _endpoint(network, identifier, own, instances.get((network, identifier)))
        endpoints.append(replace(endpoint, labels=tags_of.get(identifier, endpoint.labels)))
        kind = endpoint.workload.kind
        shown = _shown(own[0].interface) if kind == "Interface" else ""
        groups = endpoint.security_groups if kind == "Interface" else ()
        members.append(Member(identifier, kind, network, endpoints[-1].labels, shown, groups))
        facts.secondary[network, identifier] = frozenset(a for card in own for a in card.secondary)
    workloads = fold(members)
    facts.endpoints.extend(replace(e, workload=workloads[e.network, e.name]) for e in endpoints)
    facts.workloads.extend(sorted(set(workloads.values())))


def _shown(interface: Interface) -> str:
    """What names an interface without tags; "" when nothing but its id does."""
    if interface.description or interface.kind == "interface":
        return interface.description
    return f"{interface.kind} {interface.id}"


def _endpoint(network: str, identifier: str, cards: list[_Card], instance: _Instance | None) -> Endpoint:
    """One endpoint; its workload is a placeholder that only has the right kind."""
    cards = sorted(cards, key=lambda card: (not card.primary, card.interface.id))
    is_instance = instance is not None or any(card.interface.instance for card in cards)
    addresses = [address for card in cards for address in (*card.own, *card.secondary)]
    if instance is not None:
        addresses += instance.addresses
    groups = {group for card in cards for group in card.interface.security_groups}
    # An instance keeps its first interface and that one's addresses for life, over stops and starts; LaunchTime moves.
    attached = cards[0].attached if cards and (cards[0].primary or not is_instance) else None
    return Endpoint(
        name=identifier,
        namespace="",
        workload=Identity("Instance" if is_instance else "Interface", "", identifier, network),
        labels=instance.tags if instance is not None else cards[0].tags if cards else (),
        addresses=tuple(dict.fromkeys(addresses)),
        network=network,
        since=attached,
        security_groups=tuple(sorted(groups or (instance.groups if instance is not None else ()))),
        origin=instance.origin if instance is not None else cards[0].origin,
        prefixes=tuple(sorted({prefix for card in cards for prefix in card.interface.prefixes})),
    )
