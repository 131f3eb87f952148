"""All that a set of policies lets through, exactly: the published shapes of the engine.

Pods that no policy tells apart are one class, addresses are cut at the borders of CIDRs, ports at the borders of
ranges; what remains are cells that have one answer each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from analyzers.inventory import Inventory
from policygen.model import PolicySet
from policygen.verify.connections import ConnectionSet
from policygen.verify.profiles import SPEC, CniProfile


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """An end of a pair: `shop/web[Deployment]`, or a range of addresses outside, `10.0.0.0-10.0.0.255[External]`."""

    name: str

    def __str__(self) -> str:
        return self.name


class Pair(NamedTuple):
    """What passes from `source` to `destination`."""

    source: Party
    destination: Party
    connections: ConnectionSet


class Reachability:
    """One set of policies over one inventory, compiled."""

    @classmethod
    def compile(cls, policies: PolicySet, inventory: Inventory, profile: CniProfile = SPEC) -> Reachability:
        """Fold the pods of `inventory` (and workloads that have none yet) into classes and decide every cell."""
        raise NotImplementedError

    def pairs(self) -> Iterator[Pair]:
        """Every ordered pair of distinct parties that is allowed anything, sorted by name."""
        raise NotImplementedError

    def connections(self, source: Party | str, destination: Party | str) -> ConnectionSet:
        """What passes between two parties. Raises KeyError for a name that is none."""
        raise NotImplementedError
