"""Platforms that policies can be written for: one file each in `platforms`, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from policygen.model import PolicySet
from policygen.targets import platforms


class Inexpressible(ValueError):
    """Policies that the platform cannot express or would refuse. `problems`: one line each, object and reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Target(Protocol):
    """What every module in `platforms` offers."""

    def render(self, policies: PolicySet) -> dict[str, str]:
        """Relative path -> text of each file; the same policies give the same bytes. Raises Inexpressible."""


def names() -> tuple[str, ...]:
    """The platforms by the names that users give: `aws-sg`, `kubernetes`."""
    found = (m.name for m in pkgutil.iter_modules(platforms.__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def target(name: str) -> Target:
    """The platform of that name, imported only now. Raises ValueError for an unknown one, naming those there are."""
    if name not in names():
        raise ValueError(f"{name!r} is no target; there are {', '.join(names())}")
    return cast(Target, importlib.import_module(f"{platforms.__name__}.{name.replace('-', '_')}"))
