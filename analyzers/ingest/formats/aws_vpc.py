"""AWS VPC flow logs as text: the default format without a header, or any header with any order of fields.

Field names and their versions: "Flow log records", Amazon VPC User Guide. Unknown columns are kept aside: whatever
the kernel does not use costs nothing and is never fatal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels import text

NAME = "aws-vpc"

DEFAULT_FIELDS = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets",
    "bytes", "start", "end", "action", "log-status",
)  # fmt: skip

KNOWN_FIELDS = frozenset(DEFAULT_FIELDS) | frozenset(
    (
        "vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr",  # version 3
        "region", "az-id", "sublocation-type", "sublocation-id",  # 4
        "pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction", "traffic-path",  # 5
        "resource-type", "tgw-id", "tgw-attachment-id", "tgw-src-vpc-id", "tgw-dst-vpc-id",  # 6, Transit Gateway
        "ecs-cluster-arn", "ecs-cluster-name", "ecs-service-name", "ecs-task-arn", "ecs-task-id",  # 7
        "reject-reason", "resource-id", "encryption-status",  # 8, 9, 10
        "instance-tag", "interface-tag", "asg-tag", "interface-type", "next-hop-interface-id",  # 11
    )
)  # fmt: skip

NEEDED = ("srcport", "dstport", "protocol")


@dataclass(frozen=True)
class Layout:
    """Which field of a line is which logical column.

    `columns`: int64[analyzers.kernels.text.COLUMN_COUNT], -1 for what the format lacks.
    """

    fields: tuple[str, ...]
    columns: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def has_flags(self) -> bool:
        """Whether records carry TCP flags."""
        return bool(self.columns[text.C_FLAGS] >= 0)


class UnusableHeader(ValueError):
    """A header of a flow log from which no flow can be made; the message names what is missing."""


def normalise(name: str) -> str:
    """Header names are written with hyphens in text, with underscores in Parquet and Athena."""
    return name.strip().strip("${}").lower().replace("_", "-")


def layout(fields: tuple[str, ...]) -> Layout:
    """Columns of a format. Raises UnusableHeader when addresses, ports or the protocol are missing."""
    place = {name: at for at, name in reversed(list(enumerate(fields)))}
    missing = [
        f"{end}addr (or pkt-{end}addr)" for end in ("src", "dst") if not {f"{end}addr", f"pkt-{end}addr"} & set(place)
    ]
    missing += [name for name in NEEDED if name not in place]
    if missing:
        raise UnusableHeader(f"the header lacks {', '.join(missing)}: no flow can be made of its records")
    columns = np.full(text.COLUMN_COUNT, -1, np.int64)
    plain = {
        text.C_SPORT: "srcport", text.C_DPORT: "dstport", text.C_PROTOCOL: "protocol", text.C_PACKETS: "packets",
        text.C_BYTES: "bytes", text.C_START: "start", text.C_END: "end", text.C_ACTION: "action",
        text.C_STATUS: "log-status", text.C_FLAGS: "tcp-flags", text.C_INTERFACE: "interface-id",
        text.C_NETWORK: "vpc-id",
    }  # fmt: skip
    for column, name in plain.items():
        columns[column] = place.get(name, -1)
    # pkt-* are the addresses of the packet itself; srcaddr and dstaddr may be an interface's primary address instead
    for column, stand_in, end in ((text.C_SRC, text.C_SRC_PLAIN, "src"), (text.C_DST, text.C_DST_PLAIN, "dst")):
        columns[column] = place.get(f"pkt-{end}addr", place.get(f"{end}addr", -1))
        columns[stand_in] = place.get(f"{end}addr", -1)
    notes = []
    if "start" not in place or "end" not in place:
        notes.append("records without start or end: identity cannot be resolved with time")
    if "action" not in place:
        notes.append("records without action: what was rejected looks like what was accepted")
    return Layout(fields, columns, tuple(notes))


def header(line: str) -> tuple[str, ...] | None:
    """Field names of a header line, or None when the line is none (at least three known names, none a number)."""
    names = tuple(normalise(part) for part in line.split())
    known = sum(name in KNOWN_FIELDS for name in names)
    return names if known >= 3 and not any(name.isdigit() for name in names) else None


def recognise(head: bytes) -> tuple[str, ...] | None:
    """Field names of the text that begins with `head`: from its header, or the default ones; None: no such log."""
    for line in head[: 1 << 16].decode("utf-8", "replace").splitlines()[:50]:
        fields = header(line)
        if fields is not None:
            return fields
        parts = line.split()
        if len(parts) == len(DEFAULT_FIELDS) and parts[0].isdigit() and parts[-1] in ("OK", "NODATA", "SKIPDATA"):
            return DEFAULT_FIELDS
    return None
