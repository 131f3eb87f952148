"""Pods fold into the workload that makes them: Deployment through ReplicaSet, CronJob through Job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from analyzers.inventory.fields import Fields, Labels
from analyzers.inventory.kubernetes_objects import WORKLOAD_KINDS, KubernetesObject, Owner
from analyzers.inventory.model import Identity

_BETWEEN = frozenset(("ReplicaSet", "ReplicationController", "Job"))
"""Kinds that are themselves made by something longer-lived."""
_RUN = re.compile(r"(.+)-\d+\Z")
"""A CronJob names its Jobs after itself and the scheduled minute (kubernetes pkg/controller/cronjob, getJobName)."""
TEMPLATE_HASH = "pod-template-hash"

Key = tuple[str, str, str, str]
"""(network, kind, namespace, name) of a workload."""


class Ownership:
    """Which workload each pod belongs to. Asks the objects first and names only where an object is missing."""

    def __init__(self, objects: Iterable[KubernetesObject]) -> None:
        self._objects: dict[Key, KubernetesObject] = {}
        self._templates: dict[Key, Labels] = {}
        self._members: dict[Key, set[Labels]] = {}  # labels of its pods
        self._makers: dict[Key, set[Labels]] = {}  # template labels of the ReplicaSets and Jobs in between
        pods = []
        for one in objects:
            if one.kind == "Pod":
                pods.append(one)
            elif one.kind in WORKLOAD_KINDS or one.template.value:
                self._objects[one.network, one.kind, one.namespace, one.name] = one
        self._tops = {self._top(key) for key in self._objects}
        for key, one in self._objects.items():
            if not one.template.value:
                one.fields.wrong("spec.template", "the pod template is missing")
                continue
            labels = one.template.map("metadata").labels("labels")
            top = self._top(key)
            if top == key:
                self._templates[key] = labels
            else:
                self._makers.setdefault(top, set()).add(labels)
        for pod in pods:
            self._members.setdefault(self.key(pod), set()).add(pod.labels)

    def key(self, pod: KubernetesObject) -> Key:
        """The workload of a pod."""
        owner = pod.owner
        if owner is None:
            return pod.network, "Pod", pod.namespace, pod.name
        if owner.kind == "Node":  # a static pod's mirror: `name-node`, one for each node
            node = owner.name
            return pod.network, "Pod", pod.namespace, pod.name.removesuffix(f"-{node}") or pod.name
        key = (pod.network, owner.kind, pod.namespace, owner.name)
        if key in self._objects:
            return self._top(key)
        if owner.kind == "ReplicaSet":
            template_hash = dict(pod.labels).get(TEMPLATE_HASH, "")
            if template_hash and owner.name.endswith(f"-{template_hash}"):
                return pod.network, "Deployment", pod.namespace, owner.name.removesuffix(f"-{template_hash}")
        return self._by_run(key)

    def identities(self) -> dict[Key, Identity]:
        """All workloads: those with a template, and those only their pods tell of."""
        keys = self._tops | self._members.keys()
        return {key: Identity(key[1], key[2], key[3], key[0], self._labels(key)) for key in keys}

    def host_network(self) -> list[Key]:
        """Workloads whose template puts their pods into the node's network."""
        return [k for k in self._templates if self._objects[k].template.map("spec").flag("hostNetwork")]

    def templates(self) -> Iterator[tuple[Key, Fields]]:
        """The pod template of every workload that has one."""
        for key in sorted(self._templates):
            yield key, self._objects[key].template

    def _labels(self, key: Key) -> Labels:
        """The template's labels; without a template, what all pods (or else all makers' templates) have in common."""
        if key in self._templates:
            return self._templates[key]
        seen = self._members.get(key) or self._makers.get(key) or {()}
        return tuple(sorted(set.intersection(*(set(labels) for labels in seen))))

    def _top(self, key: Key) -> Key:
        owner: Owner | None = self._objects[key].owner if key[1] in _BETWEEN else None
        if owner is not None:
            return key[0], owner.kind, key[2], owner.name
        return self._by_run(key) if key[1] == "Job" else key

    def _by_run(self, key: Key) -> Key:
        """The CronJob that a Job's name tells of, if there is one of that name; else the key itself."""
        match = _RUN.match(key[3]) if key[1] == "Job" else None
        cron_job = (key[0], "CronJob", key[2], match.group(1)) if match else key
        return cron_job if cron_job in self._objects else key
