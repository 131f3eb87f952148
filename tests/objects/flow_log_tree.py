"""Small flow logs under the keys that AWS delivers them to."""

from __future__ import annotations

import gzip
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
ACCOUNT = "123456789012"


def moment(text: str) -> int:
    """Seconds UTC of an ISO time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def record_lines(begin: int, count: int, chance: random.Random) -> list[str]:
    """Records that end in the 300 s from `begin`: IPv4 and IPv6, settled and unsettled ports, rejects, NODATA."""
    lines = []
    for _ in range(count):
        client, server = f"10.0.{chance.randrange(4)}.{chance.randrange(1, 40)}", f"10.0.9.{chance.randrange(1, 9)}"
        if chance.random() < 0.2:
            client, server = f"fd00::{chance.randrange(1, 40):x}", f"fd00::9:{chance.randrange(1, 9):x}"
        ports = chance.choice(((chance.randrange(33000, 60000), 443), (chance.randrange(33000, 60000), 34567)))
        ends = (client, server, *ports) if chance.random() < 0.5 else (server, client, *reversed(ports))
        last = begin + chance.randrange(300)
        interface = f"eni-{chance.randrange(6):017x}"
        action = chance.choice(("ACCEPT", "ACCEPT", "REJECT"))
        numbers = f"{chance.randrange(1, 99)} {chance.randrange(40, 90000)} {last - chance.randrange(60)} {last}"
        lines.append(f"2 {ACCOUNT} {interface} {' '.join(map(str, ends))} 6 {numbers} {action} OK")
    lines.append(f"2 {ACCOUNT} eni-{9:017x} - - - - - - - {begin} {begin + 60} - NODATA")
    return lines


def key_of(begin: int, *, hive: bool = False, hourly: bool = False, org: str = "", region: str = "eu-west-1") -> str:
    """The key of the object whose five minutes begin at `begin`."""
    when = datetime.fromtimestamp(begin, UTC)
    if hive:
        folder = f"AWSLogs/{org}aws-account-id={ACCOUNT}/aws-service=vpcflowlogs/aws-region={region}/"
        folder += when.strftime("year=%Y/month=%m/day=%d/") + (when.strftime("hour=%H/") if hourly else "")
    else:
        folder = f"AWSLogs/{org}{ACCOUNT}/vpcflowlogs/{region}/"
        folder += when.strftime("%Y/%m/%d/") + (when.strftime("%H/") if hourly else "")
    return f"{folder}{ACCOUNT}_vpcflowlogs_{region}_fl-0abc_{when:%Y%m%dT%H%MZ}_{begin % 65521:08x}.log.gz"


def write_tree(
    folder: Path, first: str, last: str, step_minutes: int = 60, records: int = 60, seed: int = 7, **layout: object
) -> list[str]:
    """One object every `step_minutes` from `first` to before `last`; returns the keys."""
    keys = []
    now, end = moment(first), moment(last)
    while now < end:
        key = key_of(now, **layout)  # type: ignore[arg-type]
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        chance = random.Random(f"{seed} {now}")
        text = "\n".join([HEADER, *record_lines(now, records, chance)]) + "\n"
        path.write_bytes(gzip.compress(text.encode(), 6, mtime=0))
        keys.append(key)
        now += int(timedelta(minutes=step_minutes).total_seconds())
    return keys
