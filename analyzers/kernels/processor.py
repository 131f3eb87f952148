"""What the processor can do, as the compiler says: asked once and remembered, because asking loads the compiler."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_CPUINFO = Path("/proc/cpuinfo")
_TELLING = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip
"""Lines of /proc/cpuinfo that tell processors apart, on x86 and on ARM."""


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache, of which others see all or nothing; where it cannot be written, it is not."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        partial.write_bytes(content)
        partial.replace(path)


class Processor(NamedTuple):
    """Name and extensions."""

    name: str
    features: tuple[str, ...]


@functools.cache
def release_of(package: str) -> bytes:
    """What tells one release of a package from another, without importing it."""
    found = find_spec(package)
    return b"" if found is None or not found.origin else Path(found.origin).with_name("_version.py").read_bytes()


def this_processor(remembered: Path | None) -> Processor:
    """The processor that this runs on. `remembered`: the directory where the answer is kept."""
    identity = _identity()
    if remembered is None or identity is None:
        return _ask()
    path = remembered / f"processor-{hashlib.sha256(identity + release_of('llvmlite')).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        return Processor(str(kept["name"]), tuple(map(str, kept["features"])))
    found = _ask()
    keep(path, json.dumps(found._asdict()).encode())
    return found


def _ask() -> Processor:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return Processor(binding.get_host_cpu_name(), tuple(sorted(name for name, there in features.items() if there)))


def _identity() -> bytes | None:
    """What the system says of the first processor; None: nothing."""
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as lines:  # each processor costs the system time
            first = itertools.takewhile(str.strip, lines)
            told = sorted(line for line in first if line.split(":")[0].strip() in _TELLING)
    except OSError:
        return None
    return "".join(told).encode() if told else None
