"""Security groups from Terraform files, as they stand on disk.

Read are `aws_security_group` with its inline `ingress` and `egress`, the rule resources
`aws_vpc_security_group_ingress_rule` and `_egress_rule`, and the map of members in `locals`. The files of one directory
are one module, as Terraform sees it.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policygen.group_rules import split
from policygen.hcl import Expression, Module, Resource, UnreadableHcl, parse_module
from policygen.model import GroupPeer, Policy, PolicySet, Problem, Rule, Selector
from policygen.terraform_rules import Unreadable, inline_rules, text_of, written_rule

MEMBERS_PREFIX = "flowctl_members_"

_RULES = {"aws_vpc_security_group_ingress_rule": "ingress", "aws_vpc_security_group_egress_rule": "egress"}
_REFERENCE = re.compile(r"aws_security_group\.([A-Za-z_][A-Za-z0-9_-]*)(?:\.id)?")


def read_groups(paths: Iterable[Path]) -> PolicySet:
    """The security groups of .tf files and of directories (searched to any depth), sorted.

    What cannot be read or evaluated is left out and is a fatal Problem with file and resource address; the rest is
    still read. Resources of other kinds are counted in one Problem that is not fatal. Never raises for bad input.
    """
    reading = _Reading()
    for path in _files(paths, reading):
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            reading.fatal(str(path), f"cannot be read: {error.strerror or error}")
        except UnicodeDecodeError as error:
            reading.fatal(str(path), f"offset {error.start}: no UTF-8")
        else:
            reading.add(text, str(path), str(path.parent))
    return reading.result()


def read_group_texts(texts: Iterable[tuple[str, bytes]]) -> PolicySet:
    """Like read_groups, for (name, content) of files that somebody read already; one directory is one module."""
    reading = _Reading()
    for where, content in texts:
        try:
            reading.add(content.decode("utf-8-sig"), where, str(Path(where).parent))
        except UnicodeDecodeError as error:
            reading.fatal(where, f"offset {error.start}: no UTF-8")
    return reading.result()


def parse_groups(text: str, where: str) -> PolicySet:
    """Like read_groups, for one text that is a module by itself. `where` names it in messages and in Policy.origin."""
    reading = _Reading()
    reading.add(text, where, "")
    return reading.result()


def _files(paths: Iterable[Path], reading: _Reading) -> Iterator[Path]:
    """Every file once, sorted, so that the order in which paths are given leaves no trace."""
    found: dict[str, Path] = {}
    for path in sorted(paths, key=str):
        if not path.is_dir():
            found.setdefault(os.path.realpath(path), path)
            continue
        for folder, folders, names in os.walk(
            path, onerror=lambda e: reading.fatal(str(e.filename), f"cannot be read: {e.strerror}")
        ):
            folders[:] = [name for name in folders if name != ".terraform"]  # copies of other people's modules
            for name in names:
                if name.endswith(".tf"):
                    found.setdefault(os.path.realpath(Path(folder, name)), Path(folder, name))
    yield from sorted(found.values(), key=str)


@dataclass
class _Group:
    """A group as it comes together."""

    name: str
    network: str
    labels: tuple[tuple[str, str], ...]
    origin: str
    rules: dict[str, list[Rule]] = field(default_factory=lambda: {"ingress": [], "egress": []})
    members: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()

    def policy(self) -> Policy:
        return Policy(
            name=self.name,
            namespace=self.network,
            subject=Selector(self.tags),
            ingress=split(self.rules["ingress"]),
            egress=split(self.rules["egress"]),
            labels=self.labels,
            members=self.members,
            origin=self.origin,
        )


@dataclass
class _Reading:
    """What has come together so far. Resources are kept until all files of their module are there."""

    modules: dict[str, list[tuple[str, Module]]] = field(default_factory=lambda: defaultdict(list))
    problems: list[Problem] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def fatal(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason, fatal=True))

    def add(self, text: str, where: str, directory: str) -> None:
        try:
            module = parse_module(text)
        except UnreadableHcl as error:
            self.fatal(where, str(error))
            return
        self.modules[directory].append((where, module))
        self.others.update(module.others)

    def result(self) -> PolicySet:
        policies: dict[tuple[str, str], Policy] = {}
        for directory in sorted(self.modules):
            for group in self._groups(self.modules[directory]):
                policy = group.policy()
                key = (policy.namespace, policy.name)
                if key in policies:
                    self.fatal(
                        policy.origin, f"a group {policy.name} of {policy.namespace} is in {policies[key].origin}"
                    )
                else:
                    policies[key] = policy
        problems = list(self.problems)
        if self.others:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.others.items()))
            problems.append(Problem("Terraform", f"{self.others.total()} blocks of other kinds passed over: {kinds}"))
        return PolicySet(tuple(policies.values()), tuple(problems)).sorted()

    def _groups(self, files: list[tuple[str, Module]]) -> list[_Group]:
        groups: dict[str, _Group] = {}
        taken: set[tuple[str, str]] = set()
        waiting: list[tuple[str, Resource]] = []
        for where, module in files:
            for resource in module.resources:
                place = f"{where}: {resource.kind}.{resource.label}"
                if resource.kind != "aws_security_group" and resource.kind not in _RULES:
                    self.others[resource.kind] += 1
                elif (resource.kind, resource.label) in taken:
                    self.fatal(place, "another resource has this address; Terraform refuses both")
                elif repeats := {"count", "for_each", "dynamic"} & resource.body.keys():
                    self.fatal(place, f"{', '.join(sorted(repeats))} cannot be evaluated here; write the resource out")
                elif resource.kind in _RULES:
                    waiting.append((place, resource))
                elif group := self._group(resource, place):
                    groups[resource.label] = group
                taken.add((resource.kind, resource.label))
        for place, resource in waiting:
            self._rule(resource, place, groups)
        self._inline(files, groups)
        for where, module in files:
            for name, value in module.local_values:
                if name.startswith(MEMBERS_PREFIX):
                    self._members(value, f"{where}: local.{name}", groups)
        return list(groups.values())

    def _group(self, resource: Resource, place: str) -> _Group | None:
        body = resource.body
        try:
            name, network = text_of(body.get("name")), text_of(body.get("vpc_id"))
        except Unreadable as error:
            self.fatal(place, f"name and vpc_id must be plain strings: {error}")
            return None
        if not name or not network:
            self.fatal(
                place, f"{'vpc_id' if name else 'name'} is missing; without it nobody can tell what it applies to"
            )
            return None
        return _Group(name, network, self._tags(body.get("tags"), f"{place}: tags"), place)

    def _tags(self, value: object, place: str) -> tuple[tuple[str, str], ...]:
        if value is None:
            return ()
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self.problems.append(Problem(place, "these are not all plain strings; those that are not are passed over"))
        items = value.items() if isinstance(value, dict) else ()
        return tuple(sorted((str(key), item) for key, item in items if isinstance(item, str)))

    def _rule(self, resource: Resource, place: str, groups: Mapping[str, _Group]) -> None:
        group = self._referenced(resource.body.get("security_group_id"), groups)
        if group is None:
            self.fatal(place, "security_group_id is no reference to a group of this directory; the rule is left out")
            return
        try:
            rule = written_rule(resource.body, lambda value: self._peer(value, group, groups))
        except Unreadable as error:
            self.fatal(place, f"{error}; the rule is left out")
        else:
            group.rules[_RULES[resource.kind]].append(rule)

    def _inline(self, files: list[tuple[str, Module]], groups: Mapping[str, _Group]) -> None:
        """Inline rules, once all groups of the module are known."""
        for where, module in files:
            for resource in module.resources:
                group = groups.get(resource.label)
                place = f"{where}: {resource.kind}.{resource.label}"
                if group is not None and group.origin == place:
                    for kind in ("ingress", "egress"):
                        if kind in resource.body:
                            self._inline_rules(resource.body[kind], kind, group, groups)

    def _inline_rules(self, value: object, kind: str, group: _Group, groups: Mapping[str, _Group]) -> None:
        rules, errors = inline_rules(value, group.name, lambda peer: self._peer(peer, group, groups))
        for index, reason in errors:
            self.fatal(f"{group.origin}: {kind}[{index}]", f"{reason}; left out")
        if group.rules[kind]:
            reason = "inline rules and rule resources overwrite each other; both were read"
            self.problems.append(Problem(f"{group.origin}: {kind}", reason))
        group.rules[kind] += rules

    def _peer(self, value: object, group: _Group, groups: Mapping[str, _Group]) -> GroupPeer:
        """The group that a reference or an id stands for. Raises Unreadable for another VPC's, and for expressions."""
        other = self._referenced(value, groups)
        if other is not None:
            if other.network != group.network:
                raise Unreadable(
                    f"{other.name} is in {other.network}; whether that is peered with {group.network} is not known"
                )
            return GroupPeer(other.name)
        text = text_of(value)
        if not re.fullmatch(r"sg-[0-9a-f]+", text):
            raise Unreadable(f"{text!r} is no group of this directory and no id of one")
        return GroupPeer(text)

    def _referenced(self, value: object, groups: Mapping[str, _Group]) -> _Group | None:
        match = _REFERENCE.fullmatch(value.text) if isinstance(value, Expression) else None
        return groups.get(match[1]) if match else None

    def _members(self, value: object, place: str, groups: Mapping[str, _Group]) -> None:
        """The map that says who carries the groups, and by which tags future members are told."""
        for name, entry in value.items() if isinstance(value, dict) else ():
            group = self._referenced(entry.get("security_group_id"), groups) if isinstance(entry, dict) else None
            if group is None:
                self.fatal(f"{place}[{name!r}]", "security_group_id is no reference to a group of this directory")
                continue
            members = entry.get("members") or []
            plain = [m for m in members if isinstance(m, str)] if isinstance(members, list) else []
            if not isinstance(members, list) or len(plain) != len(members):
                self.problems.append(Problem(f"{place}[{name!r}].members", "only plain strings are read"))
            group.members = tuple(sorted(set(plain)))
            group.tags = self._tags(entry.get("tags"), f"{place}[{name!r}].tags")
        if not isinstance(value, dict):
            self.fatal(place, "expected a map of groups")
