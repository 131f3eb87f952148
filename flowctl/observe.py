"""From what the user named to a qualified service map: the part that every command shares."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from analyzers.blind_spots import blind_spots
from analyzers.build_map import build_map
from analyzers.flows import IngestReport, address_text
from analyzers.identify import EXTERNAL, IdentifiedFlows, identify
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.log_formats import log_formats
from analyzers.ingest.sources import InputError
from analyzers.inventory import Inventory
from analyzers.inventory.load import InventoryError, load_inventory
from analyzers.inventory.resolve import cuts, declared_ports, interface_networks
from analyzers.kernels.jit import compiled_before
from analyzers.objects.key_layout import Window
from analyzers.servicemap import ServiceMap
from flowctl.coverage import aggregation_intervals
from flowctl.options import Inputs, Unusable, network_patterns
from flowctl.progress import reading_progress
from policygen.qualification import Qualification, qualify
from policygen.verify.matching import FlowEnd
from policygen.verify.replay import ReplayFlow


@dataclass(frozen=True)
class Observation:
    """Everything that was read and what it amounts to."""

    inventory: Inventory
    ingest: IngestReport
    map: ServiceMap
    qualification: Qualification
    identified: IdentifiedFlows
    edge_of_row: np.ndarray[tuple[int], np.dtype[np.int64]]

    def qualified_flows(self) -> list[ReplayFlow]:
        """Every distinct flow between addresses that belongs to a qualified edge, as it would be replayed."""
        return replay_flows(self)


def observe(inputs: Inputs, known: Inventory | None = None) -> Observation:
    """Read sources and inventory, unless it is `known` already. Raises Unusable for names that lead nowhere."""
    if not compiled_before():
        click.echo("flowctl: compiling kernels for this machine, once (about half a minute) ...", err=True)
    try:
        inventory = known if known is not None else Inventory()
        if known is None and inputs.inventory:
            inventory = load_inventory(list(inputs.inventory))
        hi, lo, port, protocol = declared_ports(inventory)
        declared = frozenset(zip(hi.tolist(), lo.tolist(), port.tolist(), protocol.tolist(), strict=True))
        with reading_progress() as progress:
            flows, report = aggregate(
                list(inputs.sources),
                IngestOptions(
                    networks=network_patterns(inputs.networks),
                    format=inputs.format,
                    threads=inputs.threads,
                    interface_networks=interface_networks(inventory),
                    cuts=cuts(inventory),
                    declared=declared,
                    window=Window(inputs.since, inputs.until),
                    log_formats=log_formats(inputs.log_format, inventory.flow_logs),
                    intervals=aggregation_intervals(inventory.flow_logs),
                    progress=progress,
                    outer=inputs.outer,
                    stage=progress.stage if progress else None,
                    memory_bytes=inputs.memory,
                    stores=inputs.stores,
                ),
            )
    except (InputError, InventoryError) as problem:
        raise Unusable(str(problem)) from problem
    told = blind_spots(flows, inventory, report.plain_sources)
    report = replace(report, notes=tuple(sorted({*report.notes, *told})))
    identified = identify(flows, inventory)
    service_map, edge_of_row = build_map(identified)
    return Observation(inventory, report, service_map, qualify(service_map.edges), identified, edge_of_row)


def replay_flows(observation: Observation) -> list[ReplayFlow]:
    """Distinct (client, server, protocol, port) flows between addresses that stand behind qualified edges."""
    identified, flows = observation.identified, observation.identified.flows
    wanted = np.zeros(len(observation.map.edges), bool)
    wanted[list(observation.qualification.places)] = True
    chosen = np.flatnonzero(wanted[observation.edge_of_row])
    row = identified.row[chosen]
    columns = [
        identified.client[chosen].astype(np.int64), identified.server[chosen].astype(np.int64),
        flows["protocol"][row].astype(np.int64), identified.port[chosen].astype(np.int64),
        (identified.via[chosen] >= 0).astype(np.int64),
    ]  # fmt: skip
    halves = [flows[c][row].view(np.int64) for c in ("client_hi", "client_lo", "server_hi", "server_lo")]
    keys, number = np.unique(np.stack([*columns, *halves], axis=1), axis=0, return_inverse=True)
    records = np.zeros(len(keys), np.uint64)
    np.add.at(records, number.reshape(-1), flows["records"][row])
    endpoints = observation.inventory.endpoints
    found = []
    for key, count in zip(keys.tolist(), records.tolist(), strict=True):
        client, server, protocol, port, via_service, *raw = key
        client_hi, client_lo, server_hi, server_lo = (half & 0xFFFF_FFFF_FFFF_FFFF for half in raw)
        # behind a Service the address on the wire is the Service's, what a policy sees is the pod's
        target = None if via_service else (server_hi, server_lo)
        found.append(
            ReplayFlow(
                FlowEnd(endpoints[client] if client != EXTERNAL else None, (client_hi, client_lo)),
                FlowEnd(endpoints[server] if server != EXTERNAL else None, target),
                protocol,
                port,
                _label(endpoints[client].workload if client != EXTERNAL else None, client_hi, client_lo),
                _label(endpoints[server].workload if server != EXTERNAL else None, server_hi, server_lo),
                count,
            )
        )
    return found


def _label(workload: object, hi: int, lo: int) -> str:
    return f"{workload} ({address_text(hi, lo)})" if workload is not None else address_text(hi, lo)


def write_files(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write relative path -> text below `folder`; each file appears whole or not at all."""
    written = []
    for name, text in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        written.append(path)
    return written


def skipped_exit(observation: Observation, strict: bool) -> None:
    """Exit with 3 when something was skipped and the user wants that to be an error."""
    if strict and (observation.ingest.skips or observation.inventory.notes):
        click.echo("flowctl: input was skipped, and --strict was given", err=True)
        sys.exit(3)
