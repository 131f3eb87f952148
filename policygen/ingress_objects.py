"""Ingress and OpenShift Route objects: which ports of which Services they bring in from outside.

networking.k8s.io/v1 Ingress (and the older v1beta1 spelling), route.openshift.io/v1 Route. A route to a Service in
another namespace does not exist in either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class EntryPoint:
    """A Service that is reached from outside through a controller. `port` None: all of its ports.

    `by_target`: the port is named as the Service's target (Routes), not as its own port (Ingresses).
    """

    namespace: str
    service: str
    port: int | str | None = None
    by_target: bool = False


def read_entry_points(documents: Iterable[object]) -> tuple[EntryPoint, ...]:
    """Those of all Ingresses and Routes in `documents`, lists opened; sorted, each once. What is malformed is nothing
    that a controller would serve, and is passed over."""
    found: set[EntryPoint] = set()
    for value in _opened(documents):
        metadata = _mapping(value.get("metadata"))
        namespace = metadata.get("namespace") or "default"
        spec = _mapping(value.get("spec"))
        group = str(value.get("apiVersion", "")).rpartition("/")[0]
        if not isinstance(namespace, str):
            continue
        if value.get("kind") == "Ingress" and group in ("networking.k8s.io", "extensions"):
            found.update(_ingress(namespace, spec))
        elif value.get("kind") == "Route" and group == "route.openshift.io":
            found.update(_route(namespace, spec))
    return tuple(sorted(found, key=lambda e: (e.namespace, e.service, str(e.port), e.by_target)))


def _opened(documents: Iterable[object]) -> Iterator[dict[str, Any]]:
    waiting = list(documents)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            items = value.get("items")
            if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
                waiting += items
            else:
                yield value


def _ingress(namespace: str, spec: dict[str, Any]) -> Iterator[EntryPoint]:
    backends = [spec.get("defaultBackend"), spec.get("backend")]
    for rule in _list(spec.get("rules")):
        http = _mapping(_mapping(rule).get("http"))
        backends += [_mapping(path).get("backend") for path in _list(http.get("paths"))]
    for backend in map(_mapping, backends):
        service = _mapping(backend.get("service"))
        port = _mapping(service.get("port"))
        yield from _entry(namespace, service.get("name"), port.get("number", port.get("name")))
        yield from _entry(namespace, backend.get("serviceName"), backend.get("servicePort"))


def _route(namespace: str, spec: dict[str, Any]) -> Iterator[EntryPoint]:
    port = _mapping(spec.get("port")).get("targetPort")
    for backend in map(_mapping, [spec.get("to"), *_list(spec.get("alternateBackends"))]):
        if backend.get("kind", "Service") == "Service":
            yield from _entry(namespace, backend.get("name"), port, by_target=True)


def _entry(namespace: str, service: object, port: object, *, by_target: bool = False) -> Iterator[EntryPoint]:
    if isinstance(service, str) and service:
        yield EntryPoint(namespace, service, port if isinstance(port, int | str) else None, by_target)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
