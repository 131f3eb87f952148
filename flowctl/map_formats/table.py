"""The map as a table for people."""

from __future__ import annotations

from flowctl.observe import Observation
from flowctl.printing import print_map


def show(observation: Observation) -> None:
    """Write the map to stdout."""
    print_map(observation)
