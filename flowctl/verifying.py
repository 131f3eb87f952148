"""Any directory of policies, judged against what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from flowctl.observe import Observation
from policygen.manifests import read_policies
from policygen.terraform import read_groups
from policygen.verify.replay import ReplayReport, replay
from policygen.verify.security_groups import replay_groups


@dataclass(frozen=True)
class Judged:
    """The outcome for one kind of policies."""

    kind: str
    policies: int
    proof: ReplayReport
    problems: tuple[str, ...]


def verify(folder: Path, observation: Observation) -> list[Judged]:
    """NetworkPolicies and security groups below `folder`, each kind that is there. Raises click.UsageError for none."""
    flows = observation.qualified_flows()
    found: list[Judged] = []
    manifests = read_policies([folder])
    if manifests.policies or manifests.problems:
        proof = replay(manifests, observation.inventory, flows)
        problems = tuple(f"{p.where}: {p.reason}" for p in manifests.problems)
        found.append(Judged("NetworkPolicy", len(manifests.policies), proof, problems))
    if folder.suffix == ".tf" or (folder.is_dir() and any(folder.rglob("*.tf"))):
        groups = read_groups([folder])
        proof = replay_groups(groups, observation.inventory, flows)
        problems = tuple(f"{p.where}: {p.reason}" for p in groups.problems)
        found.append(Judged("security group", len(groups.policies), proof, problems))
    if not found:
        raise click.UsageError(f"{folder}: no NetworkPolicy in *.yaml, *.yml or *.json, and no *.tf")
    return found
