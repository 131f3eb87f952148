"""What a table of the benchmark document gives back."""

from __future__ import annotations

from typing import NamedTuple


class Result(NamedTuple):
    """`lines`: markdown of the section; `broken`: a line for each requirement that this run did not reach."""

    lines: list[str]
    broken: list[str]
