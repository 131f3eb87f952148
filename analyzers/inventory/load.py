"""The inventory: every file given, whatever its format, as one sorted value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analyzers.inventory.clouds import join
from analyzers.inventory.facts import Facts, SourceDocument
from analyzers.inventory.fields import Notes, clean
from analyzers.inventory.files import InventoryError, InventoryFile, find_files, read_file
from analyzers.inventory.formats import InventoryFormat, formats
from analyzers.inventory.model import Endpoint, Identity, Inventory, InventoryNote
from analyzers.inventory.safe_yaml import Document, UnsafeYaml, recover_documents

__all__ = ["InventoryError", "ParsedFile", "load_inventory"]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file that somebody read for more than its inventory. What of it is no inventory is not noted here."""

    name: str
    documents: tuple[Document, ...]


def load_inventory(paths: Sequence[str | Path], network: str = "", parsed: Sequence[ParsedFile] = ()) -> Inventory:
    """Read all inventory files of `paths`: files, directories, or `NETWORK=path` for a file or directory whose
    whole content lives in that network. `network` is for what doesn't say where it lives. `parsed` are files whose
    documents are there already; those that are no inventory are passed over.

    Anything that is broken, unknown or no inventory at all becomes a note; the rest is used. The same files in
    another order give an equal value. Raises InventoryError for a path that does not exist.
    """
    files, passed = find_files(paths, network)
    notes = [InventoryNote(clean(path), reason) for path, reason in passed]
    known = formats()
    claimed: dict[str, list[SourceDocument]] = {name: [] for name in known}
    of_files: list[Notes] = []
    used = 0
    for file in files:
        of_files.append(Notes(str(file.path)))
        found = _documents(file, of_files[-1], known)
        used += bool(found)
        for name, document in found:
            claimed[name].append(document)
    for opened in parsed:
        of_files.append(Notes(opened.name))
        used += _claim(opened, of_files[-1], known, claimed, network)
    facts = {name: known[name].read(documents) for name, documents in claimed.items() if documents}
    joined, unclear = _joined(list(facts.values()))
    notes += unclear
    notes += [note for file_notes in of_files for note in file_notes.result()]
    return _inventory(joined, notes, used)


def _documents(
    file: InventoryFile, notes: Notes, known: dict[str, InventoryFormat]
) -> list[tuple[str, SourceDocument]]:
    """(format, document) of each document in a file that some format claims."""

    def document(value: object, where: str) -> SourceDocument:
        return SourceDocument(value, where, notes, file.network, file.forced)

    content, problem = read_file(file.path)
    if problem:
        notes.add("", problem)
    if not content.strip():
        if not problem:
            notes.add("", "empty file")
        return []
    if b"\0" in content[:4096] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        notes.add("", "no inventory: it is not text")
        return []
    text = _text(content)
    name = _format_of(text, known)
    if name:
        return [(name, document(text, ""))]
    values, errors = recover_documents(content, notes.file)
    if not values and not errors:
        notes.add("", "no inventory: no document in it")
    found = []
    for one in values:
        where = f"document {one.number} (line {one.line})" if len(values) + len(errors) > 1 else ""
        name = _format_of(one.value, known) if isinstance(one.value, dict | list) else ""
        if name:
            found.append((name, document(one.value, where)))
        else:
            notes.add(where, f"no inventory: none of the formats {', '.join(known)}")
    for error in errors:
        place, problem = _place(error, notes.file)
        notes.add(place, "cannot be read", problem)
    return found


def _claim(
    opened: ParsedFile,
    notes: Notes,
    known: dict[str, InventoryFormat],
    claimed: dict[str, list[SourceDocument]],
    network: str,
) -> bool:
    """Hand each document to the format that it is of; whether any is."""
    found = False
    for one in opened.documents:
        where = f"document {one.number} (line {one.line})" if len(opened.documents) > 1 else ""
        name = _format_of(one.value, known) if isinstance(one.value, dict | list) else ""
        if name:
            claimed[name].append(SourceDocument(one.value, where, notes, network))
            found = True
    return found


def _text(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return content.decode(encoding, errors="replace")


def _place(error: UnsafeYaml, file: str) -> tuple[str, str]:
    """(line and column, problem) of a message of the YAML reader."""
    message = str(error).removeprefix(f"{file}: ")
    place, _, problem = message.partition(": ")
    return (place, problem) if place.startswith(("line ", "offset ")) else ("", message)


def _format_of(value: object, known: dict[str, InventoryFormat]) -> str:
    return next((name for name, one in known.items() if one.sniff(value)), "")


def _joined(facts: list[Facts]) -> tuple[list[Facts], list[InventoryNote]]:
    """Each cluster with each cloud; tables stand as they are."""
    notes: list[InventoryNote] = []
    for cluster in range(len(facts)):
        for cloud in range(len(facts)):
            if facts[cluster].layer == "cluster" and facts[cloud].layer == "cloud":
                facts[cluster], facts[cloud], unclear = join(facts[cluster], facts[cloud])
                notes += unclear
    return facts, notes


def _inventory(facts: list[Facts], notes: Iterable[InventoryNote], files: int) -> Inventory:
    namespaces: dict[str, dict[str, str]] = {}
    for one in facts:
        for name, labels in one.namespaces.items():
            namespaces.setdefault(name, {}).update(labels)
    return Inventory(
        endpoints=_endpoints(e for one in facts for e in one.endpoints),
        workloads=_workloads(w for one in facts for w in one.workloads),
        namespaces=dict(sorted(namespaces.items())),
        services=tuple(sorted((s for f in facts for s in f.services), key=lambda s: (s.network, s.namespace, s.name))),
        interfaces=tuple(sorted((i for f in facts for i in f.interfaces), key=lambda i: (i.network, i.id))),
        pod_cidrs=tuple(sorted({c for one in facts for c in one.pod_cidrs})),
        notes=tuple(sorted(set(notes))),
        files=files,
        security_groups=tuple(sorted({g for one in facts for g in one.security_groups})),
        host_network_workloads=_workloads(w for one in facts for w in one.host_network_workloads),
        templates=_endpoints(e for one in facts for e in one.templates),
        flow_logs=tuple(sorted({log for one in facts for log in one.flow_logs})),
    )


def _workloads(workloads: Iterable[Identity]) -> tuple[Identity, ...]:
    return tuple(sorted(set(workloads), key=lambda w: (w.network, w.namespace, w.kind, w.name, w.labels)))


def _endpoints(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Sorted, and each once: two tables may hold the same row."""
    once: list[Endpoint] = []
    for endpoint in sorted(endpoints, key=_rank):
        if not (once and once[-1].name == endpoint.name and replace(endpoint, origin=once[-1].origin) == once[-1]):
            once.append(endpoint)
    return tuple(once)


def _rank(endpoint: Endpoint) -> tuple[object, ...]:
    """A total order in which equal endpoints stand together; `origin` settles what nothing else tells apart."""
    e = endpoint
    w = e.workload
    workload = (e.network, e.namespace, w.kind, w.namespace, w.name, w.network)
    ends = (e.since is not None, e.since or 0, e.until is None, e.until or 0)
    rest = (w.labels, e.prefixes, e.labels, e.node, e.host_network, e.security_groups)
    return (*workload, e.name, *ends, e.addresses, rest, [(p.name, p.protocol, p.number) for p in e.ports], e.origin)
