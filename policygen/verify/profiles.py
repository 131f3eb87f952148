"""What network plugins do where the specification leaves it to them, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CniProfile:
    """One plugin's answers. The specification's own profile answers so that a proof leans on no plugin's habit."""

    name: str
    blocks_match_pods: bool = False
    """Whether an ipBlock of a NetworkPolicy matches the address of a pod. `networks` of admin policies always do."""
    blocks_match_nodes: bool = True
    """Whether an ipBlock matches the address of a node or of a pod on the host's network."""
    end_port: bool = True
    """Whether `endPort` is honoured; a plugin that does not know it applies the rule to `port` alone."""
    selects_standalone_pods: bool = True
    """Whether a policy applies to a pod that no workload owns."""
    selects_host_network: bool = False
    """Whether pods on the host's network are pods to policies. The other reading: they are their node's address."""
    remarks: tuple[str, ...] = ()
    """What else differs and cannot be told from a flow between pods."""


PROFILES = {
    one.name: one
    for one in (
        # "NetworkPolicies" of the Kubernetes documentation: ipBlocks are for cluster-external addresses, and whether
        # rewriting of addresses happens before or after the policy is undefined.
        CniProfile("spec"),
        # Calico turns an ipBlock into a set of addresses, whoever holds them (Calico, "Kubernetes policy").
        CniProfile("calico", blocks_match_pods=True),
        # Cilium's CIDR rules match no endpoint that it manages, and no node (Cilium, "Network policy", "Limitations").
        CniProfile("cilium", blocks_match_nodes=False),
        # The VPC CNI's agent matches addresses in eBPF at the pod's interface, and leaves pods without an owner alone
        # (Amazon EKS user guide, "Limit Pod traffic with Kubernetes network policies", considerations).
        CniProfile(
            "aws",
            blocks_match_pods=True,
            selects_standalone_pods=False,
            remarks=("egress to a Service is compared with its cluster address, before it is translated",),
        ),
        # OVN-Kubernetes compares addresses in ACLs of the logical switch port, whoever holds them.
        CniProfile("ovn", blocks_match_pods=True),
    )
}
"""Every profile by its name."""

SPEC = PROFILES["spec"]
