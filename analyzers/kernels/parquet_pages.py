"""Data pages of Parquet column chunks to values: page headers, levels, indices into dictionaries, plain values.

Parquet format, Encodings.md: PLAIN, RLE_DICTIONARY and the hybrid of runs and packed bits that levels and indices are
written in. Bytes come from files: nothing is read outside of a page, and what does not fit is told, never followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import bit_count, inlined, kernel, load32, load64

R_AT, R_STOP, R_LEFT, R_BIT, R_VALUE, R_WIDTH = range(6)
"""Words of a reader of runs (int64[RUN_WORDS]): next run and end of all in bytes; values left of the present run, which
begins at bit R_BIT of the page or, where that is -1, is R_VALUE again and again; bits of a value."""
RUN_WORDS = 6
LEVELS, VALUES = range(2)
"""Rows of the two readers of a page (int64[2, RUN_WORDS])."""

HEADER_FIELDS = 9
"""Side of the array of a page header's fields: [field, field of the struct in it, or 0]."""
DEEPEST = 4  # structs in structs; a page header has three

MASK32 = np.uint64(0xFFFF_FFFF)


@kernel
def read_page_header(chunk: Any, at: Any, stop: Any, depths: Any, fields: Any) -> Any:
    """Whole numbers of the page header (Thrift's compact protocol) at chunk[at] into `fields` -> where it ends, or -1.

    `fields` int64[HEADER_FIELDS, HEADER_FIELDS], `depths` int64[DEEPEST] as scratch; truth values are 1 and 0. What
    the header lacks stays as it is.
    """
    depth = 0
    depths[0] = 0
    while at < stop:
        head = np.int64(chunk[at])
        at += 1
        if head == 0:
            depth -= 1
            if depth < 0:
                return at
            continue
        kind = head & 15
        if head >> 4 == 0:
            at, number = variable(chunk, at, stop)
            if at < 0:
                return -1
            depths[depth] = (number >> 1) ^ -(number & 1)
        else:
            depths[depth] += head >> 4
        value = np.int64(0)
        if kind == 12:
            depth += 1
            if depth == DEEPEST:
                return -1
            depths[depth] = 0
            continue
        if kind == 1 or kind == 2:
            value = np.int64(2 - kind)
        elif kind == 3:
            at += 1
        elif kind >= 4 and kind <= 6:
            at, number = variable(chunk, at, stop)
            if at < 0:
                return -1
            value = (number >> 1) ^ -(number & 1)
        elif kind == 7:
            at += 8
        elif kind == 8:
            at, number = variable(chunk, at, stop)
            if at < 0 or number < 0 or number > stop - at:
                return -1
            at += number
        else:
            return -1
        outer = depths[0]
        inner = depths[1] if depth == 1 else 0
        if depth < 2 and outer >= 0 and outer < HEADER_FIELDS and inner >= 0 and inner < HEADER_FIELDS:
            fields[outer, inner] = value
    return -1


@kernel
def variable(page: Any, at: Any, stop: Any) -> Any:
    """(where it ends, or -1; value) of the variable-length number at page[at]."""
    value = np.int64(0)
    shift = 0
    while at < stop and shift < 63:
        byte = np.int64(page[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return at, value
        shift += 7
    return -1, value


@kernel
def next_run(page: Any, run: Any) -> Any:
    """Go to the next run; False where there is none or it does not fit into the page."""
    stop = run[R_STOP]
    at, header = variable(page, run[R_AT], stop)
    if at < 0 or header >> 1 == 0 or header >> 1 > 0x7FFF_FFFF:
        return False
    width = run[R_WIDTH]
    if header & 1 != 0:
        size = (header >> 1) * width
        run[R_LEFT] = (header >> 1) << 3
        run[R_BIT] = at << 3
    else:
        size = (width + 7) >> 3
        run[R_LEFT] = header >> 1
        run[R_BIT] = -1
        run[R_VALUE] = 0
        for byte in range(min(size, stop - at)):
            run[R_VALUE] |= np.int64(page[at + byte]) << (byte << 3)
    run[R_AT] = at + size
    return size <= stop - at


@inlined
def bits_at(page: Any, bit: Any) -> Any:
    """The 57 bits or more from `bit` on; those behind the end of the page are 0."""
    at = bit >> 3
    if at + 8 <= page.size:
        return load64(page, at) >> np.uint64(bit & 7)
    word = np.uint64(0)
    for byte in range(page.size - at):
        word |= np.uint64(page[at + byte]) << np.uint64(byte << 3)
    return word >> np.uint64(bit & 7)


@kernel
def add_bits(valid: Any, to: Any, word: Any, count: Any) -> None:
    """Append the lowest `count` (at most 32) bits of `word` to a bitmap that is 0 from bit `to` on."""
    word = (word & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))) << np.uint64(to & 7)
    for byte in range(((to & 7) + count + 7) >> 3):
        valid[(to >> 3) + byte] |= np.uint8((word >> np.uint64(byte << 3)) & np.uint64(255))


@kernel
def add_levels(page: Any, run: Any, n: Any, valid: Any, to: Any) -> Any:
    """Definition levels (0 null, 1 there) of the next n rows into the bitmap from bit `to` on -> how many are there.

    -1 where the page has no such levels.
    """
    present = np.int64(0)
    done = 0
    while done < n:
        if run[R_LEFT] == 0 and not next_run(page, run):
            return np.int64(-1)
        count = min(np.int64(n - done), run[R_LEFT])
        if run[R_BIT] < 0 and run[R_VALUE] > 1:
            return np.int64(-1)
        for start in range(0, count, 32):
            piece = min(count - start, 32)
            word = MASK32 if run[R_VALUE] == 1 else np.uint64(0)
            if run[R_BIT] >= 0:
                word = bits_at(page, run[R_BIT] + start)
            word &= (np.uint64(1) << np.uint64(piece)) - np.uint64(1)
            add_bits(valid, to + done + start, word, piece)
            present += np.int64(bit_count(word))
        if run[R_BIT] >= 0:
            run[R_BIT] += count
        run[R_LEFT] -= count
        done += count
    return present


@kernel
def unpack(page: Any, bit: Any, width: Any, n: Any, out: Any, to: Any) -> None:
    """Values of `width` (0 to 32) bits each, from `bit` on, into out[to : to + n] (int32)."""
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    done = 0
    while done < n and bit & 7 != 0:
        out[to + done] = np.int32(bits_at(page, bit) & mask)
        bit += width
        done += 1
    at = bit >> 3
    eights = (n - done) >> 3  # which take `width` bytes each
    if width > 28 or eights * width + 8 > page.size - at:
        eights = max(0, min(eights, (page.size - at - 8) // max(width, 1) - 1)) if width <= 28 else 0
    part = out[to + done : to + done + (eights << 3)]
    if width <= 16:
        unpack_fours(page, at, width, mask, part)
    else:
        unpack_pairs(page, at, width, mask, part)
    for i in range(done + (eights << 3), n):
        out[to + i] = np.int32(bits_at(page, bit + (i - done) * width) & mask)


@kernel
def unpack_fours(page: Any, at: Any, width: Any, mask: Any, out: Any) -> None:
    """Values of up to 16 bits, from the byte `at` on, into all of `out`: eight from two words."""
    one = np.uint64(width)
    two, three = one + one, one + one + one
    half = (width << 2) >> 3
    rest = np.uint64((width << 2) & 7)
    for eight in range(out.size >> 3):
        low = load64(page, at)
        high = load64(page, at + half) >> rest
        at += width
        place = np.uint64(eight << 3)
        out[place] = np.int32(low & mask)
        out[place + np.uint64(1)] = np.int32((low >> one) & mask)
        out[place + np.uint64(2)] = np.int32((low >> two) & mask)
        out[place + np.uint64(3)] = np.int32((low >> three) & mask)
        out[place + np.uint64(4)] = np.int32(high & mask)
        out[place + np.uint64(5)] = np.int32((high >> one) & mask)
        out[place + np.uint64(6)] = np.int32((high >> two) & mask)
        out[place + np.uint64(7)] = np.int32((high >> three) & mask)


@kernel
def unpack_pairs(page: Any, at: Any, width: Any, mask: Any, out: Any) -> None:
    """Values of up to 28 bits, from the byte `at` on, into all of `out`: two from a word."""
    one = np.uint64(width)
    for eight in range(out.size >> 3):
        for pair in range(4):
            bit = np.int64(pair * 2) * width
            word = load64(page, at + (bit >> 3)) >> np.uint64(bit & 7)
            place = np.uint64((eight << 3) + (pair << 1))
            out[place] = np.int32(word & mask)
            out[place + np.uint64(1)] = np.int32((word >> one) & mask)
        at += width


@kernel
def largest_of(values: Any) -> Any:
    """The largest of int32 values, taken as uint32."""
    largest = np.uint32(0)
    for i in range(values.size):
        value = np.uint32(values[i])
        largest = value if value > largest else largest
    return np.int64(largest)


@kernel
def dense_places(page: Any, run: Any, n: Any, size: Any, out: Any, to: Any) -> Any:
    """The next n indices into a dictionary of `size` entries into out[to : to + n]; False where there are no such."""
    done = 0
    while done < n:
        if run[R_LEFT] == 0 and not next_run(page, run):
            return False
        count = min(np.int64(n - done), run[R_LEFT])
        begin = to + done
        if run[R_BIT] < 0:
            if run[R_VALUE] >= size:
                return False
            out[begin : begin + count] = np.int32(run[R_VALUE])
        else:
            unpack(page, run[R_BIT], run[R_WIDTH], count, out, begin)
            run[R_BIT] += count * run[R_WIDTH]
            if largest_of(out[begin : begin + count]) >= size:
                return False
        run[R_LEFT] -= count
        done += count
    return True


@kernel
def expand(dense: Any, valid: Any, to: Any, out: Any) -> None:
    """Values of the rows that are there, in their order, to all rows of `out`, whose bits begin at bit `to` of `valid`.

    `dense` has one value more than are there; what is null gets any of them.
    """
    k = np.uint64(0)
    eights = out.size >> 3
    for eight in range(eights):
        bits = bits_at(valid, to + (eight << 3)) & np.uint64(255)
        row = np.uint64(eight << 3)
        if bits == np.uint64(255):
            for step in range(8):
                out[row + np.uint64(step)] = dense[k + np.uint64(step)]
            k += np.uint64(8)
            continue
        for step in range(8):
            out[row + np.uint64(step)] = dense[k]
            k += (bits >> np.uint64(step)) & np.uint64(1)
    for rest in range(eights << 3, out.size):
        out[rest] = dense[k]
        k += bits_at(valid, to + rest) & np.uint64(1)


@kernel
def there(page: Any, runs: Any, n: Any, optional: Any, valid: Any, to: Any) -> Any:
    """How many of the next n rows are not null, their bits in `valid` (which stays as it is without levels); or -1."""
    if not optional:
        return np.int64(n)
    return add_levels(page, runs[LEVELS], n, valid, to)


@kernel
def read_places(page: Any, runs: Any, optional: Any, valid: Any, to: Any, size: Any, dense: Any, out: Any) -> Any:
    """Places in a dictionary of `size` entries of the next rows into all of `out` -> whether the page has them.

    `dense` and `out`: int32, the first one larger.
    """
    n = out.size
    present = there(page, runs, n, optional, valid, to)
    if present == n:
        return dense_places(page, runs[VALUES], n, size, out, 0)
    if present < 0 or not dense_places(page, runs[VALUES], present, size, dense, 0):
        return False
    dense[present] = 0
    expand(dense, valid, to, out)
    return True


@kernel
def pick(dictionary: Any, places: Any, out: Any) -> None:
    """dictionary[place] of each place into `out`; nothing where the dictionary is empty."""
    if dictionary.size == 0:
        return
    for row in range(out.size):
        out[row] = dictionary[np.uint32(places[row])]


@kernel
def read_plain_numbers(page: Any, runs: Any, optional: Any, valid: Any, to: Any, dense: Any, out: Any) -> Any:
    """Plain numbers of the width of `out` (int32 or int64) into all of it -> whether the page has them.

    `dense`: of the same type, larger.
    """
    n = out.size
    present = there(page, runs, n, optional, valid, to)
    at = runs[VALUES, R_AT]
    size = present * out.itemsize
    if present < 0 or size > runs[VALUES, R_STOP] - at:
        return False
    runs[VALUES, R_AT] = at + size
    if present == n:
        plain_numbers(page, at, out)
        return True
    plain_numbers(page, at, dense[:present])
    expand(dense, valid, to, out)
    return True


@kernel
def plain_numbers(page: Any, at: Any, out: Any) -> None:
    """Numbers of the width of `out` from the byte `at` on into all of it."""
    if out.itemsize == 4:
        for i in range(out.size):
            out[i] = np.int32(load32(page, at + (i << 2)))
    else:
        for i in range(out.size):
            out[i] = np.int64(load64(page, at + (i << 3)))


@kernel
def plain_spans(page: Any, run: Any, n: Any, begins: Any, ends: Any, to: Any) -> Any:
    """Where the next n plain texts begin and end (int64[> to + n], from `to` on) -> whether the page has them."""
    at, stop = run[R_AT], run[R_STOP]
    for i in range(to, to + n):
        if stop - at < 4:
            return False
        size = np.int64(load32(page, at))
        at += 4
        if size > stop - at:
            return False
        begins[i] = at
        at += size
        ends[i] = at
    run[R_AT] = at
    return True


@kernel
def number_from(first: Any, out: Any) -> None:
    """first, first + 1 and so on into all of `out`."""
    for i in range(out.size):
        out[i] = np.int32(first + i)


@kernel
def read_plain_texts(
    page: Any, runs: Any, optional: Any, valid: Any, to: Any, size: Any, begins: Any, ends: Any, dense: Any, out: Any
) -> Any:
    """Plain texts of the next rows as new entries of a dictionary that has `size` -> how many there are now, or -1.

    Their spans come to begins[size:] and ends[size:], their places into all of `out`. `dense`: int32, larger.
    """
    n = out.size
    present = there(page, runs, n, optional, valid, to)
    if present < 0 or not plain_spans(page, runs[VALUES], present, begins, ends, size):
        return np.int64(-1)
    if present == n:
        number_from(size, out)
    else:
        number_from(size, dense[:present])
        expand(dense, valid, to, out)
    return np.int64(size + present)
