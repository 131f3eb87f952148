"""Selectors on labels that change with every rollout, run or pod."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import DIRECTIONS, Case, peers
from policygen.lint.checks.shadowed import admin_rules
from policygen.lint.model import Finding, Severity
from policygen.model import PodPeer, Selector
from policygen.verify.evaluate import policy_name

DOC = "a selector on a label that changes with a rollout, a run, a pod or a release"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False

_REASONS = {
    # Kubernetes, "Well-Known Labels, Annotations and Taints", and the controllers that set them
    "pod-template-hash": "every rollout of a Deployment sets another",
    "controller-revision-hash": "every rollout of a StatefulSet or DaemonSet sets another",
    "pod-template-generation": "every rollout of a DaemonSet sets another",
    "rollouts-pod-template-hash": "every rollout sets another",
    "controller-uid": "every Job has another",
    "job-name": "every run of a CronJob has another",
    "batch.kubernetes.io/controller-uid": "every Job has another",
    "batch.kubernetes.io/job-name": "every run of a CronJob has another",
    "batch.kubernetes.io/job-completion-index": "every pod of the Job has another",
    "statefulset.kubernetes.io/pod-name": "every pod of the StatefulSet has another",
    "apps.kubernetes.io/pod-index": "every pod of the StatefulSet has another",
}
_RELEASES = {
    "app.kubernetes.io/version": "every release sets another",
    "helm.sh/chart": "every version of the chart sets another",
    "chart": "every version of the chart sets another",
}


def find(case: Case) -> Iterator[Finding]:
    """Every selector, of subjects and of peers."""
    for policy in case.policies.policies:
        places = [("spec.podSelector", policy.subject)]
        for _, peer, path in peers(policy):
            if isinstance(peer, PodPeer) and peer.pods is not None:
                places.append((f"{path}.podSelector", peer.pods))
        for path, selector in places:
            yield from _selector(policy_name(policy), policy.origin, path, selector)
    for admin in case.policies.admin:
        chosen = [("spec.subject", admin.subject.pods)]
        for direction in DIRECTIONS:
            for index, rule in enumerate(admin_rules(admin, direction)):
                chosen += [(f"spec.{direction}[{index}]", p.pods) for p in rule.peers if isinstance(p, PodPeer)]
        for path, pods in chosen:
            yield from _selector(str(admin), admin.origin, path, pods or Selector())


def _selector(policy: str, origin: str, path: str, selector: Selector) -> Iterator[Finding]:
    wanted = [(key, f"{key}={value}") for key, value in selector.labels]
    # that such a label exists or not does not change with its value
    wanted += [(r.key, f"{r.key} {r.operator} {', '.join(r.values)}") for r in selector.expressions if r.values]
    for key, text in wanted:
        reason = _REASONS.get(key) or _RELEASES.get(key)
        if reason:
            yield Finding(
                policy,
                origin,
                path,
                f"{text} stops matching: {reason}",
                f"the label {key} is not the workload's own but set anew each time",
                "select on a label that says what the workload is, like app.kubernetes.io/name",
                severity=Severity.ERROR if key in _REASONS else None,
            )
