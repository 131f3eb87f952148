"""Records of a window of time: those that end outside of it are counted, and nothing is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import inlined, kernel

ALWAYS = int(np.iinfo(np.int64).max)
"""The end of a window that has none, in seconds UTC."""


@inlined
def inside(time: Any, window: Any) -> Any:
    """Whether a moment (int64 seconds UTC) lies in `window`, int64[2]: since, until; until itself does not."""
    return window[0] <= time < window[1]


@kernel
def leave_outside(last: Any, kept: Any, count: Any, window: Any) -> Any:
    """Set kept[i] to 0 for the records i < count whose `last` (uint64 seconds UTC) lies outside; returns how many."""
    outside = 0
    if window[0] <= 0 and window[1] == ALWAYS:
        return outside
    for i in range(count):
        if kept[i] != 0 and not inside(np.int64(last[i]), window):
            kept[i] = 0
            outside += 1
    return outside
