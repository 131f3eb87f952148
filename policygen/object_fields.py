"""Reading the fields of one API object as the API server does: strict about names and types, every refusal kept.

What all kinds of policies share: metadata, label selectors, CIDRs, port numbers. `null` counts as absent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from policygen.label_syntax import (
    dns_label_problem,
    dns_subdomain_problem,
    label_key_problem,
    label_value_problem,
)
from policygen.model import AdminPolicy, Policy, Requirement, Selector

_METADATA_FIELDS = (
    "annotations",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_ANNOTATIONS_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one field. `path` is the object path (`spec.ingress[0].from[1].ipBlock.cidr`)."""

    path: str
    reason: str


@dataclass
class Decoded:
    """What an object came to: the policy if the server would take it; why not; what is odd about it."""

    policy: Policy | AdminPolicy | None = None
    refusals: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)


def kind_of(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "mapping"}
    shown = "" if isinstance(value, list | dict) else f" {value!r}"
    return f"{names.get(type(value), type(value).__name__)}{shown}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What of an object's metadata is kept. `namespace` is `default` where it says none."""

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]


class ObjectFields:
    """Reads fields and notes what is wrong with them; a wrong field reads as absent, so that the rest is still seen."""

    def __init__(self) -> None:
        self.refusals: list[Finding] = []
        self.remarks: list[Finding] = []

    def decoded(self, policy: Policy | AdminPolicy) -> Decoded:
        """What came of it: the policy only where nothing was refused."""
        return Decoded(None if self.refusals else policy, self.refusals, self.remarks)

    def refuse(self, path: str, reason: str) -> None:
        self.refusals.append(Finding(path, reason))

    def remark(self, path: str, reason: str) -> None:
        self.remarks.append(Finding(path, reason))

    def mapping(self, value: object, path: str, known: Sequence[str] = ()) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(path, f"expected a mapping, got {kind_of(value)}")
            return {}
        for key in value:
            if known and key not in known:
                self.refuse(f"{path}.{key}".lstrip("."), f"unknown field; known are {', '.join(known)}")
        return value

    def items(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if value is None:
            return
        if not isinstance(value, list):
            self.refuse(path, f"expected a list, got {kind_of(value)}")
            return
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item

    def text(self, value: object, path: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            hint = "" if isinstance(value, list | dict) else "; quote it"
            self.refuse(path, f"expected a string, got {kind_of(value)}{hint}")
            return ""
        return value

    def check(self, problem: Callable[[str], str | None], value: str, path: str) -> None:
        if reason := problem(value):
            self.refuse(path, reason)

    def string_map(
        self, value: object, path: str, value_problem: Callable[[str], str | None] | None
    ) -> tuple[tuple[str, str], ...]:
        pairs: list[tuple[str, str]] = []
        for key, raw in self.mapping(value, path).items():
            place = f"{path}[{key!r}]"
            text = self.text(raw, place)
            # annotation keys are compared in lower case, label keys as they stand
            self.check(label_key_problem, key if value_problem else key.lower(), place)
            if value_problem:
                self.check(value_problem, text, place)
            pairs.append((key, text))
        return tuple(sorted(pairs))

    # -- metadata --------------------------------------------------------------------------------------------------

    def metadata(self, document: dict[str, Any], *, namespaced: bool) -> Metadata:
        self.mapping(document, "", ("apiVersion", "kind", "metadata", "spec", "status"))
        metadata = self.mapping(document.get("metadata"), "metadata", _METADATA_FIELDS)
        name = self.text(metadata.get("name"), "metadata.name")
        namespace = self.text(metadata.get("namespace"), "metadata.namespace")
        if name:
            self.check(dns_subdomain_problem, name, "metadata.name")
        elif not isinstance(metadata.get("name"), int | float | bool | list | dict):  # those were refused already
            self.refuse("metadata.name", "a name is required")
        if namespaced:
            namespace = namespace or "default"
            self.check(dns_label_problem, namespace, "metadata.namespace")
        elif namespace:
            self.refuse("metadata.namespace", "the kind is cluster-scoped: it has no namespace")
        labels = self.string_map(metadata.get("labels"), "metadata.labels", label_value_problem)
        annotations = self.string_map(metadata.get("annotations"), "metadata.annotations", None)
        if sum(len(k.encode(errors="replace")) + len(v.encode(errors="replace")) for k, v in annotations) > (
            _ANNOTATIONS_LIMIT
        ):
            self.refuse("metadata.annotations", f"more than {_ANNOTATIONS_LIMIT} bytes")
        return Metadata(name, namespace, labels, annotations)

    # -- selectors, CIDRs and ports --------------------------------------------------------------------------------

    def selector(self, value: object, path: str) -> Selector:
        selector = self.mapping(value, path, ("matchLabels", "matchExpressions"))
        labels = self.string_map(selector.get("matchLabels"), f"{path}.matchLabels", label_value_problem)
        expressions = tuple(
            self.requirement(item, place)
            for place, item in self.items(selector.get("matchExpressions"), f"{path}.matchExpressions")
        )
        return Selector(labels, expressions)

    def requirement(self, value: object, path: str) -> Requirement:
        requirement = self.mapping(value, path, ("key", "operator", "values"))
        key = self.text(requirement.get("key"), f"{path}.key")
        operator = self.text(requirement.get("operator"), f"{path}.operator")
        values: list[str] = []
        for place, item in self.items(requirement.get("values"), f"{path}.values"):
            values.append(self.text(item, place))
            self.check(label_value_problem, values[-1], place)
        self.check(label_key_problem, key, f"{path}.key")
        if operator in ("In", "NotIn"):
            if not values:
                self.refuse(f"{path}.values", f"must be specified when the operator is {operator}")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                self.refuse(f"{path}.values", f"may not be specified when the operator is {operator}")
        else:
            self.refuse(f"{path}.operator", f"{operator!r} is not a valid selector operator")
        return Requirement(key, operator, tuple(values))

    def cidr(self, value: object, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        before = len(self.refusals)
        text = self.text(value, path)
        if len(self.refusals) > before:
            return None
        try:
            if "/" not in text or not text.rpartition("/")[2].isdecimal():  # ipaddress takes netmasks and no prefix
                raise ValueError
            network = ipaddress.ip_network(text, strict=False)
            if network.version == 6 and ("%" in text or network.network_address.ipv4_mapped is not None):
                raise ValueError
        except ValueError:
            self.refuse(
                path, f"{text!r} is no CIDR, like 10.0.0.0/8 or 2001:db8::/32" if text else "a CIDR is required"
            )
            return None
        return network

    def port_number(self, value: object, path: str, expected: str) -> None:
        if type(value) is not int:  # not isinstance: true is an int
            self.refuse(path, f"expected {expected}, got {kind_of(value)}")
        elif not 1 <= value <= 65535:
            self.refuse(path, f"{value} must be between 1 and 65535")
