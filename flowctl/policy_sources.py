"""POLICIES: files, directories, a git revision, standard input; Kubernetes manifests, Terraform, AWS descriptions.

Every text is read and parsed once. What in it says who lives where becomes inventory, together with --inventory.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from analyzers.inventory import Inventory
from analyzers.inventory.formats import formats
from analyzers.inventory.kubernetes_objects import INVENTORY_KINDS, UNUSED
from analyzers.inventory.load import InventoryError, ParsedFile, load_inventory
from analyzers.inventory.safe_yaml import MAX_BYTES, Document, recover_documents
from flowctl.git_revision import is_revision, revision_files
from policygen.lint.source_places import steps
from policygen.manifests import is_policy, policies_of
from policygen.model import PolicySet, Problem
from policygen.network_acls import NetworkAcl, read_network_acls
from policygen.security_group_objects import is_described, read_described
from policygen.terraform import read_group_texts

STDIN = "-"
MAX_YAML_BYTES = 64 * 1024 * 1024
"""Longest YAML text: reading it takes about a minute, and no server takes an object of more than 1.5 MiB. JSON may
have MAX_BYTES."""

_DOCUMENTS = (".yaml", ".yml", ".json")
_TERRAFORM = ".tf"


@dataclass(frozen=True, slots=True)
class SourceText:
    """One text that was read. `path` None: it is no file that could be rewritten (git, standard input)."""

    name: str
    content: bytes
    path: Path | None = None
    documents: tuple[Document, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """The text and document a policy was read from; `inside`: where in the document, "" for all of it."""

    text: SourceText
    document: Document
    inside: str = ""

    @property
    def object(self) -> Mapping[str, Any]:
        """The object as it was written."""
        value: Any = self.document.value
        for step in steps(self.inside):
            value = value[step]
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class LoadedPolicies:
    """Everything POLICIES and --inventory say.

    `network`: NetworkPolicies and admin policies. `groups`: security groups; `acls`: network ACLs. Any may be empty.
    `left_out`: what is not judged and why, sorted; the answer holds for the rest. `remarks`: odd, but judged.
    """

    network: PolicySet
    groups: PolicySet
    inventory: Inventory
    acls: tuple[NetworkAcl, ...] = ()
    texts: tuple[SourceText, ...] = ()
    left_out: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()
    given: tuple[str, ...] = ()
    inventory_given: tuple[str, ...] = ()

    @property
    def policies(self) -> int:
        """How many objects are judged."""
        return len(self.network.policies) + len(self.network.admin) + len(self.groups.policies)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Where each policy was read, by its `origin`."""
        documents = {_where(text, one): (text, one) for text in self.texts for one in text.documents}
        origins = [p.origin for p in (*self.network.policies, *self.groups.policies)]
        origins += [p.origin for p in self.network.admin]
        found: dict[str, Source] = {}
        for origin in origins:
            where, inside = origin, ""
            while where not in documents and ": " in where:
                where, _, last = where.rpartition(": ")
                inside = f"{last}.{inside}" if inside else last
            if where in documents:
                found[origin] = Source(*documents[where], inside)
        return found


def load_policies(given: Sequence[str], inventory: Sequence[str] = ()) -> LoadedPolicies:
    """Read every POLICIES argument and every --inventory.

    An argument that exists as a path is that path; `-` is standard input; else `REVISION:PATH` is asked of git. The
    order of arguments leaves no trace, but two different objects of one name are both named, and the one that
    `kubectl apply` would leave is judged. Nothing that is wrong inside a text raises. Raises click.UsageError for
    arguments that lead nowhere.
    """
    reading = _Reading()
    for one in sorted(set(given)):
        reading.add(one)
    return _assembled(tuple(reading.texts), reading.problems, tuple(given), tuple(inventory))


def with_contents(loaded: LoadedPolicies, contents: Mapping[str, bytes]) -> LoadedPolicies:
    """The same with other contents of some texts, by their names: what would be read after a rewrite."""
    reading = _Reading()
    for text in loaded.texts:
        reading.take(text.name, contents.get(text.name, text.content), text.path)
    return _assembled(tuple(reading.texts), reading.problems, loaded.given, loaded.inventory_given)


def _assembled(
    texts: tuple[SourceText, ...], problems: Sequence[Problem], given: tuple[str, ...], inventory: tuple[str, ...]
) -> LoadedPolicies:
    places = [(_where(text, one), one.value) for text in texts for one in text.documents]
    network, others = policies_of(
        [(where, value) for where, value in places if not is_described(value) and not _is_other_inventory(value)]
    )
    described = read_described([(where, value) for where, value in places if is_described(value)])
    acls, acl_problems = read_network_acls(places)
    terraform = read_group_texts((t.name, t.content) for t in texts if t.name.endswith(_TERRAFORM))
    parsed = [
        ParsedFile(text.name, documents)
        for text in texts
        if (documents := tuple(one for one in text.documents if not is_policy(one.value)))
    ]
    try:
        known = load_inventory(list(inventory), parsed=parsed)
    except InventoryError as error:
        raise click.UsageError(str(error)) from error
    known = _without_unused_kinds(known)
    groups = PolicySet((*described.policies, *terraform.policies), (*described.problems, *terraform.problems)).sorted()
    problems = [*problems, *network.problems, *groups.problems, *acl_problems, *_neither(others, known)]
    return LoadedPolicies(
        network=network,
        groups=groups,
        acls=acls,
        inventory=known,
        texts=texts,
        left_out=_sorted(p for p in problems if p.fatal),
        remarks=_sorted(p for p in problems if not p.fatal),
        given=given,
        inventory_given=inventory,
    )


def _where(text: SourceText, document: Document) -> str:
    return f"{text.name} document {document.number} (line {document.line})"


def _is_other_inventory(value: object) -> bool:
    """Whether a document is inventory of another format than Kubernetes': it holds no manifests then."""
    return isinstance(value, dict | list) and any(
        one.sniff(value) for name, one in formats().items() if name != "kubernetes"
    )


def _sorted(problems: Iterator[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda p: (p.where, p.reason)))


def _without_unused_kinds(inventory: Inventory) -> Inventory:
    """The inventory without its notes on kinds it cannot use: most of them are policies."""
    return replace(inventory, notes=tuple(note for note in inventory.notes if not note.reason.endswith(UNUSED)))


def _neither(others: Counter[str], inventory: Inventory) -> Iterator[Problem]:
    """Kinds that are neither policy nor inventory, counted."""
    used = INVENTORY_KINDS | {"Ingress", "Route"} | {workload.kind for workload in inventory.workloads}
    counted = {kind: count for kind, count in others.items() if kind not in used}
    if counted:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counted.items()))
        yield Problem("manifests", f"{sum(counted.values())} objects that say nothing here were passed over: {kinds}")


class _Reading:
    """The texts so far. A file that is given twice is read once."""

    def __init__(self) -> None:
        self.texts: list[SourceText] = []
        self.problems: list[Problem] = []
        self._files: set[str] = set()

    def add(self, given: str) -> None:
        if given == STDIN:
            self.take("stdin", sys.stdin.buffer.read(MAX_BYTES + 1), None)
        elif _exists(given):
            for path in self._walk(Path(given)):
                self._file(path)
        elif is_revision(given):
            for file in revision_files(given, _is_wanted, MAX_BYTES):
                if file.content is None:
                    self.problems.append(Problem(file.name, file.reason, fatal=True))
                else:
                    self.take(file.name, file.content, None)
        else:
            raise click.UsageError(
                f"{given!r} does not exist; give a file, a directory, REVISION:PATH of git, or - for standard input"
            )

    def _walk(self, path: Path) -> Iterator[Path]:
        if not path.is_dir():
            yield path
            return
        hidden = 0
        found: list[Path] = []
        for folder, directories, names in os.walk(path, onerror=self._unreadable):
            shown = [d for d in directories if not d.startswith(".")]
            hidden += len(directories) - len(shown)
            directories[:] = shown
            hidden += sum(name.startswith(".") for name in names)
            found += [Path(folder, name) for name in names if not name.startswith(".") and _is_wanted(name)]
        if hidden:
            self.problems.append(
                Problem(str(path), f"{hidden} hidden files or directories were not read; name them to have them read")
            )
        if not found:
            self.problems.append(Problem(str(path), "no .yaml, .yml, .json or .tf file in this directory"))
        yield from sorted(found)

    def _unreadable(self, error: OSError) -> None:
        self.problems.append(Problem(str(error.filename), f"cannot be read: {error.strerror}", fatal=True))

    def _file(self, path: Path) -> None:
        real = os.path.realpath(path)
        if real in self._files:
            return
        self._files.add(real)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            self.problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}", fatal=True))
            return
        self.take(str(path), content, path)

    def take(self, name: str, content: bytes, path: Path | None) -> None:
        """Parse one text and keep it."""
        limit = MAX_BYTES if content[:64].lstrip()[:1] in (b"{", b"[") else MAX_YAML_BYTES
        if len(content) > limit:
            kind = "" if limit == MAX_BYTES else " of YAML; give it as JSON, or"
            said = f"more than {limit >> 20} MiB{kind or ';'} split it into several files"
            self.problems.append(Problem(name, said, fatal=True))
            return
        if name.endswith(_TERRAFORM):
            self.texts.append(SourceText(name, content, path))
            return
        documents, errors = recover_documents(content, name)
        for error in errors:
            self.problems.append(Problem(name, str(error).removeprefix(f"{name}: "), fatal=True))
        if not documents and not errors:
            self.problems.append(Problem(name, "no document in it"))
        self.texts.append(SourceText(name, content, path, documents))


def _exists(given: str) -> bool:
    try:
        return Path(given).exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _is_wanted(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(_DOCUMENTS) or lower.endswith(_TERRAFORM)
