"""How an explanation is printed: one module a format, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from flowctl.linting import FindingPlaces
from flowctl.policy_sources import LoadedPolicies
from policygen.explain.values import Explanation


@dataclass(frozen=True)
class ExplainOutput:
    """Everything a format may show."""

    loaded: LoadedPolicies
    answers: Sequence[Explanation]
    places: FindingPlaces
    cni: str = "spec"


class ExplainFormat(Protocol):
    """What a module here offers."""

    def show(self, output: ExplainOutput) -> None:
        """Print to stdout."""


def names() -> tuple[str, ...]:
    """Format names as users type them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def printer(name: str) -> ExplainFormat:
    """The module of a format."""
    return cast(ExplainFormat, importlib.import_module(f"{__name__}.{name}"))
