"""Ways to print pairs: one file each, found by name; each has `lines(pairs)`, the lines of the output."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from policygen.verify.reachability import Pair


class ReachFormat(Protocol):
    """What a module here offers."""

    def lines(self, pairs: Iterable[Pair]) -> Iterator[str]:
        """The output, line by line: there may be millions."""


def printer(name: str) -> ReachFormat:
    """The module of a format."""
    return cast(ReachFormat, importlib.import_module(f"{__name__}.{name}"))
