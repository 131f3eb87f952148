"""What passes between the files, the formats and the join: documents in, facts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from analyzers.inventory.fields import Address, Notes
from analyzers.inventory.model import Endpoint, FlowLog, Identity, Interface, SecurityGroup, Service

Layer = Literal["cluster", "cloud", "table"]


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document of one file, or the text of a file whose format is no YAML or JSON."""

    value: object
    where: str  # place in the file, "" where the file is one document
    notes: Notes  # of its file
    network: str = ""
    forced: bool = False  # the user named this network for the file: it holds whatever the file says

    def network_of(self, said: str) -> str:
        """The network of something in this document that says to live in `said` ("" says nothing)."""
        return self.network if self.forced or not said else said

    @property
    def origin(self) -> str:
        """File and place, for messages."""
        return f"{self.notes.file}: {self.where}" if self.where else self.notes.file


@dataclass(frozen=True)
class Facts:
    """What one format read from all documents that are its own; not sorted, not yet joined with other formats."""

    layer: Layer
    endpoints: list[Endpoint] = field(default_factory=list)
    workloads: list[Identity] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    pod_cidrs: list[tuple[str, str]] = field(default_factory=list)  # (network, CIDR)
    security_groups: list[SecurityGroup] = field(default_factory=list)
    host_network_workloads: list[Identity] = field(default_factory=list)
    templates: list[Endpoint] = field(default_factory=list)
    provider_ids: dict[tuple[str, str], str] = field(default_factory=dict)  # (network, node) -> cloud instance id
    secondary: dict[tuple[str, str], frozenset[Address]] = field(default_factory=dict)  # (network, instance) -> ...
    flow_logs: list[FlowLog] = field(default_factory=list)
