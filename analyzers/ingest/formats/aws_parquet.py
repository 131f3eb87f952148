"""AWS flow logs as Parquet: the fields of the text form as columns, with underscores in their names.

Text columns are read as dictionaries, numbers of any integer type, as text or (times) as timestamps. pyarrow is
imported only when there is a Parquet file.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from analyzers.ingest.formats import aws_vpc
from analyzers.ingest.log_formats import normalise
from analyzers.ingest.sources import InputError, Source
from analyzers.kernels import text
from analyzers.objects.patience import ObjectFailure

NAME = "aws-vpc-parquet"
MAGIC = b"PAR1"
EXTRA = "Parquet needs pyarrow: pip install 'flowctl-microseg[parquet]'"

TEXTS = (text.C_SRC, text.C_DST, text.C_SRC_PLAIN, text.C_DST_PLAIN, text.C_ACTION, text.C_STATUS, text.C_INTERFACE,
         text.C_NETWORK)  # fmt: skip


def recognise(head: bytes) -> bool:
    """Whether a file that begins with `head` is Parquet."""
    return head.startswith(MAGIC)


def open_file(source: Source, dictionaries: list[str] | None = None, stream: BinaryIO | None = None) -> Any:
    """pyarrow's ParquetFile. Raises InputError when it is none, or pyarrow is missing.

    `stream`: of an object; column chunks are read through it one after another, and it is left open. What is held then
    is a row group's wanted columns as they are compressed, and the few parts that the stream itself holds.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise InputError(EXTRA) from missing
    try:
        if stream is not None:
            return pyarrow.parquet.ParquetFile(stream, read_dictionary=dictionaries)
        return pyarrow.parquet.ParquetFile(source.name, read_dictionary=dictionaries, memory_map=True)
    except ObjectFailure:
        raise  # not the file's fault
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as problem:
        raise InputError(f"unreadable Parquet: {problem}") from problem


def fields_of(file: Any) -> tuple[str, ...]:
    """Field names of all columns, in the spelling of the text form."""
    return tuple(normalise(name) for name in file.schema_arrow.names)


def column_names(file: Any, layout: aws_vpc.Layout) -> dict[int, str]:
    """Logical column -> name in the file, of those that it has."""
    names = file.schema_arrow.names
    return {column: names[place] for column, place in enumerate(layout.columns.tolist()) if place >= 0}
