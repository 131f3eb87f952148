"""Policies from manifests: files, directories, several documents, lists, YAML and JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzers.inventory.safe_yaml import MAX_BYTES, UnsafeYaml, recover_documents
from policygen.api_kinds import ApiKind, api_kinds
from policygen.model import AdminPolicy, Policy, PolicySet, Problem

_SUFFIXES = (".yaml", ".yml", ".json")
_UNVERSIONED = (None, "v1", "extensions/v1beta1")
"""What stands where an apiVersion was forgotten, or taken from another kind."""


def _same_group(version: object, versions: list[str]) -> bool:
    """Whether an apiVersion is of the group of one of `versions`."""
    group = version.rpartition("/")[0] if isinstance(version, str) else ""
    return bool(group) and any(group == known.rpartition("/")[0] for known in versions)


def read_policies(paths: Iterable[Path]) -> PolicySet:
    """The policies of files and directories (searched to any depth for .yaml, .yml and .json), sorted: every kind that
    policygen.api_kinds knows.

    What cannot be read, and what the API server would refuse, is left out and is a fatal Problem of the set; the rest
    is still read. Objects of other kinds are counted in one Problem that is not fatal. A policy that occurs twice
    counts as `kubectl apply` leaves it: the last one, files in the order of their names. Never raises for bad input.
    """
    reading = _Reading()
    for path in _files(paths, reading):
        text = _bytes(path, reading)
        if text is not None:
            reading.text(text, str(path))
    return reading.result()


def parse_policies(text: str | bytes, where: str) -> PolicySet:
    """Like read_policies, for one text. `where` names it in messages and in Policy.origin."""
    reading = _Reading()
    reading.text(text, where)
    return reading.result()


def policies_of(documents: Iterable[tuple[str, object]]) -> tuple[PolicySet, Counter[str]]:
    """Like read_policies, for documents that somebody parsed already, each with the place that messages name.

    Objects of other kinds are no Problem here: they are returned, counted by kind.
    """
    reading = _Reading()
    for where, value in documents:
        reading.document(value, where)
    others, reading.others = reading.others, Counter()
    return reading.result(), others


def is_policy(value: object) -> bool:
    """Whether a document is one policy, or a typed list of them, of a kind that is read here."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return isinstance(kind, str) and any(kind.removesuffix("List") == name for _, name in api_kinds())


def _files(paths: Iterable[Path], reading: _Reading) -> Iterator[Path]:
    """Every file once, sorted, so that the order in which paths are given leaves no trace."""
    found: dict[str, Path] = {}
    for path in sorted(paths, key=str):
        if not path.is_dir():
            found.setdefault(os.path.realpath(path), path)
            continue

        def unreadable(error: OSError) -> None:
            reading.fatal(str(error.filename), f"cannot be read: {error.strerror}")

        for folder, _, names in os.walk(path, onerror=unreadable):
            for name in names:
                if name.lower().endswith(_SUFFIXES):
                    inside = Path(folder, name)
                    found.setdefault(os.path.realpath(inside), inside)
    yield from sorted(found.values(), key=str)


def _bytes(path: Path, reading: _Reading) -> bytes | None:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            reading.fatal(str(path), f"{size} bytes are more than {MAX_BYTES}; split it into several files")
            return None
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # pipes have no size; what is longer is refused by the parser
    except OSError as error:
        reading.fatal(str(path), f"cannot be read: {error.strerror or error}")
        return None


@dataclass
class _Reading:
    """What has come together so far."""

    policies: dict[tuple[str, str, str], Policy | AdminPolicy] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def fatal(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason, fatal=True))

    def remark(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason))

    def text(self, text: str | bytes, where: str) -> None:
        documents, errors = recover_documents(text, where)
        for error in errors:
            self._unreadable(error, where)
        for document in documents:
            self.document(document.value, f"{where} document {document.number} (line {document.line})")

    def _unreadable(self, error: UnsafeYaml, where: str) -> None:
        message = str(error)
        self.fatal(where, message.removeprefix(f"{where}: "))

    def document(self, value: object, where: str) -> None:
        """The object, or the items of a list of objects, to any depth."""
        waiting: list[tuple[object, str, dict[str, Any]]] = [(value, where, {})]
        while waiting:
            current, place, defaults = waiting.pop()
            if not isinstance(current, dict):
                self.others["(no object)"] += 1
                continue
            kind = current.get("kind", defaults.get("kind"))
            version = current.get("apiVersion", defaults.get("apiVersion"))
            if isinstance(kind, str) and kind.endswith("List") and "items" in current:
                items = current["items"]
                if items is not None and not isinstance(items, list):
                    self.fatal(f"{place}: items", "expected a list")
                    continue
                # items of a typed list may leave out what they are; those of a plain List may not
                inherited = {"kind": kind.removesuffix("List"), "apiVersion": version} if kind != "List" else {}
                for index, item in reversed(list(enumerate(items or ()))):
                    waiting.append((item, f"{place}: items[{index}]", inherited))
            else:
                self._object(current, kind, version, place)

    def _object(self, value: dict[str, Any], kind: object, version: object, where: str) -> None:
        known = api_kinds()
        versions = sorted(v for v, name in known if name == kind)
        decoder = known.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None
        if decoder is not None:
            self._policy(decoder, value, where)
        elif versions and (version in _UNVERSIONED or _same_group(version, versions)):
            self.fatal(where, f"apiVersion is {version or 'missing'}; a {kind} needs {' or '.join(versions)}")
        elif kind is None and any(version == v for v, _ in known):
            self.fatal(where, "kind is missing")
        elif isinstance(kind, str) and kind.endswith("NetworkPolicy"):
            self.remark(where, f"a {kind} of {version} is not evaluated; it can allow or deny more than is said here")
        else:
            self.others[kind if isinstance(kind, str) else "(no kind)"] += 1

    def _policy(self, kind: ApiKind, value: dict[str, Any], where: str) -> None:
        decoded = kind.decode(value, where)
        for finding in decoded.refusals:
            self.fatal(f"{where}: {finding.path}", f"{finding.reason}; the API server refuses the object")
        for finding in decoded.remarks:
            self.remark(f"{where}: {finding.path}", finding.reason)
        policy = decoded.policy
        if policy is None:
            return
        key = (kind.KIND, policy.namespace if isinstance(policy, Policy) else "", policy.name)
        if key in self.policies:
            name = f"{key[1]}/{key[2]}" if key[1] else key[2]
            self.remark(where, f"{kind.KIND} {name} replaces the one of {self.policies[key].origin}")
        self.policies[key] = policy

    def result(self) -> PolicySet:
        problems = list(self.problems)
        if self.others:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.others.items()))
            problems.append(Problem("manifests", f"{self.others.total()} objects of other kinds passed over: {kinds}"))
        policies = tuple(p for p in self.policies.values() if isinstance(p, Policy))
        admin = tuple(p for p in self.policies.values() if isinstance(p, AdminPolicy))
        return PolicySet(policies, tuple(problems), admin).sorted()
