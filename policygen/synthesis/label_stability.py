"""Which labels outlive a pod: what a selector may lean on, and in which order of preference."""

from __future__ import annotations

from enum import IntEnum

from policygen.label_syntax import label_key_problem, label_value_problem

PREFERRED = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app",
    "k8s-app",
    "name",
    "component",
    "tier",
    "role",
)
"""Keys that say what a workload is, best first: Kubernetes' recommended labels, then what charts used before them."""

_VOLATILE_KEYS = frozenset(
    {
        "pod-template-hash",  # Deployment, a new one for each ReplicaSet
        "controller-revision-hash",  # StatefulSet, DaemonSet
        "pod-template-generation",  # DaemonSet
        "controller-uid",  # Job
        "job-name",  # Job; one of a CronJob has a new one each run
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "rollouts-pod-template-hash",  # Argo Rollouts
        "security.istio.io/tlsMode",  # set by sidecar injection
        "service.istio.io/canonical-name",  # set by sidecar injection
        "spark-app-selector",
        "spark-exec-id",
        "spark-exec-resourceprofile-id",
        "run_id",  # Airflow, as are the next three
        "try_number",
        "execution_date",
        "map_index",
    }
)
_VOLATILE_PREFIXES = (
    "batch.kubernetes.io",
    "workflows.argoproj.io",
    "tekton.dev",
    "jobset.sigs.k8s.io",
    "leaderworkerset.sigs.k8s.io",
    "training.kubeflow.org",
)
_VOLATILE_ENDINGS = ("-hash", "-uid", "-uuid", "-pod-name", "-pod-index", "-run-id", "-completion-index")
_VERSION_NAMES = frozenset(
    {
        "version",
        "revision",
        "chart",
        "canonical-revision",
        "rev",
        "tag",
        "image-tag",
        "commit",
        "git-commit",
        "git-sha",
        "sha",
        "build",
        "build-number",
        "deployment",  # OpenShift DeploymentConfig: name and number of the rollout
    }
)


class Stability(IntEnum):
    """How long a label's value holds."""

    STABLE = 0
    VERSION = 1  # changes with a release
    VOLATILE = 2  # changes with a pod, a run or a rollout; or no label that Kubernetes would take


def stability(key: str, value: str) -> Stability:
    """How far a selector may lean on this label. The recommended keys are stable whatever their value."""
    if label_key_problem(key) or label_value_problem(value):
        return Stability.VOLATILE
    prefix, _, name = key.rpartition("/")
    if key in _VOLATILE_KEYS or prefix in _VOLATILE_PREFIXES or name.endswith(_VOLATILE_ENDINGS):
        return Stability.VOLATILE
    if name in ("hash", "uid", "uuid"):
        return Stability.VOLATILE
    return Stability.VERSION if name in _VERSION_NAMES else Stability.STABLE


def preference(key: str) -> tuple[int, str]:
    """Sort key: the preferred keys in their order, then all others by the alphabet."""
    return (PREFERRED.index(key), "") if key in PREFERRED else (len(PREFERRED), key)
