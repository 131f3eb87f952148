"""A Graphviz graph: one node a party, one edge a pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policygen.verify.reachability import Pair


def lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """Nodes are declared by their first edge."""
    yield "digraph reach {"
    for source, destination, connections in pairs:
        yield f"  {_quoted(source)} -> {_quoted(destination)} [label={_quoted(connections)}]"
    yield "}"


def _quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
