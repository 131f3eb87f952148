"""A capture of about 1 GB: ours, nfpcapd, tcpdump and nfstream in turn, and the whole way to a list of services."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.engines import WARMED, forget_pages, peak_memory, warm_memory
from tests.bench.result import Result

TITLE = "Captures"
ORDER = 60

PACKETS = int(os.environ.get("BENCH_PACKETS", "1890000"))
FLOWS = PACKETS // 16
DATA = Path("bench-data")
OURS, OURS_NG, COLD = "flowctl, pcap", "flowctl, pcapng", "flowctl, cold process, list of services written"
NFPCAPD, TCPDUMP, NFSTREAM = "nfpcapd, flow file", "tcpdump -w /dev/null", "nfstream, without dissection"
NFDUMP = "nfpcapd, then nfdump -A srcip,dstip,dstport,proto"

# (what is compared, with what, at least so many times as fast, aimed at)
RATIOS = (
    (OURS, NFPCAPD, 6.0, 10.0),
    (OURS, NFSTREAM, 40.0, 70.0),
    (OURS, TCPDUMP, 2.0, 3.0),
    (COLD, NFDUMP, 4.0, 6.0),
    (OURS_NG, OURS, 0.7, 0.9),
)
Run = dict[str, float]
"""seconds, peak_mb, and what was counted."""


def aggregated(path: str) -> Run:
    """Ours, from the call to the FlowTable; imports and the loading of kernels are not counted. One thread."""
    from analyzers.ingest.aggregate import IngestOptions, aggregate

    with Path(path).open("rb") as file, tempfile.NamedTemporaryFile(dir=DATA) as beginning:
        beginning.write(file.read(1 << 20))
        beginning.flush()
        aggregate([beginning.name], IngestOptions(threads=1))
    started = time.perf_counter()
    flows, report = aggregate([path], IngestOptions(threads=1))
    return {"seconds": time.perf_counter() - started, "packets": report.records, "services": len(flows)}


def listed(path: str) -> Run:
    """Ours, to a text file with a line for each service: what nfdump's aggregation writes, client and server told."""
    from analyzers.flows import address_text
    from analyzers.ingest.aggregate import IngestOptions, aggregate

    flows, report = aggregate([path], IngestOptions(threads=1))
    ends = []
    for end in ("client", "server"):
        halves = list(zip(flows[f"{end}_hi"].tolist(), flows[f"{end}_lo"].tolist(), strict=True))
        names = {pair: address_text(*pair) for pair in set(halves)}
        ends.append([names[pair] for pair in halves])
    columns = [flows[c].tolist() for c in ("port", "protocol", "packets", "bytes", "reply_packets", "reply_bytes")]
    with (DATA / "services.csv").open("w") as out:
        out.writelines("%s,%s,%d,%d,%d,%d,%d,%d\n" % row for row in zip(*ends, *columns, strict=True))  # noqa: UP031
    return {"packets": report.records, "services": len(flows)}


def nfstream(path: str) -> Run:
    """nfstream's flows, with nothing computed that is not a counter."""
    from nfstream import NFStreamer  # type: ignore[import-not-found,unused-ignore]

    started = time.perf_counter()
    streamer = NFStreamer(source=path, n_dissections=0, statistical_analysis=False, n_meters=1)
    counts = [flow.bidirectional_packets for flow in streamer]
    return {"seconds": time.perf_counter() - started, "packets": sum(counts), "flows": len(counts)}


INSIDE: dict[str, Callable[[str], Run]] = {"aggregated": aggregated, "listed": listed, "nfstream": nfstream}


def _in_process(function: str, path: Path, *, whole: bool = False) -> Run:
    """A function of INSIDE in a fresh process; `whole`: its time is that of the process."""
    command = [sys.executable, "-m", "tests.bench.works.captures", function, str(path)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed")
    found: Run = json.loads(done.stdout.splitlines()[-1])
    return {**found, "seconds": elapsed} if whole else found


def _timed(*commands: list[str]) -> tuple[Run, str]:
    """Commands one after the other -> seconds of them together, what they printed."""
    started, printed = time.perf_counter(), ""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}")
        printed += done.stdout + done.stderr
    return {"seconds": time.perf_counter() - started}, printed


def _nfpcapd(path: Path, *, dump: bool) -> Run:
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        commands = [["nfpcapd", "-r", str(path), "-w", folder]]
        if dump:
            listing = f"exec nfdump -R {folder} -A srcip,dstip,dstport,proto -o csv > {folder}/services.csv"
            commands.append(["sh", "-c", listing])
        run, printed = _timed(*commands)
        if not dump:  # what is in the file, without the time to look
            _, printed = _timed(["nfdump", "-R", folder, "-I"])
            for name in ("Packets", "Flows"):
                if found := re.search(rf"^{name}: *(\d+)$", printed, re.MULTILINE):
                    run[name.lower()] = int(found[1])
        return run


def _tcpdump(path: Path) -> Run:
    return _timed(["tcpdump", "-r", str(path), "-w", "/dev/null"])[0]


def _works(pcap: Path, pcapng: Path) -> dict[str, Callable[[], Run]]:
    return {
        OURS: lambda: _in_process("aggregated", pcap),
        OURS_NG: lambda: _in_process("aggregated", pcapng),
        COLD: lambda: _in_process("listed", pcap, whole=True),
        NFPCAPD: lambda: _nfpcapd(pcap, dump=False),
        NFDUMP: lambda: _nfpcapd(pcap, dump=True),
        TCPDUMP: lambda: _tcpdump(pcap),
        NFSTREAM: lambda: _in_process("nfstream", pcap),
    }


def _captures() -> tuple[Path, Path]:
    from tests.bench.make_capture import traffic, write_pcap, write_pcapng

    DATA.mkdir(exist_ok=True)
    paths = DATA / f"packets-{PACKETS}.pcap", DATA / f"packets-{PACKETS}.pcapng"
    if not all(path.exists() for path in paths):
        made = traffic(PACKETS, FLOWS)
        for path, write in zip(paths, (write_pcap, write_pcapng), strict=True):
            partial = path.with_suffix(".partial")
            write(partial, made)
            partial.replace(path)
    return paths


def _missing(name: str) -> str | None:
    for tool in ("nfpcapd", "nfdump", "tcpdump"):
        if tool in name and shutil.which(tool) is None:
            return f"{tool} is not installed"
    return None


def run(repeats: int) -> Result:
    """The table of all tools, fresh processes in turn, medians; and what of the promises does not hold."""
    pcap, pcapng = _captures()
    works = _works(pcap, pcapng)
    absent = {name: reason for name in works if (reason := _missing(name))}
    runs: dict[str, list[Run]] = {name: [] for name in works if name not in absent}
    forget_pages([str(pcap), str(pcapng)])
    for nth in range(repeats + 1):
        for name in list(runs):
            if name == NFSTREAM and nth > 2:
                continue  # it takes so long, and varies so little, that two are enough
            warm_memory()
            try:
                found = works[name]()
            except (RuntimeError, OSError) as problem:
                absent[name] = str(problem)
                del runs[name]
                continue
            if nth:  # the first one warms the page cache and the compiled kernels
                runs[name].append(found)
    seconds = {name: statistics.median(one["seconds"] for one in found) for name, found in runs.items()}
    size = pcap.stat().st_size
    lines = [
        f"{int(runs[OURS][0]['packets']):,} packets of {FLOWS:,} connections, {size / 1e6:,.0f} MB: TCP and UDP, "
        "one in eight over IPv6, packets of overlapping connections interleaved; one thread; medians of "
        f"{repeats} fresh processes in turn, after one of each that is not counted; {WARMED}. Ours is the time from "
        "the call to the settled table, after a first call on 1 MB that loads the compiled kernels; the cold process "
        "is everything from its start to its end, with compiled kernels in the cache.",
        "",
        "| what | seconds | fastest to slowest | packets/s | packets | flows |",
        "|---|---|---|---|---|---|",
    ]
    total = runs[OURS][0]["packets"]
    for name in works:
        if name in absent:
            lines.append(f"| {name} | - | {absent[name]} | | | |")
            continue
        times = sorted(one["seconds"] for one in runs[name])
        counted = runs[name][0]
        packets = f"{int(counted['packets']):,}" if "packets" in counted else ""
        flows = counted.get("flows", counted.get("services"))
        lines.append(
            f"| {name} | {seconds[name]:.3f} | {times[0]:.3f} to {times[-1]:.3f} | {total / seconds[name]:,.0f} "
            f"| {packets} | {'' if flows is None else f'{int(flows):,}'} |"
        )
    return Result([*lines, "", *_compared(seconds, absent), "", COUNTS], _broken(seconds, runs))


COUNTS = (
    "Flows are counted by different rules: ours are services (client, server, server port), nfpcapd's are one-way and "
    "cut by its time-outs, nfstream's are two-way and cut by idle time. All of them saw the packets that were written; "
    "where a tool's number is smaller it left out what it could not put into a flow."
)


def _compared(seconds: dict[str, float], absent: dict[str, str]) -> list[str]:
    lines = ["| compared | with | is | must | aim |", "|---|---|---|---|---|"]
    for one, other, must, aim in RATIOS:
        known = one in seconds and other in seconds
        value = f"{seconds[other] / seconds[one]:.2f}x" if known else absent.get(one, absent.get(other, "not measured"))
        lines.append(f"| {one} | {other} | {value} | {must:g}x | {aim:g}x |")
    return lines


def _broken(seconds: dict[str, float], runs: dict[str, list[Run]]) -> list[str]:
    broken = [
        f"captures: {one} is {seconds[other] / seconds[one]:.2f} times as fast as {other}, not {must:g} times"
        for one, other, must, _ in RATIOS
        if one in seconds and other in seconds and seconds[other] / seconds[one] < must
    ]
    ours = {name: runs[name][0] for name in (OURS, OURS_NG, COLD)}
    if len({(one["packets"], one["services"]) for one in ours.values()}) != 1:
        broken.append(f"captures: our own counts differ: {ours}")
    for name in (NFPCAPD, NFSTREAM):
        if name in runs and runs[name][0].get("packets", 0) > ours[OURS]["packets"]:
            broken.append(f"captures: {name} saw more packets than we did")
    return broken


if __name__ == "__main__":
    result = INSIDE[sys.argv[1]](sys.argv[2])
    result["peak_mb"] = peak_memory() >> 20
    print(json.dumps(result))
