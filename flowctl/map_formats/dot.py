"""The map as Graphviz DOT: namespaces as clusters, quarantined edges dashed."""

from __future__ import annotations

import json

import click

from flowctl.map_formats.graph import map_graph
from flowctl.observe import Observation


def show(observation: Observation) -> None:
    """Write the map to stdout."""
    graph = map_graph(observation)
    lines = ["digraph flows {", "  rankdir=LR; node [shape=box, fontname=sans];"]
    groups: dict[str, list[str]] = {}
    for name, facts in graph.nodes(data=True):
        groups.setdefault(facts["namespace"], []).append(name)
    for number, namespace in enumerate(sorted(groups)):
        if namespace:
            lines.append(f"  subgraph cluster_{number} {{ label={_quoted(namespace)};")
        for name in sorted(groups[namespace]):
            shape = "ellipse" if graph.nodes[name]["kind"] == "External" else "box"
            lines.append(f"    {_quoted(name)} [shape={shape}];")
        if namespace:
            lines.append("  }")
    for client, server, facts in sorted(graph.edges(data=True)):
        style = "solid" if facts["qualified"] else "dashed"
        lines.append(f"  {_quoted(client)} -> {_quoted(server)} [label={_quoted(facts['ports'])}, style={style}];")
    click.echo("\n".join([*lines, "}"]))


def _quoted(text: str) -> str:
    """A DOT string: JSON's quoting of quotes and backslashes is DOT's."""
    return json.dumps(text, ensure_ascii=False)
