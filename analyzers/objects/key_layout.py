"""Which stretch of time a prefix or an object's name speaks of, as the clouds lay out their flow logs.

    AWS, plain    AWSLogs/[<org-id>/]<account>/vpcflowlogs/<region>/YYYY/MM/DD/[HH/]
    AWS, Hive     .../aws-service=vpcflowlogs/aws-region=<region>/year=YYYY/month=MM/day=DD/[hour=HH/]
    AWS, objects  <account>_vpcflowlogs_<region>_<fl-id>_YYYYMMDDTHHmmZ_<hash>.log.gz (or .log.parquet)
    Azure         .../y=YYYY/m=MM/d=DD/h=HH/m=00/macAddress=<MAC>/PT1H.json
    Google        compute.googleapis.com/vpc_flows/YYYY/MM/DD/HH:MM:SS_HH:MM:SS_S0.json

Sources: "Flow log files" and "Flow log file format", Amazon VPC User Guide; "Read flow logs", Azure Network Watcher;
"Route logs to Cloud Storage", Google Cloud Logging. Directories on disk that are laid out alike are read alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MARGIN = 3600
"""Seconds by which prefixes and objects are kept beyond the window on each side. AWS delivers an object every five
minutes and puts records in it that END in them, but delivery is best effort: late records come in later objects, and
the aggregation interval and clock lag (60 s) add to that."""

OBJECT_SECONDS = 600
"""An object's name tells when its stretch begins; AWS publishes every 5 minutes, twice that is allowed for."""

_PLAIN = re.compile(r"/vpcflowlogs/[a-z0-9-]+/(\d{4})(?:/(\d{2})(?:/(\d{2})(?:/(\d{2}))?)?)?(?=/)")
_HIVE = re.compile(r"/year=(\d{4})(?:/month=(\d{1,2})(?:/day=(\d{1,2})(?:/hour=(\d{1,2}))?)?)?(?=/)")
_AZURE = re.compile(r"/y=(\d{4})(?:/m=(\d{1,2})(?:/d=(\d{1,2})(?:/h=(\d{1,2}))?)?)?(?=/)")
_GOOGLE = re.compile(r"/[a-z.]+\.googleapis\.com/vpc_flows/(\d{4})(?:/(\d{2})(?:/(\d{2})(?:/(\d{2})(?=:))?)?)?(?=[/:])")
_OBJECT = re.compile(r"_vpcflowlogs_[a-z0-9-]+_fl-[0-9a-z]+_(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})Z_[^/]*$")


@dataclass(frozen=True, slots=True)
class Window:
    """[since, until) in seconds UTC, either end may be open. A record belongs to it by its END, as AWS files it."""

    since: int | None = None
    until: int | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def may_hold(self, name: str) -> bool:
        """Whether a prefix (ending in "/") or an object may hold records of the window, going by its name.

        Names that tell no time may.
        """
        stretch = told_by(name)
        if stretch is None:
            return True
        begin, end = stretch
        return (self.until is None or begin < self.until + MARGIN) and (self.since is None or end > self.since - MARGIN)


def told_by(name: str) -> tuple[int, int] | None:
    """[begin, end) in seconds UTC that a prefix or an object speaks of, or None when its name tells none."""
    found = _OBJECT.search(name)
    if found:
        parts = [int(part) for part in found.groups()]
        moment = _moment(parts)
        return None if moment is None else (moment, moment + OBJECT_SECONDS)
    for layout in (_PLAIN, _HIVE, _AZURE, _GOOGLE):
        matches = list(layout.finditer(name if name.startswith("/") else "/" + name))
        if matches:
            return _stretch([int(part) for part in matches[-1].groups() if part is not None])
    return None


def _moment(parts: list[int]) -> int | None:
    year, month, day, hour, minute = (parts + [1, 1, 0, 0][len(parts) - 1 :])[:5]
    try:
        return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _stretch(parts: list[int]) -> tuple[int, int] | None:
    """The year, month, day or hour that the numbers name."""
    begin = _moment(parts)
    if begin is None:
        return None
    if len(parts) == 1:
        end = _moment([parts[0] + 1])
    elif len(parts) == 2:
        end = _moment([parts[0] + parts[1] // 12, parts[1] % 12 + 1])
    else:
        end = begin + int(timedelta(days=1 if len(parts) == 3 else 0, hours=len(parts) == 4).total_seconds())
    return None if end is None else (begin, end)
