"""Bytes into facts: what happened between whom."""

import os

# Asking the kernel for huge pages makes it tidy up memory first: measured, filling the first 640 MB of a process took
# 1.75 s with them and 0.32 s without. numpy reads this when it is imported, so it has to be set before.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
