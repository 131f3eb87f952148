"""Kubernetes objects out of documents: lists opened, each object once, the newest of several copies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analyzers.inventory.facts import SourceDocument
from analyzers.inventory.fields import Fields, Labels, Notes

WORKLOAD_KINDS = frozenset(
    ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController")
)
_GROUPS = {"": "core", "apps": "apps", "extensions": "apps", "batch": "batch"}
_KNOWN = {
    "core": frozenset(("Pod", "Node", "Namespace", "Service", "ReplicationController")),
    "apps": frozenset(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")),
    "batch": frozenset(("Job", "CronJob")),
}
INVENTORY_KINDS = frozenset().union(*_KNOWN.values())
"""Kinds that say something here; others only do when they have a pod template."""
UNUSED = "objects say nothing an inventory needs and were not used"
"""How the reason of a note about a kind that is passed over ends."""
_CLUSTER_SCOPED = frozenset(("Node", "Namespace"))


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """One object with what every kind has. `kind` "" never occurs; unknown kinds are here when they have a template."""

    kind: str
    namespace: str
    name: str
    uid: str
    network: str
    version: int  # metadata.resourceVersion; -1 for a manifest
    created: int | None
    owner: Owner | None
    labels: Labels
    fields: Fields
    origin: str

    @property
    def spec(self) -> Fields:
        return self.fields.map("spec")

    @property
    def template(self) -> Fields:
        """The pod template; without fields where there is none."""
        spec = self.spec
        return (spec.map("jobTemplate").map("spec") if self.kind == "CronJob" else spec).map("template")


def collect(documents: Sequence[SourceDocument]) -> list[KubernetesObject]:
    """All objects that say something here, sorted; kinds that don't are counted in one note for each file."""
    copies: dict[tuple[str, ...], list[KubernetesObject]] = {}
    unknown: dict[str, tuple[Notes, dict[str, int]]] = {}
    for document in documents:
        for fields in _opened(document):
            found = _object(fields, document)
            if isinstance(found, KubernetesObject):
                identity = (found.uid,) if found.kind == "Pod" else ()  # one name, many pods one after another
                copies.setdefault((found.network, found.kind, found.namespace, found.name, *identity), []).append(found)
            elif found:
                kinds = unknown.setdefault(document.notes.file, (document.notes, {}))[1]
                kinds[found] = kinds.get(found, 0) + 1
    for notes, kinds in unknown.values():
        for kind, count in kinds.items():
            notes.add("", f"{kind} {UNUSED}", f"{count} of them")
    return [_newest(copies[key]) for key in sorted(copies)]


def _opened(document: SourceDocument) -> Iterator[Fields]:
    """The objects of a document; lists, also lists in lists, are opened."""
    where = document.where
    stack: list[tuple[object, str, str]] = [(document.value, where, "")]  # value, place, kind that its list implies
    while stack:
        value, place, implied = stack.pop()
        if isinstance(value, list):
            stack.extend((item, f"{place}[{i}]", "") for i, item in reversed(list(enumerate(value))))
            continue
        if not isinstance(value, dict):
            document.notes.add(place, "no Kubernetes object: expected a mapping")
            continue
        fields = Fields(value, place, document.notes)
        kind = fields.text("kind") or implied
        items = value.get("items")
        if kind.endswith("List") and isinstance(items, list):
            inside = f"{place}: items" if place else "items"
            stack.extend((item, f"{inside}[{i}]", kind[:-4]) for i, item in reversed(list(enumerate(items))))
        elif "kind" not in value and implied:
            yield Fields({"apiVersion": _implied_version(implied), **value, "kind": implied}, place, document.notes)
        else:
            yield fields


def _implied_version(kind: str) -> str:
    """Items of a typed list (PodList) leave out what the list's kind says."""
    return next((f"{group}/v1" if group != "core" else "v1" for group, kinds in _KNOWN.items() if kind in kinds), "")


def _object(fields: Fields, document: SourceDocument) -> KubernetesObject | str:
    """The object; or its kind when that is not used; or "" when it was noted as broken."""
    kind = fields.text("kind")
    if not kind:
        fields.notes.add(fields.where, "no Kubernetes object: kind is missing")
        return ""
    group = _GROUPS.get(fields.text("apiVersion").rpartition("/")[0])
    metadata = fields.map("metadata")
    name, namespace = metadata.text("name"), metadata.text("namespace")
    path = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    where = f"{fields.where}: {path}" if fields.where else path
    fields = Fields(fields.value, where, fields.notes)
    metadata = fields.map("metadata")
    if (group is None or kind not in _KNOWN[group]) and not _has_template(fields.value):
        return kind
    if not name:
        fields.notes.add(where, "metadata.name is missing, so the object was left out")
        return ""
    version = metadata.text("resourceVersion")
    return KubernetesObject(
        kind=kind,
        namespace="" if kind in _CLUSTER_SCOPED else namespace or "default",
        name=name,
        uid=metadata.text("uid"),
        network=document.network,
        version=int(version) if version.isascii() and version.isdigit() and len(version) < 30 else -1,
        created=metadata.time("creationTimestamp"),
        owner=_controller(metadata),
        labels=metadata.labels("labels"),
        fields=fields,
        origin=f"{document.notes.file}: {where}",
    )


def _has_template(value: object) -> bool:
    """Whether an object of any kind has a pod template at spec.template, as Argo Rollouts and many others do."""
    for key in ("spec", "template", "spec"):
        value = value.get(key) if isinstance(value, dict) else None
    return isinstance(value, dict) and isinstance(value.get("containers"), list)


def _controller(metadata: Fields) -> Owner | None:
    for reference in metadata.maps("ownerReferences"):
        if reference.flag("controller"):
            kind, name = reference.text("kind"), reference.text("name")
            if name:
                return Owner(
                    kind or "Pod", name
                )  # an owner of no kind is at least one owner: its pods are one workload
    return None


def _newest(copies: list[KubernetesObject]) -> KubernetesObject:
    """The copy observed last; between equals the choice depends on their content, never on the order of files."""
    if len(copies) == 1:
        return copies[0]

    def rank(copy: KubernetesObject) -> tuple[int, int, str]:
        return copy.version, -1 if copy.created is None else copy.created, json.dumps(copy.fields.value, sort_keys=True)

    best = max(rank(copy) for copy in copies)
    return min((copy for copy in copies if rank(copy) == best), key=lambda copy: copy.origin)
