"""What a bench module gives back."""

from __future__ import annotations

from typing import NamedTuple


class Result(NamedTuple):
    """`lines`: markdown of the section; `broken`: one line for each promise that this run did not keep."""

    lines: list[str]
    broken: list[str]
