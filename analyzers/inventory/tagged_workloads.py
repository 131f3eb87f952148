"""Instances and interfaces fold into workloads by what a fleet's members have in common: group, tags, name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.inventory.fields import Labels
from analyzers.inventory.model import Identity

SCALING_GROUP = "aws:autoscaling:groupName"
PURPOSE_TAGS = ("app.kubernetes.io/name", "app", "application", "service", "component", "role", "tier")
"""Tags that say what a machine is for, in the order in which they make its name; compared without regard to case."""


@dataclass(frozen=True, slots=True)
class Member:
    """One instance or interface that belongs to some workload."""

    id: str
    kind: str  # Instance, Interface
    network: str
    tags: Labels
    description: str = ""  # what names it when tags don't
    groups: tuple[str, ...] = ()  # security groups: interfaces of one description but other groups do other work


_Fold = tuple[str, str, str, Labels, tuple[str, ...]]  # kind, network, name, own tags, what else tells folds apart


def fold(members: Sequence[Member]) -> dict[tuple[str, str], Identity]:
    """(network, member id) -> workload. A scaling group is one workload; else all that share a distinct tag set.

    Tags `Name` and `aws:*` are each machine's own and take no part, unless no tag says what the machine is for: then
    its `Name` does, so that two machines that only share an owner or a cost centre stay two workloads. Where several
    workloads of a network would have one name, the tags in which they differ are added to it.
    """
    folds: dict[_Fold, list[Member]] = {}
    for member in members:
        folds.setdefault(_fold_of(member), []).append(member)
    labels = {key: _common(group) for key, group in folds.items()}
    names = _distinct_names(folds, labels)
    return {
        (member.network, member.id): Identity(key[0], "", names[key], key[1], labels[key])
        for key, group in folds.items()
        for member in group
    }


def own_tags(tags: Labels) -> Labels:
    """The tags without `Name` and those that AWS sets."""
    return tuple((key, value) for key, value in tags if key != "Name" and not key.startswith("aws:"))


def _fold_of(member: Member) -> _Fold:
    tags = dict(member.tags)
    own = own_tags(member.tags)
    if tags.get(SCALING_GROUP):
        return member.kind, member.network, tags[SCALING_GROUP], (), ("scaling group",)
    lowered = {key.lower(): value for key, value in sorted(own, reverse=True)}  # App before app: the first one wins
    purpose = "-".join(dict.fromkeys(lowered[key] for key in PURPOSE_TAGS if lowered.get(key)))
    if purpose:
        return member.kind, member.network, purpose, own, ()
    name = tags.get("Name") or member.description
    if name:
        return member.kind, member.network, name, own, () if tags.get("Name") else member.groups
    return member.kind, member.network, member.id, own, (member.id,)


def _common(members: list[Member]) -> Labels:
    return tuple(sorted(set.intersection(*(set(own_tags(member.tags)) for member in members))))


def _distinct_names(folds: dict[_Fold, list[Member]], labels: dict[_Fold, Labels]) -> dict[_Fold, str]:
    by_name: dict[tuple[str, str, str], list[_Fold]] = {}
    for key in sorted(folds):
        by_name.setdefault(key[:3], []).append(key)
    names = {}
    for (_, _, name), keys in by_name.items():
        if len(keys) == 1:
            names[keys[0]] = name
            continue
        shared = set.intersection(*(set(labels[key]) for key in keys))
        longer = {key: "-".join([name, *(v for k, v in labels[key] if (k, v) not in shared and v)]) for key in keys}
        if len(set(longer.values())) < len(keys):
            longer = {key: "-".join([longer[key], *key[4]]) for key in keys}
        taken: dict[str, int] = {}
        for key in keys:
            taken[longer[key]] = taken.get(longer[key], 0) + 1
        for key in keys:  # the smallest id as a last resort: it is the only thing left that differs
            names[key] = longer[key] if taken[longer[key]] == 1 else f"{longer[key]}-{min(m.id for m in folds[key])}"
    return names
