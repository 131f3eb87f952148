"""A kernel's machine code as it lies in memory, ready to be copied there: loading it needs nothing of the compiler.

The objects of the compiler's large code model refer to each other and to the C library by whole addresses alone, so
all that is left to do is to write these addresses.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64
_WHOLE_ADDRESS = {"EM_X86_64": 1, "EM_AARCH64": 257}
"""R_X86_64_64 and R_AARCH64_ABS64, from the processors' ELF supplements."""

_READ_AND_EXECUTE = mmap.PROT_READ | mmap.PROT_EXEC


class NotAnImage(Exception):
    """The objects need more than whole addresses, or the system does not let code be made."""


class Image(NamedTuple):
    """Sections one behind the other."""

    code: bytes
    entry: int  # where the kernel's function begins
    places: list[int]  # of addresses that point into the image: what stands there counts from its beginning
    outside: list[tuple[int, str]]  # places of addresses of functions of the C library


def linked(objects: list[bytes], entry: str) -> Image:
    """Objects as one image. Raises NotAnImage."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        files = [ELFFile(io.BytesIO(one)) for one in objects]
        return _linked(files, entry)
    except (ELFError, KeyError) as problem:
        raise NotAnImage(str(problem)) from problem


def _linked(files: list[Any], entry: str) -> Image:
    code = bytearray()
    bases: dict[tuple[int, int], int] = {}
    for number, file in enumerate(files):
        for index, section in enumerate(file.iter_sections()):
            flags = section["sh_flags"]
            if not flags & 2 or section.name == ".eh_frame":  # SHF_ALLOC; nothing is ever unwound
                continue
            if flags & 1:  # SHF_WRITE
                raise NotAnImage(f"{section.name} is written to")
            code += bytes(-len(code) % max(_ALIGNMENT, section["sh_addralign"]))
            bases[number, index] = len(code)
            code += section.data()
    symbols = {
        symbol.name: bases[number, symbol["st_shndx"]] + symbol["st_value"]
        for number, file in enumerate(files)
        for symbol in file.get_section_by_name(".symtab").iter_symbols()
        if (number, symbol["st_shndx"]) in bases and symbol.name
    }
    places: list[int] = []
    outside: list[tuple[int, str]] = []
    for number, file in enumerate(files):
        table = file.get_section_by_name(".symtab")
        for section in file.iter_sections():
            if section["sh_type"] != "SHT_RELA" or (number, section["sh_info"]) not in bases:
                continue
            for fix in section.iter_relocations():
                if fix["r_info_type"] != _WHOLE_ADDRESS[file["e_machine"]]:
                    raise NotAnImage(f"relocation of type {fix['r_info_type']}")
                place = bases[number, section["sh_info"]] + fix["r_offset"]
                symbol = table.get_symbol(fix["r_info_sym"])
                base = bases.get((number, symbol["st_shndx"]))
                target = symbols.get(symbol.name) if base is None else base + symbol["st_value"]
                if target is None:
                    outside.append((place, symbol.name))
                else:
                    places.append(place)
                code[place : place + 8] = (fix["r_addend"] + (target or 0)).to_bytes(8, "little")
    return Image(bytes(code), symbols[entry], places, outside)


class LoadedImage:
    """An image in memory that may be run but not written to; it stays as long as this does. Raises NotAnImage."""

    def __init__(self, image: Image) -> None:
        if sys.byteorder != "little":
            raise NotAnImage("bytes in another order")
        library = ctypes.CDLL(None)
        try:
            self._memory = mmap.mmap(-1, len(image.code), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            addresses = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for _, name in image.outside]
        except (OSError, AttributeError) as problem:
            raise NotAnImage(str(problem)) from problem
        self._memory[: len(image.code)] = image.code
        bytes_there: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        base = bytes_there.ctypes.data
        for place in image.places:
            _add(bytes_there, place, base)
        for (place, _), address in zip(image.outside, addresses, strict=True):
            _add(bytes_there, place, address)
        if library.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(bytes_there.size), _READ_AND_EXECUTE):
            raise NotAnImage("the system does not let memory be run that was written")
        self.entry = base + image.entry


def _add(code: NDArray[np.uint8], place: int, address: int) -> None:
    word = int.from_bytes(code[place : place + 8].tobytes(), "little") + address
    code[place : place + 8] = np.frombuffer(word.to_bytes(8, "little"), np.uint8)
