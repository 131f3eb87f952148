"""Records of a window of time: parsed rows that end outside of it are taken out before anything is made of them."""

from __future__ import annotations

from typing import Any

from analyzers.kernels.jit import kernel


@kernel
def keep_within(parsed: Any, count: Any, last: Any, since: Any, until: Any) -> Any:
    """Move the rows of parsed[:count] (uint64) with since <= parsed[row, last] < until to its front; returns how many.

    `since` and `until` are uint64 seconds UTC.
    """
    kept = 0
    for row in range(count):
        if since <= parsed[row, last] < until:
            if kept != row:
                for word in range(parsed.shape[1]):
                    parsed[kept, word] = parsed[row, word]
            kept += 1
    return kept
