"""Selectors that survive: the fewest stable labels that select one workload's pods and no others of its namespace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations
from math import comb
from operator import or_

from analyzers.inventory import Identity, Inventory
from policygen.model import EVERYTHING, Requirement, Selector
from policygen.synthesis.label_stability import Stability, preference, stability

_COMBINATIONS = 20_000
"""Sets of one size that are tried one by one; where there are more of them, the search turns greedy."""


@dataclass(frozen=True, slots=True)
class SelectorChoice:
    """How to select one workload.

    `over_selected` names the foreign pods that `selector` matches as well (`template of ...` where no pod is known),
    `over_selected_workloads` whose they are. `usable` False: it has no label to be selected by, `selector` is
    everything, and no policy can be its own; `as_peer` is then the narrowest that covers it where others meet it.
    """

    selector: Selector
    exact: bool
    over_selected: tuple[str, ...] = ()
    usable: bool = True
    over_selected_workloads: tuple[Identity, ...] = ()
    version_labels: tuple[str, ...] = ()  # keys in `selector` that change with a release
    as_peer: Selector = EVERYTHING


def choose_selector(workload: Identity, inventory: Inventory) -> SelectorChoice:
    """The choice for one workload; SelectorChooser is the same for many."""
    return SelectorChooser(inventory, (workload,)).choose(workload)


class SelectorChooser:
    """All selectors of an inventory. `extra` are workloads that the inventory itself does not list."""

    def __init__(self, inventory: Inventory, extra: Iterable[Identity] = ()) -> None:
        endpoints: dict[Identity, list[tuple[str, tuple[tuple[str, str], ...]]]] = defaultdict(list)
        on_host: set[Identity] = set()
        for endpoint in inventory.endpoints:
            if endpoint.policy_subject:
                endpoints[endpoint.workload].append((f"{endpoint.namespace}/{endpoint.name}", endpoint.labels))
            elif endpoint.host_network:
                on_host.add(endpoint.workload)
        self._populations: dict[str, _Population] = defaultdict(_Population)
        for workload in sorted({*inventory.workloads, *endpoints, *extra}):
            if not workload.namespace or (workload in on_host and workload not in endpoints):
                continue  # pods on the host's network are selected by no policy
            population = self._populations[workload.namespace]
            population.add(workload, workload.labels, "")
            for name, labels in sorted(endpoints[workload]):
                population.add(workload, labels, name)
        self._chosen: dict[Identity, SelectorChoice] = {}

    def choose(self, workload: Identity) -> SelectorChoice:
        """The choice for a workload with a namespace. Raises KeyError for one that was never given."""
        if workload not in self._chosen:
            self._chosen[workload] = self._populations[workload.namespace].choose(workload)
        return self._chosen[workload]


@dataclass(frozen=True, slots=True)
class _Atom:
    """One condition that all own pods meet, with the rows it excludes, as a bit mask."""

    requirement: Requirement | tuple[str, str]
    excludes: int
    positive: bool  # asks for a value to be there; at least one such condition has to be in a selector

    @property
    def key(self) -> str:
        return self.requirement.key if isinstance(self.requirement, Requirement) else self.requirement[0]


@dataclass
class _Population:
    """The distinct label sets of one namespace, as rows; sets of rows are bit masks."""

    rows: dict[tuple[Identity, tuple[tuple[str, str], ...]], int] = field(default_factory=dict)
    names: list[list[str]] = field(default_factory=list)  # pods by row; a template has none
    owners: list[Identity] = field(default_factory=list)
    own: dict[Identity, int] = field(default_factory=lambda: defaultdict(int))
    labels: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    with_value: dict[str, dict[str, int]] = field(default_factory=dict)  # key -> value -> rows
    with_key: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, workload: Identity, labels: tuple[tuple[str, str], ...], pod: str) -> None:
        """One pod, or a template when `pod` is empty. Volatile labels are forgotten here, once for all."""
        kept = tuple(sorted((k, v) for k, v in labels if stability(k, v) is not Stability.VOLATILE))
        row = self.rows.setdefault((workload, kept), len(self.names))
        if row == len(self.names):
            self.names.append([])
            self.owners.append(workload)
            self.labels.append(kept)
            for key, value in kept:
                values = self.with_value.setdefault(key, {})
                values[value] = values.get(value, 0) | 1 << row
                self.with_key[key] |= 1 << row
        self.own[workload] |= 1 << row
        if pod:
            self.names[row].append(pod)

    def choose(self, workload: Identity) -> SelectorChoice:
        if workload not in self.own:
            raise KeyError(str(workload))
        own = self.own[workload]
        others = ((1 << len(self.names)) - 1) & ~own
        labels = self._equalities(own, Stability.STABLE)
        hard = others & ~_union(labels)
        expressions = self._expressions(own, hard, Stability.STABLE)
        versions = self._equalities(own, Stability.VERSION) + self._expressions(own, hard, Stability.VERSION)
        positive = any(a.positive for a in labels + expressions)
        if not positive and not others:
            return SelectorChoice(EVERYTHING, exact=True)
        if not positive:
            narrow = _selector(_smallest(expressions, others & _union(expressions), anchored=False))
            names, whose = self._named(others)
            return SelectorChoice(EVERYTHING, False, names, False, whose, (), narrow)
        for atoms in (labels, _ordered(labels + expressions), _ordered(labels + expressions) + _ordered(versions)):
            if others & ~_union(atoms) == 0 and any(a.positive for a in atoms):
                chosen = _smallest(atoms, others)
                dated = tuple(sorted({a.key for a in chosen if stability(a.key, "") is Stability.VERSION}))
                selector = _selector(chosen)
                return SelectorChoice(selector, exact=True, version_labels=dated, as_peer=selector)
        atoms = _ordered(labels + expressions)
        reachable = others & _union(atoms)
        selector = _selector(_smallest(atoms, reachable))
        names, whose = self._named(others & ~reachable)
        return SelectorChoice(selector, False, names, True, whose, (), selector)

    def _equalities(self, own: int, wanted: Stability) -> list[_Atom]:
        """Labels that every own pod and the template carry."""
        first = (own & -own).bit_length() - 1  # any own row will do: what it lacks, not all carry
        return _ordered(
            _Atom((key, value), ~self.with_value[key][value], positive=True)
            for key, value in self.labels[first]
            if own & ~self.with_value[key][value] == 0 and stability(key, value) is wanted
        )

    def _expressions(self, own: int, hard: int, wanted: Stability) -> list[_Atom]:
        """Conditions beyond equality, on the keys of the rows that equality leaves over; `app In (old, new)` always.

        Only values of those rows go into NotIn, so that a newcomer elsewhere in the namespace changes no selector.
        """
        found: list[_Atom] = []
        for key, mask in self.with_key.items():
            if stability(key, "") is not wanted or not mask & (own | hard):
                continue
            values = self.with_value[key]
            mine = sorted(v for v, m in values.items() if m & own)
            if own & ~mask == 0 and len(mine) > 1:
                union = reduce(or_, (values[v] for v in mine))
                found.append(_Atom(Requirement(key, "In", tuple(mine)), ~union, positive=True))
            elif own & mask == 0 and hard & mask:
                found.append(_Atom(Requirement(key, "DoesNotExist"), mask, positive=False))
            elif own & ~mask and hard & mask:
                foreign = sorted(v for v, m in values.items() if m & hard and not m & own)
                if foreign:
                    union = reduce(or_, (values[v] for v in foreign))
                    found.append(_Atom(Requirement(key, "NotIn", tuple(foreign)), union, positive=False))
        return _ordered(found)

    def _named(self, rows: int) -> tuple[tuple[str, ...], tuple[Identity, ...]]:
        """The pods of some rows, and their workloads."""
        picked = [row for row in range(len(self.names)) if rows >> row & 1]
        names = {
            name
            for row in picked
            for name in self.names[row] or [f"template of {self.owners[row].kind} {self.owners[row]}"]
        }
        return tuple(sorted(names)), tuple(sorted({self.owners[row] for row in picked}))


def _union(atoms: Iterable[_Atom]) -> int:
    return reduce(or_, (a.excludes for a in atoms), 0)


def _ordered(atoms: Iterable[_Atom]) -> list[_Atom]:
    """Equalities before `In` before the conditions that only exclude; by preference of their keys within."""

    def rank(atom: _Atom) -> tuple[bool, bool, tuple[int, str]]:
        return not atom.positive, isinstance(atom.requirement, Requirement), preference(atom.key)

    return sorted(atoms, key=rank)


def _smallest(atoms: Sequence[_Atom], target: int, *, anchored: bool = True) -> tuple[_Atom, ...]:
    """The fewest atoms, earlier ones first, that exclude all of `target`, which is known to be possible.

    `anchored`: one of them has to be positive. Exact as long as there are few enough sets to try, else greedy.
    """
    useful = list(_undominated(atoms, target))
    if not anchored and not target:
        return ()
    for size in range(1, len(useful) + 1):
        if comb(len(useful), size) > _COMBINATIONS:
            break
        for chosen in combinations(useful, size):
            if anchored and not any(a.positive for a in chosen):
                continue
            if target & ~_union(chosen) == 0:
                return chosen
    return _greedy(useful, target, anchored=anchored)


def _undominated(atoms: Sequence[_Atom], target: int) -> Iterator[_Atom]:
    """Leaves out atoms that exclude nothing beyond an earlier one: that one serves at least as well in any set."""
    kept: list[_Atom] = []
    for atom in atoms:
        mine = atom.excludes & target
        if not any(mine & ~k.excludes == 0 and k.positive >= atom.positive for k in kept):
            kept.append(atom)
            yield atom


def _greedy(atoms: Sequence[_Atom], target: int, *, anchored: bool) -> tuple[_Atom, ...]:
    """A small set, not always the smallest: takes what excludes most, then drops what turned out to be needless."""
    chosen: list[_Atom] = []
    left = target
    while left or (anchored and not any(a.positive for a in chosen)):
        pool = [a for a in atoms if a not in chosen and (a.positive or not anchored or chosen)]
        best = max(pool, key=lambda a: (a.excludes & left).bit_count())  # the earliest of equals
        chosen.append(best)
        left &= ~best.excludes
    for atom in reversed(list(chosen)):
        rest = [a for a in chosen if a is not atom]
        if target & ~_union(rest) == 0 and (not anchored or any(a.positive for a in rest)):
            chosen = rest
    return tuple(a for a in atoms if a in chosen)


def _selector(atoms: Iterable[_Atom]) -> Selector:
    chosen = [a.requirement for a in atoms]
    return Selector(
        tuple(sorted(a for a in chosen if not isinstance(a, Requirement))),
        tuple(sorted(a for a in chosen if isinstance(a, Requirement))),
    )
