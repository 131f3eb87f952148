"""Field names of AWS flow logs, and the formats of records that carry no header.

Names and their versions: "Flow log records", Amazon VPC User Guide, and "Transit Gateway Flow Log records", Amazon VPC
Transit Gateways guide. They come in three spellings: with hyphens in text, with underscores in Parquet and Athena, in
camel case in CloudWatch Logs Insights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzers.inventory.model import FlowLog

DEFAULT_FIELDS = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets",
    "bytes", "start", "end", "action", "log-status",
)  # fmt: skip

FIELDS_BY_VERSION: Mapping[int, tuple[str, ...]] = {
    2: DEFAULT_FIELDS,
    3: ("vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr"),
    4: ("region", "az-id", "sublocation-type", "sublocation-id"),
    5: ("pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction", "traffic-path"),
    6: (
        "resource-type", "tgw-id", "tgw-attachment-id", "tgw-src-vpc-account-id", "tgw-dst-vpc-account-id",
        "tgw-src-vpc-id", "tgw-dst-vpc-id", "tgw-src-subnet-id", "tgw-dst-subnet-id", "tgw-src-eni", "tgw-dst-eni",
        "tgw-src-az-id", "tgw-dst-az-id", "tgw-pair-attachment-id", "packets-lost-no-route", "packets-lost-blackhole",
        "packets-lost-mtu-exceeded", "packets-lost-ttl-expired",
    ),
    7: (
        "ecs-cluster-arn", "ecs-cluster-name", "ecs-container-instance-arn", "ecs-container-instance-id",
        "ecs-container-id", "ecs-second-container-id", "ecs-service-name", "ecs-task-definition-arn", "ecs-task-arn",
        "ecs-task-id",
    ),
    8: ("reject-reason",),
    9: ("resource-id",),
    10: ("encryption-status",),
    11: (
        "instance-tag", "instance-tag-2", "interface-tag", "interface-tag-2", "asg-tag", "asg-tag-2",
        "interface-type", "next-hop-interface-id", "next-hop-subnet-id", "next-hop-az-id", "next-hop-vpc-id",
        "next-hop-interface-type",
    ),
}  # fmt: skip

KNOWN_FIELDS = frozenset(name for names in FIELDS_BY_VERSION.values() for name in names)
EVENT_TIME = "event-time"
"""The time that CloudWatch Logs writes before each message when it exports a log group to S3."""


_FIELD_REFERENCE = re.compile(r"\$\{([^{}\s]+)\}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class LogFormats:
    """Formats of records that carry no header: the one the user gave, and those of CloudWatch log groups.

    `given`: `--log-format`; `groups`: log group -> field names, from describe-flow-logs.
    """

    given: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of_group(self, group: str, count: int) -> tuple[str, ...] | None:
        """Field names of messages of `count` fields in a log group; None when nobody told them."""
        known = self.given or self.groups.get(group)
        return known or self.of_line(count)

    def of_line(self, count: int) -> tuple[str, ...] | None:
        """Field names of lines of `count` fields: the given ones, the only known ones of that length, the default."""
        if self.given:
            return self.given if len(self.given) == count else None
        fitting = {names for names in self.groups.values() if len(names) == count}
        if len(fitting) == 1:
            return next(iter(fitting))
        return DEFAULT_FIELDS if not fitting and count == len(DEFAULT_FIELDS) else None


def log_formats(given: tuple[str, ...], flow_logs: Iterable[FlowLog]) -> LogFormats:
    """What the user gave, and the formats of the log groups that an inventory describes alike."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for log in flow_logs:
        if log.log_format and log.log_group:
            with suppress(ValueError):  # then nobody told the format, and its messages are passed over, counted
                found.setdefault(log.log_group, set()).add(parse_log_format(log.log_format))
    return LogFormats(given, {group: next(iter(known)) for group, known in sorted(found.items()) if len(known) == 1})


def parse_log_format(text: str) -> tuple[str, ...]:
    """Field names of a format as the API writes it, `${version} ${srcaddr} ...`, or of bare names.

    Raises ValueError when there is no field in it, or what it says is no field name.
    """
    names = _FIELD_REFERENCE.findall(text)
    if not names or _FIELD_REFERENCE.sub("", text).strip():
        names = text.split()
    fields = tuple(normalise(name) for name in names)
    strange = [name for name in fields if not re.fullmatch(r"[a-z0-9-]+", name)]
    if strange or not set(fields) & KNOWN_FIELDS:
        raise ValueError(
            f"no log format: {text!r}; write it as describe-flow-logs does, '${{version}} ${{srcaddr}} ...'"
        )
    return fields


@lru_cache(maxsize=4096)
def normalise(name: str) -> str:
    """A field name with hyphens, whichever of its spellings it has."""
    return _HUMP.sub("-", name.strip().strip("${}")).lower().replace("_", "-")
