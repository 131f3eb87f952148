"""Where one JSON object ends and the next begins, in a stream that holds one after the other with or without breaks."""

from __future__ import annotations

from typing import Any

from analyzers.kernels.jit import kernel

DEPTH, IN_TEXT, ESCAPED, BEGIN = range(4)
STATE_WORDS = 4
QUOTE, BACKSLASH, OPEN, CLOSE = 34, 92, 123, 125
BLANK, COMMA, OPEN_LIST, CLOSE_LIST = 32, 44, 91, 93


@kernel
def object_end(buffer: Any, at: Any, stop: Any, state: Any) -> Any:
    """-> (position behind the next object that is complete at the top, -1: none yet; bytes that belong to none).

    Goes on at `at` with what `state` (int64[STATE_WORDS]) remembers: depth of braces, inside a text, after a
    backslash, where the present object began. Blanks, commas and the brackets of a list around the objects are no
    loss; other bytes outside of all objects are counted. Only complete JSON is promised to be cut at its ends.
    """
    lost = 0
    while at < stop:
        byte = buffer[at]
        if state[IN_TEXT] != 0:
            if state[ESCAPED] != 0:
                state[ESCAPED] = 0
            elif byte == BACKSLASH:
                state[ESCAPED] = 1
            elif byte == QUOTE:
                state[IN_TEXT] = 0
        elif byte == OPEN:
            if state[DEPTH] == 0:
                state[BEGIN] = at
            state[DEPTH] += 1
        elif state[DEPTH] == 0:
            if byte > BLANK and byte != COMMA and byte != OPEN_LIST and byte != CLOSE_LIST:
                lost += 1
        elif byte == QUOTE:
            state[IN_TEXT] = 1
        elif byte == CLOSE:
            state[DEPTH] -= 1
            if state[DEPTH] == 0:
                return at + 1, lost
        at += 1
    return -1, lost
