"""NetworkPolicies that speak of egress only and leave policyTypes to the server, which adds Ingress."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import Case, pod_text
from policygen.lint.model import Finding, Severity
from policygen.verify.evaluate import policy_name

DOC = "an egress section without policyTypes: the pods are isolated for ingress, too"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """From the object as written: once decoded, a default looks like a choice."""
    for policy in case.policies.policies:
        spec = case.objects.get(policy.origin, {}).get("spec")
        if not isinstance(spec, dict) or spec.get("policyTypes") or spec.get("ingress") is not None:
            continue
        if "egress" not in spec:
            continue
        names = sorted(pod_text(pod) for pod in case.subjects(policy))
        witness = names[0] if names else "a pod that it selects"
        effect = "policyTypes is missing, so Ingress is in it"
        if not spec["egress"]:  # the server looks at the number of rules: none, so no Egress
            message = f"{effect} and Egress is not: ingress is denied, egress is not restricted at all"
        else:
            message = f"{effect} beside Egress: nothing may reach these pods any more"
        yield Finding(
            policy_name(policy),
            policy.origin,
            "spec",
            message,
            f"witness: any pod -> {witness}, any port, is denied: isolated for ingress without a rule",
            "write policyTypes: [Egress], or [Ingress, Egress] if that is meant",
        )
