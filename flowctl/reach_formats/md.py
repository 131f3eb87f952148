"""A Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policygen.verify.reachability import Pair


def lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """One row a pair."""
    yield "| src | dst | conn |"
    yield "|---|---|---|"
    for pair in pairs:
        yield "| " + " | ".join(str(part).replace("|", "\\|") for part in pair) + " |"
