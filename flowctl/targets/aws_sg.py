"""AWS security groups as Terraform: written below `aws-sg/`, one file a VPC, and proven."""

from __future__ import annotations

from flowctl.observe import Observation, write_files
from flowctl.targets import GenerateOptions, PolicyLine, TargetResult
from policygen.synthesis.security_groups import GroupOptions, synthesize_groups
from policygen.targets import Inexpressible, target
from policygen.terraform import read_groups
from policygen.verify.security_groups import replay_groups


def run(observation: Observation, options: GenerateOptions) -> TargetResult:
    """One group a workload, references where both ends are groups; see flowctl.targets.Runner."""
    made = synthesize_groups(
        observation.inventory,
        observation.qualification.edges,
        observation.map.seen,
        GroupOptions(internet_sources=options.internet_sources),
    )
    try:
        files = target("aws-sg").render(made.policies)
    except Inexpressible as refused:
        return TargetResult("aws-sg", errors=refused.problems)
    read = read_groups(write_files(options.out, files))
    failed = {error.network for error in made.errors}
    # a VPC whose groups do not fit has no files, and so nothing to prove
    flows = [f for f in observation.qualified_flows() if not {_network(f.source), _network(f.destination)} & failed]
    proof = replay_groups(read, observation.inventory, flows)
    return TargetResult(
        "aws-sg",
        files=tuple(sorted(files)),
        policies=tuple(
            PolicyLine(f"{p.namespace}/{p.name}", p.members, len(p.ingress or ()), len(p.egress or ()))
            for p in made.policies.policies
        ),
        notes=tuple((note.reason, note.subject, note.detail) for note in made.notes),
        errors=tuple(str(error) for error in made.errors),
        unseen=tuple(f"{w.network}/{w.name} ({w.kind})" for w in made.unseen),
        internet_facing=tuple(
            f"{o.network}/{o.group} {o.ports}: {o.sources} public sources -> {o.cidr}" for o in made.internet_facing
        ),
        proof=proof,
        problems=tuple(f"{p.where}: {p.reason}" for p in read.problems),
    )


def _network(end: object) -> str | None:
    endpoint = getattr(end, "endpoint", None)
    return endpoint.network if endpoint is not None else None
