"""What a module of tests.bench.works hands back."""

from __future__ import annotations

from typing import NamedTuple


class Result(NamedTuple):
    """`lines`: markdown of the section; `broken`: one line for each mark that this run did not reach."""

    lines: list[str]
    broken: list[str]
