"""np-guard's lines, which other tools read: `source => destination : connections`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policygen.verify.reachability import Pair


def lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """One line a pair."""
    for source, destination, connections in pairs:
        yield f"{source} => {destination} : {connections}"
