"""Ways to print a difference: one file each, found by name; each has `lines(diff)`, the lines of the output."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol, cast

from flowctl.diffing import Diff
from policygen.verify.differences import Change, Witness
from policygen.verify.evaluate import Verdict


class DiffFormat(Protocol):
    """What a module here offers."""

    def lines(self, diff: Diff) -> Iterator[str]:
        """The output, line by line."""


def printer(name: str) -> DiffFormat:
    """The module of a format."""
    return cast(DiffFormat, importlib.import_module(f"{__name__}.{name}"))


def witness_text(witness: Witness) -> str:
    """The packet, what it meets on either side, and why."""
    return f"{witness}; before {witness.before}; after {witness.after}"


def change_record(change: Change) -> dict[str, Any]:
    """A change as JSON has it."""
    return {
        "kind": change.kind,
        "source": str(change.source),
        "destination": str(change.destination),
        "before": str(change.before),
        "after": str(change.after),
        "opened": str(change.opened),
        "closed": str(change.closed),
        "workloads": change.workloads,
        "some_pods_only": change.partly,
        "witnesses": [_witness_record(witness) for witness in change.witnesses],
    }


def _witness_record(witness: Witness) -> dict[str, Any]:
    return {
        "protocol": witness.protocol,
        "source": witness.source,
        "source_address": witness.source_address,
        "source_port": witness.source_port,
        "destination": witness.destination,
        "destination_address": witness.destination_address,
        "destination_port": witness.port,
        "before": verdict_record(witness.before),
        "after": verdict_record(witness.after),
    }


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON has it."""
    return {
        "allowed": verdict.allowed,
        "undefined": verdict.undefined,
        "path": list(verdict.path),
        "rules": [str(rule) for rule in verdict.rules],
        "doubts": list(verdict.doubts),
    }
