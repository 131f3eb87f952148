"""Kernels as machine code: loaded without the compiler, or by its own loader; what is damaged is not run."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

from analyzers.kernels import jit, machine_code, processor
from analyzers.kernels.images import Image, NotAnImage
from analyzers.kernels.jit import Kernel
from analyzers.kernels.machine_code import MachineCode, Objects, take_apart
from analyzers.kernels.tables import NAME_WORDS, rehash_names

needs_the_jit = pytest.mark.skipif(not jit.JIT, reason="kernels are plain Python")


def names(count: int) -> np.ndarray:
    chance = np.random.default_rng(3)
    return chance.integers(0, 1 << 62, (count, NAME_WORDS), dtype=np.uint64)


def filled_by(code: MachineCode) -> np.ndarray:
    """The index that `rehash_names` makes."""
    index = np.zeros(256, np.uint32)
    rows = names(100)
    words = array("q")
    arguments = (rows, 100, index)
    take_apart(arguments, [], words)
    code(words)
    assert np.count_nonzero(index) == 100
    return index


def compiled() -> MachineCode:
    from analyzers.kernels.compiling import compiled as compile_now

    assert isinstance(rehash_names, Kernel)
    return compile_now(rehash_names, (names(1), 1, np.zeros(16, np.uint32)))


@needs_the_jit
def test_an_image_and_the_compilers_loader_run_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = compiled()

    def refused(_image: Image) -> None:
        raise NotAnImage("the system does not let memory be run that was written")

    with monkeypatch.context() as patched:
        patched.setattr(machine_code, "LoadedImage", refused)
        objects = compiled()
        assert isinstance(objects.code, Objects)
        image.write(tmp_path / "image")
        assert MachineCode.read(tmp_path / "image") is None or not isinstance(image.code, Image)
    objects.write(tmp_path / "objects")
    again = MachineCode.read(tmp_path / "objects")
    assert again is not None and isinstance(again.code, Objects)
    expected = filled_by(image)
    assert np.array_equal(expected, filled_by(objects)) and np.array_equal(expected, filled_by(again))
    kept = MachineCode.read(tmp_path / "image")
    assert kept is not None and np.array_equal(expected, filled_by(kept))


@needs_the_jit
def test_damaged_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "code"
    compiled().write(path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        path.write_bytes(damaged)
        assert MachineCode.read(path) is None


@needs_the_jit
@pytest.mark.skipif(sys.platform != "linux", reason="the processor is asked for each time")
def test_a_command_whose_kernels_are_kept_loads_no_compiler(tmp_path: Path) -> None:
    script = (
        "import sys; from analyzers.ingest.aggregate import aggregate; print(aggregate([sys.argv[1]])[1].records);"
        "print([m for m in ('numba', 'llvmlite', 'elftools') if m in sys.modules])"
    )
    log = tmp_path / "log"
    log.write_text("2 1 eni-1 10.0.0.1 10.0.0.2 40000 443 6 3 99 1700000000 1700000060 ACCEPT OK\n" * 9)
    told = [
        subprocess.run(
            [sys.executable, "-c", script, str(log)], capture_output=True, text=True, check=True, env=os.environ
        ).stdout.splitlines()
        for _ in range(2)
    ]
    assert told[1] == ["9", "[]"]


def test_the_processor_is_remembered_and_a_damaged_memory_of_it_is_not_believed(tmp_path: Path) -> None:
    found = processor.this_processor(tmp_path)
    assert found == processor.this_processor(None) == processor.this_processor(tmp_path)
    assert found.name and found.features
    for kept in tmp_path.iterdir():
        kept.write_text('{"name"')
    assert processor.this_processor(tmp_path) == found
