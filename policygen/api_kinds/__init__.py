"""The kinds of policies that are read, one module each, found by its file name.

A module has KIND, API_VERSION and `decode(document, origin) -> Decoded`; adding a kind is adding a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, Protocol, cast

from policygen.object_fields import Decoded


class ApiKind(Protocol):
    """What a module of this package offers."""

    KIND: str
    API_VERSION: str

    def decode(self, document: dict[str, Any], origin: str) -> Decoded:
        """The policy of one object, or why the API server would refuse it. Never raises."""


@cache
def api_kinds() -> dict[tuple[str, str], ApiKind]:
    """(apiVersion, kind) -> its module."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    found = [cast(ApiKind, module) for module in modules if hasattr(module, "KIND")]
    return {(one.API_VERSION, one.KIND): one for one in found}
