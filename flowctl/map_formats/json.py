"""The map as one JSON object, edges sorted."""

from __future__ import annotations

import json

import click

from flowctl.observe import Observation
from flowctl.report import map_document


def show(observation: Observation) -> None:
    """Write the map to stdout."""
    click.echo(json.dumps(map_document(observation), indent=2, ensure_ascii=False))
