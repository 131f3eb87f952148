"""AWS flow logs as Parquet: the fields of the text form as columns, with underscores in their names.

Text columns are read as dictionaries, numbers of any integer type, as text or (times) as timestamps. pyarrow is
imported only when there is a Parquet file.
"""

from __future__ import annotations

from typing import Any

from analyzers.ingest.formats import aws_vpc
from analyzers.ingest.log_formats import normalise
from analyzers.ingest.sources import InputError, Source, open_source

NAME = "aws-vpc-parquet"
MAGIC = b"PAR1"
EXTRA = "Parquet needs pyarrow: pip install 'flowctl-microseg[parquet]'"


def recognise(head: bytes) -> bool:
    """Whether a file that begins with `head` is Parquet."""
    return head.startswith(MAGIC)


def open_file(source: Source, dictionaries: list[str] | None = None) -> Any:
    """pyarrow's ParquetFile. Raises InputError when it is none, or pyarrow is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise InputError(EXTRA) from missing
    stream = open_source(source)
    try:
        if source.is_stdin:
            stream = pyarrow.BufferReader(stream.read())
        elif local := source.local_path:
            stream.close()
            return pyarrow.parquet.ParquetFile(local, read_dictionary=dictionaries, memory_map=True)
        return pyarrow.parquet.ParquetFile(stream, read_dictionary=dictionaries)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as problem:
        raise InputError(f"unreadable Parquet: {str(problem).strip()}") from problem


def fields_of(file: Any) -> tuple[str, ...]:
    """Field names of all columns, in the spelling of the text form."""
    return tuple(normalise(name) for name in file.schema_arrow.names)


def column_names(file: Any, layout: aws_vpc.Layout) -> dict[int, str]:
    """Logical column -> name in the file, of those that it has."""
    names = file.schema_arrow.names
    return {column: names[place] for column, place in enumerate(layout.columns.tolist()) if place >= 0}
