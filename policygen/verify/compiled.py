"""A PolicySet over units as arrays: the tables that kernels read, and the matrix of all answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policygen.kernels.cells import direction_cells, join_cells, reindex
from policygen.model import AdminPolicy, AdminRule, Policy, PolicySet, PortRange, Rule
from policygen.verify.connections import ConnectionSet
from policygen.verify.evaluate import DIRECTIONS, Direction, RuleRef, admin_rules_of, policy_name, rules_of
from policygen.verify.spaces import PortSpace
from policygen.verify.units import NamedPorts, PeerTable, Unit

_ACTIONS = {"Accept": 0, "Deny": 1, "Pass": 2}


class PortSets:
    """Interned sets of ports: equal sets have one number, and number 0 is the empty one."""

    def __init__(self, words: int) -> None:
        self.rows = np.zeros((1024, words), np.uint64)
        self.slots = np.zeros(4096, np.int32)
        self.used = np.zeros(1, np.int64)
        self.add(np.zeros(words, np.uint64))

    def add(self, bits: NDArray[np.uint64]) -> int:
        """The number of a set."""
        from policygen.kernels.cells import intern

        while (number := int(intern(bits, self.rows, self.slots, self.used))) < 0:
            self.grow()
        return number

    def grow(self) -> None:
        """Room for twice as many."""
        self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.slots = np.zeros(2 * len(self.slots), np.int32)
        reindex(self.rows, int(self.used[0]), self.slots)

    def __len__(self) -> int:
        return int(self.used[0])


@dataclass(frozen=True)
class DirectionTable:
    """The rules of one direction for every subject, in the order in which they are asked."""

    bounds: NDArray[np.int64]  # [units, 4]: begin of Admin, NetworkPolicy, Baseline entries, and the end
    isolated: NDArray[np.uint8]  # [units]
    entries: NDArray[np.int32]  # [n, 5]: covering set, port entry, action, policy, priority group
    rule: NDArray[np.int32]  # [n]: into `rules`
    rules: tuple[RuleRef, ...]


class CompiledPolicies:
    """Everything about a PolicySet that depends on the units but not on one flow."""

    def __init__(self, policies: PolicySet, units: list[Unit], peers: PeerTable, ports: PortSpace) -> None:
        self.ports = ports
        self._peers = peers
        self._units = units
        self._cover_numbers: dict[tuple[int, ...] | None, int] = {}
        self._cover_rows: list[NDArray[np.bool_]] = []
        self._spec_numbers: dict[tuple[PortRange, ...] | None, int] = {}
        self._specs: list[tuple[PortRange, ...] | None] = []
        kinds: dict[NamedPorts, int] = {(): 0}
        self.named = np.array([kinds.setdefault(unit.named, len(kinds)) for unit in units], np.int32)
        self._kinds = list(kinds)
        self.directions: dict[Direction, DirectionTable] = {d: self._direction(policies, d) for d in DIRECTIONS}
        self.covers = np.array(self._cover_rows, np.uint8).reshape(len(self._cover_rows), len(units))
        self.spec_row, self.port_rows = self._port_tables()
        self.sets = PortSets(ports.words)
        self.full = ports.full()
        self.full_number = self.sets.add(self.full)

    # -- tables --------------------------------------------------------------------------------------------------------

    def _direction(self, policies: PolicySet, direction: Direction) -> DirectionTable:
        count = len(self._units)
        rules: list[RuleRef] = []
        own: tuple[list[list[NDArray[np.int32]]], ...] = tuple([[] for _ in range(count)] for _ in range(3))
        isolated = np.zeros(count, np.uint8)
        admin = sorted(policies.admin, key=lambda p: (p.priority, p.kind, p.name))
        for number, policy in enumerate(admin):
            listed = admin_rules_of(policy, direction)
            chosen = self._peers.subjects(None, policy.subject.namespaces, policy.subject.pods)
            segment = 0 if policy.tier == "Admin" else 2
            self._place(
                rules, own[segment], chosen, self._admin_entries(policy, listed, number), direction, str(policy)
            )
        for number, local in enumerate(policies.policies):
            network = rules_of(local, direction)
            if network is None:
                continue
            chosen = self._peers.subjects(local.namespace, None, local.subject)
            isolated[chosen] = 1
            self._place(rules, own[1], chosen, self._entries(local, network, number), direction, policy_name(local))
        flat: list[NDArray[np.int32]] = []
        bounds = np.zeros((count, 4), np.int64)
        at = 0
        for unit in range(count):
            for segment in range(3):
                bounds[unit, segment] = at
                for block in own[segment][unit]:
                    flat.append(block)
                    at += len(block)
            bounds[unit, 3] = at
        joined = np.concatenate(flat) if flat else np.zeros((0, 6), np.int32)
        return DirectionTable(
            bounds,
            isolated,
            np.ascontiguousarray(joined[:, :5]),
            np.ascontiguousarray(joined[:, 5]),
            tuple(rules),
        )

    @staticmethod
    def _place(
        rules: list[RuleRef],
        own: list[list[NDArray[np.int32]]],
        chosen: NDArray[np.bool_],
        entries: list[tuple[int, int, int, int, int]],
        direction: Direction,
        name: str,
    ) -> None:
        """Give every chosen unit the policy's entries, and number its rules."""
        first = len(rules)
        rules += [RuleRef(name, direction, index) for index in range(len(entries))]
        if entries:
            block = np.array([(*entry, first + index) for index, entry in enumerate(entries)], np.int32)
            for unit in np.flatnonzero(chosen).tolist():
                own[unit].append(block)

    def _admin_entries(
        self, policy: AdminPolicy, rules: tuple[AdminRule, ...], number: int
    ) -> list[tuple[int, int, int, int, int]]:
        return [
            (self._cover(rule, "", True), self._spec(rule.ports), _ACTIONS[rule.action], number, policy.priority)
            for rule in rules
        ]

    def _entries(self, policy: Policy, rules: tuple[Rule, ...], number: int) -> list[tuple[int, int, int, int, int]]:
        return [(self._cover(rule, policy.namespace, False), self._spec(rule.ports), 0, number, 0) for rule in rules]

    def _cover(self, rule: Rule | AdminRule, namespace: str, admin: bool) -> int:
        """The number of the set of units that the rule's peers cover."""
        key: tuple[int, ...] | None = None
        if rule.peers is not None:
            key = tuple(sorted({self._peers.number(peer, namespace, admin=admin) for peer in rule.peers}))
        number = self._cover_numbers.get(key)
        if number is None:
            number = self._cover_numbers[key] = len(self._cover_rows)
            found = np.full(len(self._units), rule.peers is None)
            for peer in key or ():
                found |= self._peers.rows[peer]
            self._cover_rows.append(found)
        return number

    def _spec(self, ports: tuple[PortRange, ...] | None) -> int:
        number = self._spec_numbers.get(ports)
        if number is None:
            number = self._spec_numbers[ports] = len(self._specs)
            self._specs.append(ports)
        return number

    def _port_tables(self) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """(int32[port entries, kinds of named ports] into rows, uint64[rows, words])."""
        numbers: dict[bytes, int] = {}
        rows: list[NDArray[np.uint64]] = []
        table = np.zeros((max(len(self._specs), 1), len(self._kinds)), np.int32)

        def row(bits: NDArray[np.uint64]) -> int:
            number = numbers.setdefault(bits.tobytes(), len(rows))
            if number == len(rows):
                rows.append(bits)
            return number

        for number, spec in enumerate(self._specs):
            if spec is not None and any(isinstance(one.port, str) for one in spec):
                table[number] = [row(self.ports.covered(spec, kind)) for kind in self._kinds]
            else:
                table[number] = row(self.ports.covered(spec, ()))
        return table, np.array(rows, np.uint64).reshape(len(rows), self.ports.words)

    # -- answers -------------------------------------------------------------------------------------------------------

    def matrix(self) -> NDArray[np.int32]:
        """int32[units, units]: the number of the set of ports that pass from row to column."""
        egress = self._cells("egress", by_peer=True)
        ingress = self._cells("ingress", by_peer=False)
        ingress = np.ascontiguousarray(ingress.T)
        out = np.zeros_like(egress)
        sets, bits = self.sets, np.zeros(self.ports.words, np.uint64)
        memo_keys, memo_values = np.zeros(1 << 16, np.int64), np.full(1 << 16, -1, np.int32)
        row = 0
        while (
            row := int(
                join_cells(row, egress, ingress, sets.rows, sets.slots, sets.used, memo_keys, memo_values, bits, out)
            )
        ) < len(out):
            sets.grow()
        return out

    def _cells(self, direction: Direction, *, by_peer: bool) -> NDArray[np.int32]:
        table, count, words = self.directions[direction], len(self._units), self.ports.words
        out = np.zeros((count, count), np.int32)
        masks, memo_keys, memo_values = np.zeros(count, np.uint64), np.zeros(256, np.uint64), np.zeros(256, np.int32)
        bits, left, work = np.zeros(words, np.uint64), np.zeros(words, np.uint64), np.zeros((5, words), np.uint64)
        sets, row = self.sets, 0
        while (
            row := int(
                direction_cells(
                    row, by_peer, table.bounds, table.isolated, table.entries, self.covers, self.spec_row,
                    self.port_rows, self.named, self.full, self.full_number, sets.rows, sets.slots, sets.used, masks,
                    memo_keys, memo_values, bits, left, work, out,
                )
            )
        ) < count:  # fmt: skip
            sets.grow()
        return out

    def connections(self, numbers: Iterable[int]) -> ConnectionSet:
        """The union of numbered sets as a value."""
        bits = np.zeros(self.ports.words, np.uint64)
        for number in numbers:
            bits |= self.sets.rows[number]
        return self.ports.connections(bits)
