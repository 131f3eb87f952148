"""Questions and answers of `explain`, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from analyzers.flows import protocol_name
from analyzers.inventory import Inventory
from policygen.explain.ends import NamedEnd
from policygen.explain.near_miss import Miss, port_text
from policygen.model import AdminPolicy, AdminRule, Policy, PolicySet, Rule
from policygen.network_acls import NetworkAcl
from policygen.verify.evaluate import Direction, RuleRef
from policygen.verify.profiles import SPEC, CniProfile
from policygen.verify.security_groups import GroupMembership

Layer = Literal["Kubernetes", "security groups", "network ACLs"]


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule that was asked: whether it matches, and if not, what fails."""

    rule: RuleRef
    action: str  # Allow, Accept, Deny, Pass
    origin: str  # of its policy
    path: str  # spec.ingress[0]
    text: str  # its ports
    misses: tuple[Miss, ...] = ()

    @property
    def matches(self) -> bool:
        """Nothing fails."""
        return not self.misses


@dataclass(frozen=True, slots=True)
class DirectionView:
    """What one end says in one layer. `nearest`: the rules that allow and do not match, those that miss least first."""

    layer: Layer
    direction: Direction
    end: str
    allowed: bool
    steps: tuple[str, ...]
    rules: tuple[RuleView, ...] = ()
    nearest: tuple[RuleView, ...] = ()
    change: str = ""  # the smallest change that allows it; "" where it is allowed
    snippet: str = ""  # a rule that would, as YAML


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer for one pair of pods or addresses."""

    source: str
    destination: str
    protocol: int
    port: int
    allowed: bool
    undefined: bool
    views: tuple[DirectionView, ...]
    always: str = ""  # why nothing can stop it
    doubts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """allowed, denied or undefined."""
        return "allowed" if self.allowed else "undefined" if self.undefined else "denied"

    @property
    def port_text(self) -> str:
        """`TCP 5432`."""
        return f"{protocol_name(self.protocol)} {self.port}" if self.port else protocol_name(self.protocol)


@dataclass(frozen=True)
class Question:
    """Who asks for what, and what is known."""

    source: NamedEnd
    destination: NamedEnd
    protocol: int
    port: int | str  # a name is what the destination declares
    policies: PolicySet
    groups: PolicySet
    inventory: Inventory
    profile: CniProfile = SPEC
    acls: tuple[NetworkAcl, ...] = ()
    _membership: list[GroupMembership] = field(default_factory=list)

    @property
    def membership(self) -> GroupMembership:
        """Who carries which security groups; made once."""
        if not self._membership:
            self._membership.append(GroupMembership(self.groups, self.inventory))
        return self._membership[0]


def view_of(
    name: str, policy: Policy | AdminPolicy, direction: Direction, index: int, rule: Rule | AdminRule, action: str,
    misses: tuple[Miss, ...],
) -> RuleView:  # fmt: skip
    """One rule as it was asked."""
    ports = "every port" if rule.ports is None else ", ".join(map(port_text, rule.ports))
    return RuleView(RuleRef(name, direction, index), action, policy.origin, f"spec.{direction}[{index}]", ports, misses)


def distance(view: RuleView) -> tuple[int, RuleRef]:
    """How far a rule is from matching: what is easily changed counts less."""
    return sum({"peer": 3, "address": 2, "namespace": 2}.get(miss.part, 1) for miss in view.misses), view.rule
