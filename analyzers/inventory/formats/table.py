"""Plain tables of addresses: CSV with a header line, or a YAML list of the same keys.

Columns: address (or CIDR), name, labels (`k=v;k2=v2`), namespace, network, ports (`[name=]8080[/TCP];...`), since and
until (RFC 3339, or seconds UTC), kind. Only address and name are needed.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from analyzers.flows import address_halves
from analyzers.inventory.facts import Facts, SourceDocument
from analyzers.inventory.fields import Fields, Labels
from analyzers.inventory.model import Endpoint, Identity, NamedPort

COLUMNS = ("address", "name", "labels", "namespace", "network", "ports", "since", "until", "kind")
_PORT = re.compile(r"(?:([^=/]+)=)?([0-9]{1,5})(?:/([A-Za-z]+))?\Z")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def sniff(value: object) -> bool:
    """A text whose first line names an `address` column, a list of mappings with `address`, or one such mapping."""
    if isinstance(value, str):
        delimiter, first, _ = _header(value)
        return "address" in _columns(first, delimiter) and delimiter in first
    first_item = next((item for item in value if isinstance(item, dict)), {}) if isinstance(value, list) else value
    return isinstance(first_item, dict) and "address" in first_item and "apiVersion" not in first_item


def read(documents: Sequence[SourceDocument]) -> Facts:
    """One endpoint for each row; rows of one kind, namespace, name and network are one workload."""
    rows: dict[tuple[str, str, str, str], list[Endpoint]] = {}
    for document in documents:
        for fields in _rows(document):
            endpoint = _endpoint(fields, document)
            if endpoint is not None:
                workload = endpoint.workload
                key = (workload.kind, workload.namespace, workload.name, workload.network)
                rows.setdefault(key, []).append(endpoint)
    facts = Facts("table")
    for key, members in sorted(rows.items()):
        labels = tuple(sorted(set.intersection(*(set(member.labels) for member in members))))
        workload = Identity(*key, labels)
        facts.workloads.append(workload)
        facts.endpoints.extend(replace(member, workload=workload) for member in members)
        if workload.namespace:
            facts.namespaces.setdefault(workload.namespace, {})
    return facts


# -- rows ------------------------------------------------------------------------------------------------------------


def _rows(document: SourceDocument) -> Iterator[Fields]:
    value = document.value
    if isinstance(value, str):
        yield from _csv_rows(value, document)
        return
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        place = f"{document.where}[{index}]" if isinstance(value, list) else document.where
        if isinstance(item, dict):
            yield _known_only(Fields(item, place, document.notes))
        else:
            document.notes.add(place, "expected a mapping with address and name")


def _known_only(fields: Fields) -> Fields:
    for key in fields.value:
        if key not in COLUMNS:
            fields.notes.add("", f"column {key!r} is unknown and was not used")
    return fields


def _header(text: str) -> tuple[str, str, int]:
    """(delimiter, header line, number of lines up to and with it)."""
    for number, line in enumerate(_one_line_end(text[:65536]).split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return "\t" if "\t" in line else ",", line, number
    return ",", "", 0


def _one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _columns(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _csv_rows(text: str, document: SourceDocument) -> Iterator[Fields]:
    delimiter, header, skipped = _header(text)
    columns = _columns(header, delimiter)
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if "name" not in columns or twice:
        problem = f"columns twice: {', '.join(twice)}" if twice else "no `name` column"
        document.notes.add(
            f"line {skipped}", "the table cannot be read", f"{problem}; columns are {', '.join(COLUMNS)}"
        )
        return
    for column in columns:
        if column not in COLUMNS:
            document.notes.add("", f"column {column!r} is unknown and was not used")
    lines = io.StringIO(_one_line_end(text))
    for _ in range(skipped):
        lines.readline()
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            document.notes.add(f"line {skipped + reader.line_num}", "no CSV row", str(error))
            continue
        place = f"line {skipped + reader.line_num}"
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if len(cells) != len(columns):
            document.notes.add(place, f"expected {len(columns)} cells", f"found {len(cells)}")
            continue
        yield Fields(dict(zip(columns, (c.strip() for c in cells), strict=True)), place, document.notes)


# -- one row ---------------------------------------------------------------------------------------------------------


def _endpoint(fields: Fields, document: SourceDocument) -> Endpoint | None:
    """The endpoint of a row; None with a note when it has no name or no usable address."""
    name, text = fields.text("name"), fields.text("address")
    if not name or not text:
        fields.notes.add(fields.where, f"row without {'an address' if name else 'a name'} was left out")
        return None
    addresses: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[str, ...] = ()
    if "/" in text:
        prefix = fields.prefix("address", text)
        if prefix is None:
            return None
        parsed = ipaddress.ip_network(prefix)
        if parsed.prefixlen == parsed.max_prefixlen:
            addresses = (address_halves(str(parsed.network_address)),)
        else:
            prefixes = (prefix,)
    else:
        address = fields.address("address")
        if address is None:
            return None
        addresses = (address,)
    namespace = fields.text("namespace")
    network = document.network_of(fields.text("network"))
    kind = fields.text("kind") or ("Pod" if namespace else "Host")
    since, until = _time(fields, "since"), _time(fields, "until")
    if since is not None and until is not None and until <= since:
        fields.wrong("until", "not after `since`, so the row was left out", f"{until} <= {since}")
        return None
    return Endpoint(
        name=name,
        namespace=namespace,
        workload=Identity(kind, namespace, name, network),
        labels=_labels(fields),
        addresses=addresses,
        network=network,
        since=since,
        until=until,
        ports=_ports(fields),
        origin=f"{document.notes.file}: {fields.where}" if fields.where else document.notes.file,
        prefixes=prefixes,
    )


def _labels(fields: Fields) -> Labels:
    if not isinstance(fields.value.get("labels"), str):
        return fields.labels("labels")
    found = {}
    for part in fields.text("labels").split(";"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key and equals:
            found[key] = value
        elif part.strip():
            fields.wrong("labels", "no label: write k=v;k2=v2", part)
    return tuple(sorted(found.items()))


def _ports(fields: Fields) -> tuple[NamedPort, ...]:
    value = fields.value.get("ports")
    if isinstance(value, list):
        parts = [str(p) if isinstance(p, int | str) and not isinstance(p, bool) else repr(p)[:40] for p in value]
    elif isinstance(value, int) and not isinstance(value, bool):
        parts = [str(value)]
    else:
        parts = fields.text("ports").split(";")
    ports = set()
    for part in filter(None, (p.strip() for p in parts)):
        match = _PORT.match(part)
        protocol = ((match.group(3) if match else "") or "TCP").upper()
        if match and protocol in _PROTOCOLS and 0 < int(match.group(2)) < 65536:
            ports.add(NamedPort((match.group(1) or "").strip(), protocol, int(match.group(2))))
        else:
            fields.wrong("ports", "no port: write [name=]number[/TCP|UDP|SCTP]", part)
    return tuple(sorted(ports))


def _time(fields: Fields, key: str) -> int | None:
    value = fields.value.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return fields.integer(key, 0, 1 << 40)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        return int(value)
    return fields.time(key)
