"""AWS flow logs as CloudWatch Logs hands them on: JSON envelopes around messages that carry no header.

A subscription gives `{"messageType": "DATA_MESSAGE", "logGroup": ..., "logEvents": [{"message": ...}]}` (see "Log
group-level subscription filters", CloudWatch Logs User Guide), `filter-log-events` gives `{"events": [{"message":
...}]}`, Firehose may leave records of one `message` each. Objects follow one another with or without line breaks.

Envelopes are parsed one at a time, their messages joined to text that the text kernel reads; where the format of the
messages changes, a header line is put before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from analyzers.ingest.coverage import CONTROL_MESSAGE, SkipCounts, printable
from analyzers.ingest.formats import aws_vpc
from analyzers.ingest.log_formats import DEFAULT_FIELDS, LogFormats
from analyzers.kernels.json_objects import BEGIN, DEPTH, STATE_WORDS, object_end

NAME = "aws-cloudwatch"
MAX_ENVELOPE = 256 << 20
"""Bytes of one JSON object, held in memory as a whole. A subscription's are below 1 MiB, an answer of
filter-log-events that was not paged can be large."""

JOINED_BYTES = 1 << 20
_SIGN = re.compile(rb'"(messageType|logEvents|searchedLogStreams|logStreamName)"\s*:|\A\s*\[?\s*\{\s*"message"\s*:')


def recognise(head: bytes) -> bool:
    """Whether JSON that begins with `head` holds CloudWatch Logs messages."""
    return head.lstrip()[:1] in (b"{", b"[") and _SIGN.search(head) is not None


def lines(pieces: Iterable[bytes | memoryview], formats: LogFormats, skips: SkipCounts) -> Iterator[bytes]:
    """The messages of all envelopes as text, one a line, for a reader that begins with the default format.

    What holds no record is added to `skips`: control messages, objects that are no envelope, messages whose format
    nobody told or of which no flow can be made.
    """
    current: tuple[str, ...] = DEFAULT_FIELDS
    joined: list[bytes] = []
    size = 0
    for offset, raw in _objects(pieces, skips):
        found = _messages(offset, raw, skips)
        if found is None:
            continue
        group, messages = found
        fields = _usable_format(group, messages, offset, formats, skips)
        if fields is None:
            continue
        if fields != current:
            current = fields
            joined.append(" ".join(fields).encode())
        text = "\n".join(messages).encode("utf-8", "replace")
        joined.append(text)
        size += len(text)
        if size >= JOINED_BYTES:
            yield b"\n".join(joined) + b"\n"
            joined, size = [], 0
    if joined:
        yield b"\n".join(joined) + b"\n"


def _objects(pieces: Iterable[bytes | memoryview], skips: SkipCounts) -> Iterator[tuple[int, bytes]]:
    """(offset in the decompressed file, bytes) of each complete JSON object."""
    state = np.zeros(STATE_WORDS, np.int64)
    parts: list[bytes] = []  # the beginning of an object that goes on in the next piece
    begun = held = 0
    base = 0  # offset of the present piece
    lost = 0
    for piece in pieces:
        buffer = np.frombuffer(piece, np.uint8)
        at = 0
        while True:
            end, foreign = object_end(buffer, at, len(piece), state)
            lost += int(foreign)
            if end < 0:
                break
            begin = 0 if parts else int(state[BEGIN])
            raw = b"".join([*parts, piece[begin:end]])
            yield (begun if parts else base + begin), raw
            parts, held = [], 0
            at = int(end)
        if state[DEPTH]:
            begin = 0 if parts else int(state[BEGIN])
            begun = begun if parts else base + begin
            parts.append(bytes(piece[begin:]))
            held += len(parts[-1])
        base += len(piece)
        if held > MAX_ENVELOPE:
            skips.add(f"a JSON object larger than {MAX_ENVELOPE >> 20} MiB; the rest of the file", 1, [(begun, "")])
            return
    if state[DEPTH]:
        skips.add("a JSON object that is cut short", 1, [(begun, printable(b"".join(parts)[:200]))])
    if lost:
        skips.add("bytes between JSON objects", lost, [])


def _messages(offset: int, raw: bytes, skips: SkipCounts) -> tuple[str, list[str]] | None:
    """(log group, messages) of an envelope; None, with the reason in `skips`, when there are none."""
    place = [(offset, printable(raw))]
    try:
        envelope = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        skips.add(f"no JSON: {problem.msg}", 1, place)
        return None
    if not isinstance(envelope, dict):
        skips.add("a JSON object that is no CloudWatch Logs envelope", 1, place)
        return None
    if envelope.get("messageType") == "CONTROL_MESSAGE":
        skips.add(CONTROL_MESSAGE, 1, place)
        return None
    events = envelope.get("logEvents", envelope.get("events"))
    if events is None and isinstance(envelope.get("message"), str):
        events = [envelope]
    if not isinstance(events, list):
        skips.add("a JSON object that is no CloudWatch Logs envelope", 1, place)
        return None
    try:
        messages = [event["message"] for event in events]
        "".join(messages)
    except (KeyError, TypeError):
        usable = [e["message"] for e in events if isinstance(e, dict) and isinstance(e.get("message"), str)]
        skips.add("a log event without a message", len(events) - len(usable), place)
        messages = usable
    group = envelope.get("logGroup")
    return (group if isinstance(group, str) else ""), messages


def _usable_format(
    group: str, messages: list[str], offset: int, formats: LogFormats, skips: SkipCounts
) -> tuple[str, ...] | None:
    """Field names of the messages; None, with the reason in `skips`, when no flow can be made of them."""
    if not messages:
        return None
    place = [(offset, printable(messages[0].encode("utf-8", "replace")))]
    count = len(messages[0].split())
    fields = formats.of_group(group, count)
    if fields is None:
        reason = f"messages of {count} fields whose format nobody told: give --log-format, or describe-flow-logs JSON"
        skips.add(f"{reason} as --inventory", len(messages), place)
        return None
    try:
        aws_vpc.layout(fields)
    except aws_vpc.UnusableHeader as problem:
        skips.add(str(problem), len(messages), place)
        return None
    return fields
