"""Policies and peers that select nothing."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import Case, peers
from policygen.lint.containment import block_spans, satisfiable
from policygen.lint.model import Finding, Severity
from policygen.lint.wording import nearest, selector_text
from policygen.model import CidrPeer, PodPeer, Selector
from policygen.verify.evaluate import policy_name

DOC = "a policy that selects no pod, or a selector or block that can match nothing"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Selectors that contradict themselves, blocks that except all of themselves, policies without a pod."""
    for policy in case.policies.policies:
        name = policy_name(policy)
        if not satisfiable(policy.subject):
            yield Finding(
                name, policy.origin, "spec.podSelector", *_contradiction(policy.subject), severity=Severity.ERROR
            )
        elif case.knows_pods and not case.subjects(policy):
            own = [pod for pod in case.pods if pod.namespace == policy.namespace]
            yield Finding(
                name,
                policy.origin,
                "spec.podSelector",
                f"no pod of namespace {policy.namespace} has {selector_text(policy.subject)}: the policy does nothing",
                f"{len(own)} kinds of pods of {policy.namespace} were looked at; {nearest(policy.subject, own)}"
                if own
                else f"the inventory has no pod in namespace {policy.namespace}",
            )
        for _, peer, path in peers(policy):
            if isinstance(peer, CidrPeer) and not block_spans(peer):
                proof = f"{', '.join(peer.excepts)} together are all of {peer.cidr}"
                yield Finding(name, policy.origin, f"{path}.ipBlock", "the exceptions leave no address", proof)
            elif isinstance(peer, PodPeer):
                for field, selector in (("namespaceSelector", peer.namespaces), ("podSelector", peer.pods)):
                    if selector is not None and not satisfiable(selector):
                        yield Finding(
                            name, policy.origin, f"{path}.{field}", *_contradiction(selector), severity=Severity.ERROR
                        )
    carried = {name for one in case.inventory.interfaces for name in one.security_groups}
    carried |= {name for one in case.inventory.endpoints for name in one.security_groups}
    for group in case.groups.policies if carried else ():
        if group.name not in carried and not group.members:
            proof = f"none of {len(case.inventory.interfaces)} interfaces lists {group.name}"
            yield Finding(policy_name(group), group.origin, "", "no interface carries this security group", proof)
    for admin in case.policies.admin:
        if case.knows_pods and not case.subjects(admin):
            selected = admin.subject.pods or admin.subject.namespaces or Selector()
            proof = f"none of {len(case.pods)} kinds of pods in {len(case.namespaces)} namespaces matches"
            yield Finding(str(admin), admin.origin, "spec.subject", f"no pod matches {selector_text(selected)}", proof)


def _contradiction(selector: Selector) -> tuple[str, str]:
    return "no labels can satisfy this selector", f"it asks for {selector_text(selector)} at once"
