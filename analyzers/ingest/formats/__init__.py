"""One file per input format, found by its name; formats do not know one another.

A format module has NAME, `recognise(head: bytes) -> Recognised | None` and what its kind of reader needs.
"""
