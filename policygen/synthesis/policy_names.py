"""Names of policies: they follow the workload, and change only when the workload does."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from analyzers.inventory import Identity

MAX_LENGTH = 240
"""Kubernetes takes 253 characters; file systems take 255 bytes with the suffix."""

_UNFIT = re.compile(r"[^a-z0-9.-]+")
_EDGES = re.compile(r"[^a-z0-9]*\.[^a-z0-9]*")


def policy_names(workloads: Iterable[Identity]) -> dict[Identity, str]:
    """A DNS-1123 subdomain for each workload, unique in its namespace; all selectable workloads have to be given.

    The workload's own name; with its kind behind where two workloads share the name; with a digest of what it is where
    even that is taken.
    """
    by_namespace: dict[str, list[Identity]] = defaultdict(list)
    for workload in sorted(set(workloads)):
        by_namespace[workload.namespace].append(workload)
    return {w: name for group in by_namespace.values() for w, name in _names_in(group).items()}


def group_name(members: Sequence[Identity], names: Mapping[Identity, str]) -> str:
    """The name of one policy for several workloads (sorted): `api-and-worker`, `api-and-3-more`."""
    first = names[members[0]]
    name = f"{first}-and-{names[members[1]] if len(members) == 2 else f'{len(members) - 1}-more'}"
    taken = {n for w, n in names.items() if w.namespace == members[0].namespace}
    return _fit(name, members) if name not in taken else _fit(name, members, digest=True)


def _names_in(workloads: Sequence[Identity]) -> dict[Identity, str]:
    plain = {w: _sanitised(w.name) or _sanitised(w.kind) or "workload" for w in workloads}
    shared = Counter(plain.values())
    names = {w: _fit(plain[w], [w]) for w in workloads if shared[plain[w]] == 1}
    taken = set(names.values())
    with_kind = {w: f"{plain[w]}-{_sanitised(w.kind) or 'workload'}" for w in workloads if w not in names}
    clashing = Counter(with_kind.values())
    for workload, name in with_kind.items():
        unique = clashing[name] == 1 and name not in taken
        names[workload] = _fit(name, [workload], digest=not unique)
    return names


def _sanitised(text: str) -> str:
    """Lower case, what does not fit becomes '-', and each part between dots begins and ends with letter or digit."""
    return _EDGES.sub(".", _UNFIT.sub("-", text.lower())).strip("-.")


def _fit(name: str, members: Sequence[Identity], *, digest: bool = False) -> str:
    """The name, cut to length; with eight digits of a digest where it was cut or `digest` asks for it."""
    if len(name) <= MAX_LENGTH and not digest:
        return name
    what = "\n".join(f"{m.network}/{m.kind}/{m.namespace}/{m.name}/{sorted(m.labels)}" for m in members)
    tail = hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: MAX_LENGTH - 9].rstrip('-.')}-{tail}"
