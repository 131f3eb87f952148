"""Kubernetes NetworkPolicies: written below `kubernetes/`, one file each, and proven."""

from __future__ import annotations

from flowctl.observe import Observation, write_files
from flowctl.targets import GenerateOptions, PolicyLine, TargetResult
from policygen.manifests import read_policies
from policygen.model import Policy
from policygen.synthesis.networkpolicies import Synthesis, SynthesisOptions, synthesize
from policygen.targets import Inexpressible, target
from policygen.verify.replay import replay

FOLDER = "kubernetes"


def run(observation: Observation, options: GenerateOptions) -> TargetResult:
    """One NetworkPolicy a workload that was seen; see flowctl.targets.Runner."""
    made = synthesize(
        observation.inventory,
        observation.qualification.edges,
        observation.map.seen,
        SynthesisOptions(
            default_deny=options.default_deny,
            internet_sources=options.internet_sources,
            max_exact_addresses=options.max_exact_addresses,
        ),
    )
    try:
        files = target("kubernetes").render(made.policies)
    except Inexpressible as refused:
        return TargetResult("kubernetes", errors=refused.problems)
    paths = write_files(options.out / FOLDER, files)
    read = read_policies(paths)
    proof = replay(read, observation.inventory, observation.qualified_flows())
    members: dict[str, list[str]] = {}
    for workload, policy in made.isolated:
        members.setdefault(policy, []).append(f"{workload.namespace}/{workload.name}")
    return TargetResult(
        "kubernetes",
        files=tuple(f"{FOLDER}/{name}" for name in sorted(files)),
        policies=tuple(_line(policy, members, made) for policy in made.policies.policies),
        notes=tuple((note.kind, note.subject, note.detail) for note in made.notes),
        unseen=tuple(f"{w.namespace}/{w.name} ({w.kind})" for w in made.unseen),
        internet_facing=tuple(
            f"{i.workload} {i.protocol} {i.port}: {i.sources} public sources -> "
            f"{', '.join(i.blocks)} without private ranges"
            for i in made.internet_facing
        ),
        proof=proof,
        problems=tuple(f"{p.where}: {p.reason}" for p in read.problems),
    )


def _line(policy: Policy, members: dict[str, list[str]], made: Synthesis) -> PolicyLine:
    name = f"{policy.namespace}/{policy.name}"
    workloads = tuple(sorted(members.get(name, ())))
    remarks = sorted({note.kind for note in made.notes if note.subject in (name, *workloads)})
    return PolicyLine(name, workloads, len(policy.ingress or ()), len(policy.egress or ()), tuple(remarks))
