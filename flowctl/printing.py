"""Tables for people, on stdout. What comes from the input is stripped of what a terminal would act on."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analyzers.flows import protocol_name
from analyzers.servicemap import Edge, End, External
from flowctl.coverage import coverage_rows
from flowctl.observe import Observation
from flowctl.targets import TargetResult
from flowctl.verifying import Judged
from policygen.verify.replay import Denial, ReplayReport

ROWS = 40
"""Longer tables are cut, and say by how much; report.json has everything."""

PLAIN_WIDTH = 120


def console() -> Console:
    """Width of the terminal, or a fixed one where there is none, so that files and CI logs are stable."""
    return Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", PLAIN_WIDTH)), highlight=False)


def printable(text: object) -> str:
    """Text without control characters and bidirectional overrides."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)


def clean(text: object) -> str:
    """Printable text without markup."""
    return escape(printable(text))


def end_text(end: End) -> str:
    """`namespace/name`, an instance's name with its VPC, or an external address."""
    if isinstance(end, External):
        return f"{end.address} ({end.network})" if end.network else end.address
    text = f"{end.namespace}/{end.name}" if end.namespace else end.name
    return f"{text} ({end.network})" if end.network else text


def port_text(protocol: str, port: int) -> str:
    """`TCP 443`, or `ICMP`."""
    return f"{protocol} {port}" if port else protocol


def time_text(seconds: int | None) -> str:
    """ISO 8601 in UTC."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Iterable[int] = ()) -> Table:
    """A table of cleaned cells; `numbers` are the columns that are aligned to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    right = set(numbers)
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place in right else "left", overflow="fold")
    for row in rows[:ROWS]:
        made.add_row(*(clean(cell) for cell in row))
    if len(rows) > ROWS:
        made.add_row(f"... and {len(rows) - ROWS} more")
    return made


def print_long_table(
    out: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Iterable[int] = ()
) -> None:
    """A table of however many rows, each on one line however wide: folding the cells of 100,000 takes a minute."""
    right = set(numbers)
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        parts = [b + cell if n in right else cell + b for n, (cell, b) in enumerate(zip(row, blanks, strict=True))]
        lines.append("  ".join(parts).rstrip())
    out.print(title, style="bold", markup=False)
    out.print(lines[0], style="bold", markup=False, soft_wrap=True)
    out.file.writelines(f"{line}\n" for line in lines[1:])


def print_reading(out: Console, observation: Observation) -> None:
    """What was read, what was skipped and why, and what was not seen."""
    ingest, inventory = observation.ingest, observation.inventory
    formats = ", ".join(f"{count} {name}" for name, count in ingest.formats.items()) or "none readable"
    out.print(
        table(
            "Read",
            ("what", "how much"),
            [
                ("sources", f"{ingest.sources} ({formats})"),
                ("records", f"{ingest.records:,}, {time_text(ingest.first)} to {time_text(ingest.last)}"),
                ("skipped", f"{ingest.skipped:,}"),
                (
                    "inventory",
                    f"{inventory.files} files: {len(inventory.workloads)} workloads, {len(inventory.endpoints)} pods, "
                    f"nodes and hosts, {len(inventory.services)} services",
                ),
            ],
        )
    )
    folded: dict[str, list[tuple[str, int, tuple[str, ...]]]] = defaultdict(list)
    for skip in (*ingest.skips, *ingest.coverage):
        folded[skip.reason].append((skip.source, skip.count, skip.samples))
    rows = [
        (reason, f"{sum(f[1] for f in found):,}", f"{found[0][0]}: {found[0][2][0] if found[0][2] else ''}")
        for reason, found in sorted(folded.items())
    ]
    if rows:
        out.print()
        out.print(table("Skipped, and not seen", ("reason", "records", "first place"), rows, (1,)))
    missing = coverage_rows(ingest.windows, inventory.flow_logs, ingest.lost_packets)
    if missing:
        out.print()
        title = "Coverage: what the logs do not tell (by the hour in report.json)"
        out.print(table(title, ("of", "when", "minutes with lost records", "without any record"), missing, (2, 3)))
    remarks = [*ingest.notes, *(f"{n.where}: {n.reason} {n.detail}".strip() for n in inventory.notes)]
    for remark in remarks[:ROWS]:
        out.print(f"note: {clean(remark)}", soft_wrap=True)
    if len(remarks) > ROWS:
        out.print(f"note: and {len(remarks) - ROWS} more")


def print_map_summary(out: Console, observation: Observation) -> None:
    """The size of the map, what was set aside, what found no place."""
    edges, qualification = observation.map.edges, observation.qualification
    outside = {e for edge in edges for e in (edge.client, edge.server) if isinstance(e, External)}
    methods = Counter(edge.directions[0].name.lower().replace("_", "-") for edge in edges if edge.directions)
    out.print()
    out.print(
        table(
            "Map",
            ("what", "how many"),
            [
                ("workloads seen", len(observation.map.seen)),
                ("external addresses", len(outside)),
                ("edges", len(edges)),
                ("edges that may become rules", len(qualification.edges)),
                ("edges set aside", len(qualification.quarantined)),
                *((f"direction by {name}", count) for name, count in sorted(methods.items())),
            ],
            (1,),
        )
    )
    reasons: dict[str, list[Edge]] = defaultdict(list)
    for aside in qualification.quarantined:
        reasons[aside.reason].append(aside.edge)
    rows = [(reason, len(found), _edge_text(found[0])) for reason, found in sorted(reasons.items())]
    if rows:
        out.print()
        out.print(table("Set aside, for you to decide", ("reason", "edges", "one of them"), rows, (1,)))
    rows_lost = [(u.reason, f"{u.records:,}", u.samples[0] if u.samples else "") for u in observation.map.unresolved]
    if rows_lost:
        out.print()
        out.print(table("Flows without a place in the map", ("reason", "records", "one of them"), rows_lost, (1,)))


def _edge_text(edge: Edge) -> str:
    port = port_text(protocol_name(edge.protocol), edge.port)
    return f"{end_text(edge.client)} -> {end_text(edge.server)} {port}"


def print_map(observation: Observation) -> None:
    """Every edge, and what surrounds it."""
    out = console()
    aside = {id(q.edge): q.reason for q in observation.qualification.quarantined}
    rows = [
        (
            end_text(edge.client), end_text(edge.server), port_text(protocol_name(edge.protocol), edge.port),
            f"{edge.records:,}", f"{edge.bytes + edge.reply_bytes:,}",
            edge.directions[0].name.lower().replace("_", "-") if edge.directions else "-",
            aside.get(id(edge), "rule"),
        )
        for edge in observation.map.edges
    ]  # fmt: skip
    columns = ("client", "server", "port", "records", "bytes", "direction by", "becomes")
    print_long_table(out, "Who talks to whom", columns, rows, (3, 4))
    out.print()
    print_reading(out, observation)
    print_map_summary(out, observation)


def print_proof(out: Console, name: str, proof: ReplayReport) -> None:
    """One line, and the denied flows with their rule paths."""
    out.print()
    if proof.denied:
        out.print(f"[bold red]Proof of {name}: {len(proof.denied):,} of {proof.flows:,} qualified flows are denied[/]")
        for denial in proof.denied[:ROWS]:
            out.print(clean(_denial_text(denial)), soft_wrap=True)
        if len(proof.denied) > ROWS:
            out.print(f"... and {len(proof.denied) - ROWS} more")
    else:
        out.print(f"[bold green]Proof of {name}: 0 of {proof.flows:,} qualified flows denied[/]", soft_wrap=True)
    if proof.undefined:
        out.print(
            f"{len(proof.undefined):,} flows of protocols that {name} says nothing about: up to the network plugin",
            soft_wrap=True,
        )


def _denial_text(denial: Denial) -> str:
    flow = denial.flow
    port = port_text(protocol_name(flow.protocol), flow.port)
    path = "\n    ".join(denial.verdict.path)
    return f"  {flow.source_label} -> {flow.destination_label} {port}, {flow.records:,} records\n    {path}"


def print_generated(observation: Observation, results: Sequence[TargetResult], folder: Path, stale: list[str]) -> None:
    """Everything `generate` has to say."""
    out = console()
    print_reading(out, observation)
    print_map_summary(out, observation)
    for result in results:
        out.print()
        rows = [
            (line.name, line.ingress, line.egress, ", ".join(line.remarks) if result.target == "kubernetes" else "")
            for line in result.policies
        ]
        out.print(table(f"Policies for {result.target}", ("policy", "ingress", "egress", "notes"), rows, (1, 2)))
        _print_list(out, "Internet-facing", result.internet_facing)
        _print_list(out, "Never seen, so without a policy", result.unseen)
        _print_notes(out, result.notes)
        for error in result.errors:
            out.print(f"[bold red]error:[/] {clean(error)}", soft_wrap=True)
        for problem in result.problems:
            out.print(f"[bold red]unreadable:[/] {clean(problem)}", soft_wrap=True)
        print_proof(out, result.target, result.proof)
    for name in stale:
        out.print(f"note: {clean(name)} of the run before is no longer generated: removed", soft_wrap=True)
    out.print()
    count = sum(len(r.files) for r in results)
    out.print(f"{count} policy files and report.json are in {clean(folder)}", soft_wrap=True)


def _print_list(out: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        out.print(f"\n[bold]{title}[/]")
        for line in lines[:ROWS]:
            out.print(clean(line), soft_wrap=True)
        if len(lines) > ROWS:
            out.print(f"... and {len(lines) - ROWS} more")


def _print_notes(out: Console, notes: Sequence[tuple[str, str, str]]) -> None:
    folded: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind, subject, detail in notes:
        folded[kind].append((subject, detail))
    rows = [
        (kind, len(found), ": ".join(filter(None, found[0])) + (" ..." if len(found) > 1 else ""))
        for kind, found in sorted(folded.items())
    ]
    if rows:
        out.print()
        out.print(table("Notes (all of them are in report.json)", ("note", "times", "first"), rows, (1,)))


def print_verified(observation: Observation, judged: Sequence[Judged]) -> None:
    """Everything `verify` has to say."""
    out = console()
    print_reading(out, observation)
    print_map_summary(out, observation)
    for one in judged:
        for problem in one.problems[:ROWS]:
            out.print(f"[bold red]left out:[/] {clean(problem)}", soft_wrap=True)
        for remark in one.remarks[:ROWS]:
            out.print(f"note: {clean(remark)}", soft_wrap=True)
        _print_list(out, f"Rules that no flow needed ({one.kind})", one.unused_rules)
        _print_list(
            out, "Allowed and least used", [str(loose) for loose in one.tightness.loosest] if one.tightness else []
        )
        print_proof(out, f"{one.policies} {one.kind} objects", one.proof)
        out.print()
        out.print(table("Policies against what was seen", ("what", "how many", "first"), _verdict_rows(one), (1,)))


def _verdict_rows(one: Judged) -> list[tuple[str, str, str]]:
    proof, tight = one.proof, one.tightness
    first = proof.denied[0].flow if proof.denied else None
    witness = f"{first.source_label} -> {first.destination_label}" if first else ""
    port = f" {port_text(protocol_name(first.protocol), first.port)}" if first else ""
    rows = [
        ("flows denied", f"{len(proof.denied):,} of {proof.flows:,}", witness + port),
        ("rules no flow used", f"{len(one.unused_rules):,} of {len(proof.hits):,}", next(iter(one.unused_rules), "")),
    ]
    if tight is not None:
        share = f" ({tight.share:.1%})" if tight.share is not None else ""
        loosest = str(tight.loosest[0]) if tight.loosest else ""
        rows.append(("allowed cells ever used", f"{tight.used:,} of {tight.allowed:,}{share}", loosest))
        rows.append(("allowed pairs ever used", f"{tight.used_pairs:,} of {tight.pairs:,}", ""))
    return rows
