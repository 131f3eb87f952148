"""What one benchmark module hands back."""

from __future__ import annotations

from typing import NamedTuple


class Result(NamedTuple):
    """Markdown lines of a section, and a line for each "must" that was not reached."""

    lines: list[str]
    broken: list[str]
