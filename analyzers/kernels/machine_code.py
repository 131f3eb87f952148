"""Compiled kernels as they lie on disk, and how Python calls them.

The code of a kernel takes two arrays of int64: its arguments taken apart (an integer as it is, an array as the address
of its object, a tuple as its members), and the results to be, likewise. So it needs nothing of the compiler that made
it, whose import takes longer than most commands.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from analyzers.kernels.images import Image, LoadedImage, NotAnImage, linked
from analyzers.kernels.processor import keep

_CONTIGUOUS, _FORTRAN, _ALIGNED, _WRITEABLE = 0x1, 0x2, 0x100, 0x400  # as in numpy's ndarray.flags.num
_TYPED = _CONTIGUOUS | _FORTRAN | _ALIGNED | _WRITEABLE
_SIGNED = range(-(1 << 63), 1 << 63)
_MASK64 = (1 << 64) - 1

NOTHING, SIGNED, UNSIGNED, BOOLEAN = "none", "signed", "unsigned", "bool"
Results = str | list[Any]
"""What comes back: one of the words above, or a list of such for a tuple."""

_Native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)  # lets go of the GIL


class Kinds:
    """What tells the types of many arguments apart, as one that is compared in no time: there are no two alike."""

    __slots__ = ("each",)
    _known: ClassVar[dict[tuple[Any, ...], Kinds]] = {}

    def __init__(self, each: tuple[Any, ...]) -> None:
        self.each = each

    @classmethod
    def of(cls, each: Iterable[Any]) -> Kinds:
        """The one for these."""
        key = tuple(each)
        return cls._known.setdefault(key, cls(key))


def one_by_one(kinds: Iterable[Any]) -> tuple[Any, ...]:
    """Kinds as `take_apart` gives them for arguments that are not held."""
    return tuple(one for kind in kinds for one in (kind.each if isinstance(kind, Kinds) else (kind,)))


class Held:
    """A tuple of arrays that kernels are given again and again, taken apart once."""

    __slots__ = ("kinds", "value", "words")

    def __init__(self, value: tuple[Any, ...]) -> None:
        self.value = value
        self.words = array("q")
        kinds: list[Any] = []
        take_apart((value,), kinds, self.words)
        self.kinds = Kinds.of(kinds)


def take_apart(arguments: tuple[Any, ...], kinds: list[Any], words: array[int]) -> None:
    """Append to `kinds` what tells the arguments' types apart, and to `words` (of type "q") their int64 for the code.

    Raises TypeError for what kernels don't take. The caller holds the arguments while the words are in use.
    """
    for value in arguments:
        kind = type(value)
        if isinstance(value, np.ndarray):
            flags = value.flags.num & _TYPED
            kinds.append(value.dtype)
            kinds.append((value.ndim, flags & ~_FORTRAN if flags & _CONTIGUOUS else flags))
            words.append(id(value))
        elif kind is int:
            kinds.append(kind if value in _SIGNED else np.uint64)
            words.append(_signed(value))
        elif kind is bool:
            kinds.append(kind)
            words.append(value)
        elif kind is Held:
            kinds.append(value.kinds)
            words.extend(value.words)
        elif isinstance(value, tuple):
            kinds.append(kind)
            kinds.append(len(value))
            take_apart(value, kinds, words)
        elif isinstance(value, (np.integer, np.bool_)):
            kinds.append(kind)
            words.append(_signed(int(value)))
        else:
            raise TypeError(f"kernels take arrays, integers and tuples of them, not {kind.__name__}")


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    return value if value in _SIGNED else (value & _MASK64) - (1 << 64 if value & (1 << 63) else 0)


def _put_together(results: Results, words: Iterator[int]) -> Any:
    if isinstance(results, list):
        return tuple([_put_together(one, words) for one in results])
    if results == NOTHING:
        return None
    word = next(words)
    if results == BOOLEAN:
        return word != 0
    return word & _MASK64 if results == UNSIGNED else word


def _leaves(results: Results) -> int:
    return sum(map(_leaves, results)) if isinstance(results, list) else int(results != NOTHING)


class Objects(NamedTuple):
    """What the compiler made, for its own loader."""

    files: list[bytes]
    entry: str  # the kernel's function in them


class _LoadedObjects:
    def __init__(self, objects: Objects) -> None:
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_triple(binding.get_process_triple()).create_target_machine()  # the engine's own
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
        for one in objects.files:
            self._engine.add_object_file(binding.ObjectFileRef.from_data(one))
        self._engine.finalize_object()
        self.entry = self._engine.get_function_address(objects.entry)


class MachineCode:
    """A compiled kernel for one combination of argument types.

    results: see Results. The code looks nothing up outside of itself but what the C library has. Raises NotAnImage for
    an image that this system does not let run.
    """

    def __init__(self, name: str, code: Image | Objects, results: Results) -> None:
        self.name, self.code, self.results = name, code, results
        self._loaded = LoadedImage(code) if isinstance(code, Image) else _LoadedObjects(code)
        self._native = _Native(self._loaded.entry)
        self._room = ctypes.c_int64 * _leaves(results)

    @staticmethod
    def made_of(name: str, objects: Objects, results: Results) -> MachineCode:
        """As an image where that can be."""
        try:
            return MachineCode(name, linked(objects.files, objects.entry), results)
        except NotAnImage:
            return MachineCode(name, objects, results)

    def __call__(self, words: array[int]) -> Any:
        room = self._room()
        if self._native(words.buffer_info()[0], ctypes.addressof(room)):
            raise ZeroDivisionError(f"a division by zero in {self.name}")  # kernels raise nothing themselves
        return _put_together(self.results, iter(room))

    def write(self, path: Path) -> None:
        """Keep it in a file, for `read`; where that cannot be written, it is not."""
        head: dict[str, Any] = {"name": self.name, "results": self.results}
        if isinstance(self.code, Image):
            content, *head["image"] = self.code
        else:
            content = b"".join(self.code.files)
            head["objects"] = [[len(one) for one in self.code.files], self.code.entry]
        body = json.dumps(head).encode() + b"\n" + content
        keep(path, zlib.crc32(body).to_bytes(4, "little") + body)

    @staticmethod
    def read(path: Path) -> MachineCode | None:
        """What `write` has put there; None: nothing, not the whole of it, or nothing that can be run."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[4:]
        if zlib.crc32(body) != int.from_bytes(data[:4], "little") or not body:
            return None
        line = body.index(b"\n") + 1
        head = json.loads(body[:line])
        if "image" in head:
            with contextlib.suppress(NotAnImage):
                return MachineCode(head["name"], Image(body[line:], *head["image"]), head["results"])
            return None
        sizes, entry = head["objects"]
        ends = list(accumulate(sizes, initial=line))
        files = [body[begin:end] for begin, end in pairwise(ends)]
        return MachineCode(head["name"], Objects(files, entry), head["results"])
