"""Inventory formats, found by name: every module here that has `sniff` and `read` is one.

`sniff(value: object) -> bool` is offered the text of a file (a str) and, when no format claims that, each of its
documents; `read(documents: Sequence[SourceDocument]) -> Facts` gets all documents of all files that it claimed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from analyzers.inventory.facts import Facts, SourceDocument


class InventoryFormat(Protocol):
    """What a format module offers."""

    def sniff(self, value: object) -> bool:
        """Whether `value`, a file's text or a document, is of this format."""

    def read(self, documents: Sequence[SourceDocument]) -> Facts:
        """The facts of all documents. Order of documents changes nothing. Wrong things become notes, never raise."""


def formats() -> dict[str, InventoryFormat]:
    """All formats by name, in the order of their names."""
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {
        name: cast(InventoryFormat, module)
        for name, module in sorted(modules.items())
        if hasattr(module, "sniff") and hasattr(module, "read")
    }
