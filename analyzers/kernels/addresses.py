"""IPv4 and IPv6 text to numbers, inside kernels."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.jit import dot_mask16, inlined, kernel, load32, trailing_zeros

BAD = np.uint64(1 << 63)
"""What the number parsers return for text that is none; no legal value reaches it."""

U0 = np.uint64(0)
U1 = np.uint64(1)
U2 = np.uint64(2)
U3 = np.uint64(3)
U4 = np.uint64(4)
U8 = np.uint64(8)
U16 = np.uint64(16)
U24 = np.uint64(24)
U32 = np.uint64(32)
BYTE = np.uint64(0xFF)
ZEROS4 = np.uint64(0x3030_3030)
NINES4 = np.uint64(0x7676_7676)
TOPS4 = np.uint64(0x8080_8080)
ONES4 = np.uint64(0xFFFF_FFFF)
MAPPED = np.uint64(0xFFFF_0000_0000)


@inlined
def octet(buffer: Any, end: Any, length: Any) -> Any:
    """Value of the `length` (1 to 3) digits that end at `end`, without leading zeros; 0 to 999, or BAD."""
    keep = (ONES4 << (U32 - (length << U3))) & ONES4
    value = (load32(buffer, end - 4) ^ ZEROS4) & keep
    wrong = ((value + NINES4) | value) & TOPS4
    leading = (value >> (U32 - (length << U3))) & BYTE
    if wrong != U0 or (leading == U0) & (length != U1):
        return BAD
    return (value >> U24) + ((value >> U16) & BYTE) * np.uint64(10) + ((value >> U8) & BYTE) * np.uint64(100)


@inlined
def ipv4(buffer: Any, start: Any, end: Any) -> Any:
    """The dotted quad buffer[start:end] as a number below 2^32; BAD for anything else. Reads 16 bytes from `start`."""
    length = np.uint64(end - start)
    if length - np.uint64(7) > U8:  # 7 to 15 characters
        return BAD
    dots = dot_mask16(buffer, start) & ((U1 << length) - U1)
    if dots == U0:
        return BAD
    first = trailing_zeros(dots)
    dots &= dots - U1
    if dots == U0:
        return BAD
    second = trailing_zeros(dots)
    dots &= dots - U1
    if dots == U0:
        return BAD
    third = trailing_zeros(dots)
    if dots & (dots - U1):
        return BAD
    length1 = second - first - U1
    length2 = third - second - U1
    length3 = length - third - U1
    if first - U1 > U2 or length1 - U1 > U2 or length2 - U1 > U2 or length3 - U1 > U2:
        return BAD
    a = octet(buffer, start + np.int64(first), first)
    b = octet(buffer, start + np.int64(second), length1)
    c = octet(buffer, start + np.int64(third), length2)
    d = octet(buffer, end, length3)
    if (a | b | c | d) > BYTE:
        return BAD
    return (a << U24) | (b << U16) | (c << U8) | d


@kernel
def hex_digit(character: Any) -> Any:
    """0 to 15, or -1."""
    if 48 <= character <= 57:
        return character - 48
    if 97 <= character <= 102:
        return character - 87
    if 65 <= character <= 70:
        return character - 55
    return -1


@kernel
def ipv6(buffer: Any, start: Any, end: Any) -> Any:
    """(hi, lo, ok) of the IPv6 text buffer[start:end] (RFC 4291, 2.2, with `::` and a dotted quad at the end)."""
    if end - start < 2 or end - start > 45:
        return U0, U0, False
    hi = U0
    lo = U0
    tail_hi = U0
    tail_lo = U0
    groups = 0
    after = -1  # groups before "::", once it was met
    at = start
    if buffer[at] == 58:
        if buffer[at + 1] != 58:
            return U0, U0, False
        after = 0
        at += 2
    while at < end:
        value = U0
        begin = at
        while at < end and hex_digit(np.int64(buffer[at])) >= 0 and at - begin < 4:
            value = (value << U4) | np.uint64(hex_digit(np.int64(buffer[at])))
            at += 1
        if at < end and buffer[at] == 46:
            quad = ipv4(buffer, begin, end)
            if quad == BAD or groups > 6:
                return U0, U0, False
            hi, lo = (hi << U32) | (lo >> U32), (lo << U32) | quad
            groups += 2
            at = end
            break
        if at == begin or groups == 8:
            return U0, U0, False
        hi, lo = (hi << U16) | (lo >> np.uint64(48)), (lo << U16) | value
        groups += 1
        if at == end:
            break
        if buffer[at] != 58 or at + 1 == end:
            return U0, U0, False
        at += 1
        if buffer[at] == 58:
            if after >= 0:
                return U0, U0, False
            after = groups
            tail_hi, tail_lo = hi, lo
            hi = U0
            lo = U0
            at += 1
    if after < 0:
        return hi, lo, groups == 8
    if groups > 7:
        return U0, U0, False
    # the groups before "::" move to the top, those behind it stay at the bottom
    for _ in range(8 - after):
        tail_hi, tail_lo = (tail_hi << U16) | (tail_lo >> np.uint64(48)), tail_lo << U16
    return hi | tail_hi, lo | tail_lo, True


@kernel
def parse_address(buffer: Any, start: Any, end: Any) -> Any:
    """(hi, lo, ok) of an IPv4 or IPv6 address; IPv4 comes out mapped."""
    for at in range(start, end):
        if buffer[at] == 58:
            return ipv6(buffer, start, end)
    quad = ipv4(buffer, start, end)
    if quad == BAD:
        return U0, U0, False
    return U0, MAPPED | quad, True


class QuadShapes(NamedTuple):
    """The 81 ways in which the digits of a dotted quad can be spread; number 0 is none of them."""

    numbers: NDArray[np.uint8]  # uint8[65536]: by 1 << position for each dot and for the end
    patterns: NDArray[np.uint8]  # uint8[82, 16]: which character goes where: units, tens, hundreds, 0 of each octet
    leading: NDArray[np.uint64]  # uint64[82]: positions where a 0 would be a leading one


def quad_shapes() -> QuadShapes:
    """The tables by which analyzers.kernels.columns takes dotted quads apart."""
    shapes = QuadShapes(np.zeros(65536, np.uint8), np.full((82, 16), 128, np.uint8), np.zeros(82, np.uint64))
    for number, lengths in enumerate(product((1, 2, 3), repeat=4), start=1):
        begin = key = leading = 0
        for octet_number, length in enumerate(lengths):
            for place in range(length):
                shapes.patterns[number, 4 * octet_number + place] = begin + length - 1 - place
            leading |= (1 << begin) if length > 1 else 0
            key |= 1 << (begin + length)
            begin += length + 1
        shapes.numbers[key] = number
        shapes.leading[number] = leading
    return shapes
