"""Findings and checks as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from policygen.lint.case import Case


class Severity(IntEnum):
    """How bad. ERROR: it does not do what it says, whatever was meant. NOTE: nothing breaks."""

    ERROR = 0
    WARNING = 1
    NOTE = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """A rewrite that keeps the meaning in every cluster: take out what is at `path` of the object; "": all of it."""

    path: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in one place.

    `path` is the object path (`spec.egress[0].to[1]`), "" for the whole object; `origin` the file and document as the
    policy's reader gives them. `proof` names the containing policy, or a witness that can be looked up.
    """

    policy: str  # shop/web, ClusterNetworkPolicy deny-all, vpc-1/sg-1
    origin: str
    path: str
    message: str
    proof: str
    advice: str = ""
    severity: Severity | None = None  # None: the check's own
    removal: Removal | None = None


class Check(Protocol):
    """What a module of policygen.lint.checks offers; its file name with dashes is the check's id."""

    DOC: str  # one line: what is found
    SEVERITY: Severity
    NEEDS_INVENTORY: bool  # without pods in the inventory the check says nothing

    def find(self, case: Case) -> Iterable[Finding]:
        """Every finding, in any order."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A finding with the check that made it."""

    check: str
    severity: Severity
    finding: Finding


@dataclass(frozen=True)
class LintReport:
    """All findings, worst first, then by place. `skipped`: checks that could not be made, with the reason."""

    findings: tuple[Reported, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    policies: int = 0

    def count(self, severity: Severity) -> int:
        """How many findings of one severity."""
        return sum(found.severity is severity for found in self.findings)
