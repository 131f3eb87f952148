"""Ways to print a map: one file each, found by name; each has `show(observation)`, which writes to stdout."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from flowctl.observe import Observation


class MapFormat(Protocol):
    """What a module here offers."""

    def show(self, observation: Observation) -> None:
        """Write the map to stdout."""


def printer(name: str) -> MapFormat:
    """The module of a format."""
    return cast(MapFormat, importlib.import_module(f"{__name__}.{name}"))
