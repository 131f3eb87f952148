"""Flow logs to measure with: default format, requests and replies, Zipf-like use of service tuples, one ENI a row."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def write_logs(path: Path, rows: int, tuples: int = 300_000, workloads: int = 20_000, seed: int = 1) -> None:
    """`rows` records of about 115 bytes; the same arguments give the same bytes."""
    chance = np.random.default_rng(seed)
    hosts = np.array([f"10.{i >> 16 & 7}.{i >> 8 & 255}.{i & 255}" for i in chance.permutation(1 << 19)[:workloads]])
    interfaces = np.array([f"eni-{v:017x}" for v in chance.integers(1, 1 << 60, workloads)])
    ports = np.array([443, 80, 8080, 5432, 6379, 9092, 9090, 3306, 8443, 27017, 53, 9200])
    clients = chance.integers(0, workloads, tuples)
    servers = chance.integers(0, workloads // 5, tuples)
    served = chance.choice(ports, tuples)
    refused = chance.random(tuples) < 0.06
    with path.open("w") as out:
        for start in range(0, rows, 200_000):
            count = min(200_000, rows - start)
            which = (tuples * chance.random(count) ** 2.5).astype(int)
            reply = chance.random(count) < 0.5
            ephemeral = chance.integers(32768, 61000, count)
            packets = chance.integers(1, 60, count)
            octets = packets * chance.integers(40, 1400, count)
            at_client = chance.random(count) < 0.5
            odd = chance.random(count)
            lines = []
            for i in range(count):
                t = which[i]
                c, s = clients[t], servers[t]
                when = 1_700_000_000 + (start + i) // 400
                interface = interfaces[c if at_client[i] else s]
                if odd[i] < 0.005:
                    status = "NODATA" if odd[i] < 0.004 else "SKIPDATA"
                    lines.append(f"2 123456789012 {interface} - - - - - - - {when} {when + 60} - {status}\n")
                    continue
                client, server = hosts[c], hosts[s]
                ends = (
                    f"{server} {client} {served[t]} {ephemeral[i]}"
                    if reply[i]
                    else f"{client} {server} {ephemeral[i]} {served[t]}"
                )
                action = "REJECT" if refused[t] else "ACCEPT"
                lines.append(
                    f"2 123456789012 {interface} {ends} 6 {packets[i]} {octets[i]} {when} {when + 60} {action} OK\n"
                )
            out.write("".join(lines))


if __name__ == "__main__":
    write_logs(Path(sys.argv[1]), int(sys.argv[2]))
