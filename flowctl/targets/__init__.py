"""What `generate` does for each platform: author, renderer, files on disk, judge. One file each, found by name.

Here and nowhere else author and judge meet; neither knows the other.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from flowctl.observe import Observation
from policygen.verify.replay import ReplayReport


@dataclass(frozen=True)
class GenerateOptions:
    """What a person decides about the policies."""

    out: Path
    default_deny: bool = False
    internet_sources: int = 16
    max_exact_addresses: int = 32


@dataclass(frozen=True)
class PolicyLine:
    """One line of the table of policies."""

    name: str  # namespace/name
    workloads: tuple[str, ...]
    ingress: int  # rules
    egress: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetResult:
    """What came out for one platform."""

    target: str
    files: tuple[str, ...] = ()  # relative to the output folder, sorted
    policies: tuple[PolicyLine, ...] = ()
    notes: tuple[tuple[str, str, str], ...] = ()  # kind, subject, detail
    errors: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    internet_facing: tuple[str, ...] = ()
    proof: ReplayReport = field(default_factory=ReplayReport)
    problems: tuple[str, ...] = ()  # what the judge could not read back


class Runner(Protocol):
    """What a module here offers."""

    def run(self, observation: Observation, options: GenerateOptions) -> TargetResult:
        """Write the files, read them back, replay every qualified flow through them."""


def names() -> tuple[str, ...]:
    """Target names as users type them."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))


def runner(name: str) -> Runner:
    """The module of a target."""
    return cast(Runner, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
