"""A JSON list of `{"src", "dst", "conn"}`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from policygen.verify.reachability import Pair


def lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """The list, one pair a line."""
    head = "["
    for source, destination, connections in pairs:
        yield head + json.dumps({"src": str(source), "dst": str(destination), "conn": str(connections)})
        head = ","
    yield "]" if head == "," else "[]"
