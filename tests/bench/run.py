"""`make bench`: every module in tests/bench/works, one table each, printed and written to docs/benchmarks.md.

A module has TITLE, ORDER (its place in the document) and run(repeats) -> Result. BENCH_WORKS=text,parquet runs only
some of them: the other sections of the document stay as they are.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from tests.bench import works
from tests.bench.result import Result

DOCUMENT = Path("docs/benchmarks.md")
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
TOLD = ("numba", "numpy", "duckdb", "polars", "pyarrow", "isal", "pyspark", "nfstream")


def machine() -> str:
    """What this was run on and with."""
    found = []
    for name in TOLD:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return f"Python {platform.python_version()}, {', '.join(found)}, {os.cpu_count()} cores."


def sections(text: str) -> dict[str, str]:
    """The document's sections by title."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def main() -> None:
    """Run the works, write the document; exits with 1 when a requirement was not reached."""
    chosen = os.environ.get("BENCH_WORKS", "")
    modules: list[ModuleType] = [
        importlib.import_module(f"{works.__name__}.{found.name}") for found in pkgutil.iter_modules(works.__path__)
    ]
    modules.sort(key=lambda module: module.ORDER)
    done = sections(DOCUMENT.read_text(encoding="utf-8")) if DOCUMENT.exists() else {}
    broken: list[str] = []
    text = ["# Benchmarks", "", f"Written by `make bench`. {machine()}", ""]
    for module in modules:
        if chosen and module.__name__.rpartition(".")[2] not in chosen.split(","):
            body = done.get(module.TITLE, "not run yet")
        else:
            print(f"## {module.TITLE}\n", flush=True)
            result: Result = module.run(REPEATS)
            body = "\n".join(result.lines).strip()
            print(body + "\n", flush=True)
            broken += [f"{module.TITLE}: {line}" for line in result.broken]
        text += [f"## {module.TITLE}", "", body, ""]
        DOCUMENT.write_text("\n".join(text), encoding="utf-8")
    for line in broken:
        print(f"not reached: {line}", file=sys.stderr)
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
