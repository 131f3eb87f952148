"""`make fuzz-nca`: random clusters and the matrix of nine pods through NCA and through us; every cell must be equal."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from tests.matrix import cases
from tests.nca.comparing import PYTHON, differences, ours, run_nca
from tests.nca.random_manifests import Generator, Manifest

_BATCH = 50

_SET_ASIDE = re.compile(
    # NCA refuses what a server takes: rules of a direction that policyTypes leaves out, a spec without podSelector
    # (ValidateNetworkPolicySpec has nothing against either).
    r"target-rules-of-a-direction-not-listed|target-no-selector"
    # NCA looks for a pod selector's Exists and DoesNotExist in the policy's own namespace alone, also beside a
    # namespaceSelector (its get_peers_with_key); "selects particular Pods within particular namespaces" is the
    # documented meaning ("Behavior of to and from selectors").
    r"|peer-(?!nil)[a-z-]+-(exists|absent)-"
    # NCA takes `egress: []` without policyTypes for isolation; "Egress if the policy has any egress rules" is the
    # defaulting (NetworkPolicySpec.policyTypes, SetDefaults_NetworkPolicy).
    r"|target-no-types-both"
)


def main() -> int:
    """The exit code: 0 when no cell differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="the first of consecutive seeds")
    options = parser.parse_args()
    if not PYTHON.exists():
        print(f"{PYTHON} is missing: `make fuzz-nca` makes it", file=sys.stderr)
        return 2
    work: list[tuple[str, list[Manifest]]] = [
        (name, [*cases.cluster(), *policies]) for name, policies in cases.every_case() if not _SET_ASIDE.match(name)
    ]
    work += [
        (f"seed-{seed}", Generator(seed).manifests()) for seed in range(options.seed, options.seed + options.rounds)
    ]
    bad = cells = 0
    for start in range(0, len(work), _BATCH):
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name, manifests in work[start : start + _BATCH]:
                files.append(Path(folder, f"{name}.yaml"))
                files[-1].write_text("\n---\n".join(map(json.dumps, manifests)))
            for file, _, theirs in run_nca(files):
                own = ours(file)
                cells += len(own)
                found = differences(own, theirs)
                bad += bool(found)
                for line in found[:5]:
                    print(f"{file.stem}: ours and NCA's differ at {line}")
        print(f"{min(start + _BATCH, len(work))} of {len(work)} sets compared, {bad} differ", flush=True)
    print(f"{len(work)} sets of policies, {cells} lines, {bad} with a difference")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
