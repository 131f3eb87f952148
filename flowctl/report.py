"""report.json: everything the tables say and what they cut, with sorted keys and no time of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from analyzers.flows import IngestReport, protocol_name
from analyzers.servicemap import Edge, End, External
from flowctl import __version__
from flowctl.coverage import coverage_document
from flowctl.observe import Observation, write_files
from flowctl.printing import time_text
from flowctl.targets import TargetResult
from flowctl.verifying import Judged
from policygen.verify.replay import Denial, ReplayReport
from policygen.verify.tightness import Tightness

NAME = "report.json"
FORMAT_VERSION = 1
DENIALS = 1000

Json = dict[str, Any]


def end_document(end: End) -> Json:
    """One end of an edge."""
    if isinstance(end, External):
        return {"external": end.address, "network": end.network, "private": end.private}
    return {"kind": end.kind, "namespace": end.namespace, "name": end.name, "network": end.network}


def edge_document(edge: Edge) -> Json:
    """One edge with its evidence."""
    return {
        "client": end_document(edge.client),
        "server": end_document(edge.server),
        "protocol": protocol_name(edge.protocol),
        "port": edge.port,
        "records": edge.records,
        "packets": edge.packets,
        "bytes": edge.bytes,
        "reply_packets": edge.reply_packets,
        "reply_bytes": edge.reply_bytes,
        "first": time_text(edge.first),
        "last": time_text(edge.last),
        "direction": [d.name.lower().replace("_", "-") for d in edge.directions],
        "observers": edge.observers,
        "networks": list(edge.networks),
        "client_addresses": list(edge.client_addresses),
        "server_addresses": list(edge.server_addresses),
        "via": list(edge.via),
    }


def map_document(observation: Observation) -> Json:
    """The map: edges that may become rules, those set aside with their reasons, and what found no place."""
    return {
        "format_version": FORMAT_VERSION,
        "edges": [edge_document(edge) for edge in observation.qualification.edges],
        "set_aside": [{**edge_document(q.edge), "reason": q.reason} for q in observation.qualification.quarantined],
        "unresolved": [asdict(u) for u in observation.map.unresolved],
        "ingest": ingest_document(observation.ingest),
        "coverage": coverage_document(observation.ingest.windows, observation.inventory.flow_logs),
        "inventory_notes": [asdict(note) for note in observation.inventory.notes],
    }


def ingest_document(ingest: IngestReport) -> Json:
    """What was read and what was passed over."""
    told = asdict(replace(ingest, windows=()))
    told.pop("windows")  # in the part `coverage`
    return {
        **told,
        "first": time_text(ingest.first),
        "last": time_text(ingest.last),
        "skips": [asdict(s) for s in ingest.skips],
        "coverage": [asdict(s) for s in ingest.coverage],
    }


def denial_document(denial: Denial) -> Json:
    """A denied flow with its rule path."""
    return {
        "source": denial.flow.source_label,
        "destination": denial.flow.destination_label,
        "protocol": protocol_name(denial.flow.protocol),
        "port": denial.flow.port,
        "records": denial.flow.records,
        "path": list(denial.verdict.path),
    }


def proof_document(proof: ReplayReport) -> Json:
    """The replay's outcome."""
    return {
        "flows": proof.flows,
        "records": proof.records,
        "denied": len(proof.denied),
        "denied_flows": [denial_document(d) for d in proof.denied[:DENIALS]],
        "undefined": len(proof.undefined),
        "undefined_flows": [denial_document(d) for d in proof.undefined[:DENIALS]],
        "always_allowed": proof.always_allowed,
        "unrestricted": proof.unrestricted,
        "unused_rules": [str(hit.rule) for hit in proof.hits if not hit.flows],
    }


def verified_document(observation: Observation, judged: Sequence[Judged]) -> str:
    """What `verify` found, as JSON text."""
    document = {
        "format_version": FORMAT_VERSION,
        "ingest": ingest_document(observation.ingest),
        "coverage": coverage_document(observation.ingest.windows, observation.inventory.flow_logs),
        "inventory_notes": [asdict(note) for note in observation.inventory.notes],
        "policies": [
            {
                "kind": one.kind,
                "policies": one.policies,
                **proof_document(one.proof),
                "rules": [
                    {"rule": str(hit.rule), "flows": hit.flows, "records": hit.records} for hit in one.proof.hits
                ],
                "tightness": _tightness_document(one.tightness),
                "left_out": list(one.problems),
                "notes": list(one.remarks),
            }
            for one in judged
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _tightness_document(tight: Tightness | None) -> Json | None:
    if tight is None:
        return None
    return {
        "allowed_cells": tight.allowed,
        "used_cells": tight.used,
        "share": tight.share,
        "allowed_pairs": tight.pairs,
        "used_pairs": tight.used_pairs,
        "loosest": [
            {"src": one.source, "dst": one.destination, "conn": str(one.connections), "unused_cells": one.unused}
            for one in tight.loosest
        ],
    }


def target_document(result: TargetResult) -> Json:
    """What came out for one platform."""
    return {
        "target": result.target,
        "files": list(result.files),
        "policies": [asdict(line) for line in result.policies],
        "unseen": list(result.unseen),
        "internet_facing": list(result.internet_facing),
        "notes": [{"kind": k, "subject": s, "detail": d} for k, s, d in result.notes],
        "errors": list(result.errors),
        "unreadable": list(result.problems),
        "proof": proof_document(result.proof),
    }


def previous_files(folder: Path) -> frozenset[str]:
    """Policy files that the run before wrote here, by its report; none when there is no readable one."""
    try:
        report = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return frozenset(str(name) for one in report["targets"] for name in one["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def write_report(
    folder: Path, observation: Observation, results: Sequence[TargetResult], earlier: frozenset[str]
) -> list[str]:
    """Write report.json; remove policy files of the run before that are not generated any more, and name them."""
    targets = {result.target for result in results}
    now = {name for result in results for name in result.files}
    stale = []
    for name in sorted(earlier - now):
        path = folder / name
        inside = folder.resolve() in path.resolve().parents
        if name.split("/")[0] in targets and inside and path.is_file():
            path.unlink()
            stale.append(name)
    document = {
        "flowctl": __version__,
        "format_version": FORMAT_VERSION,
        "targets": [target_document(result) for result in results],
        "map": map_document(observation),
    }
    write_files(folder, {NAME: json.dumps(document, indent=2, ensure_ascii=False) + "\n"})
    return stale
