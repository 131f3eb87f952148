"""The map as GraphML, for Gephi, yEd, Cytoscape and networkx."""

from __future__ import annotations

import networkx

from flowctl.map_formats.graph import map_graph
from flowctl.observe import Observation


def show(observation: Observation) -> None:
    """Write the map to stdout."""
    import click

    click.echo("\n".join(networkx.generate_graphml(map_graph(observation))))
