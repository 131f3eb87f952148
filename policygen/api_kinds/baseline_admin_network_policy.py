"""policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy: one a cluster, named `default`, without Pass."""

from __future__ import annotations

from typing import Any

from policygen.api_kinds.admin_network_policy import AlphaFields
from policygen.object_fields import Decoded

KIND = "BaselineAdminNetworkPolicy"
API_VERSION = "policy.networking.k8s.io/v1alpha1"

_LIMIT = 100
_ACTIONS = {"Allow": "Accept", "Deny": "Deny"}
_ONLY = 0  # there is one: no order among several


def decode(document: dict[str, Any], origin: str) -> Decoded:
    """The policy of one object. Collects every refusal, not just the first. Never raises."""
    decoder = AlphaFields(_ACTIONS, _LIMIT)
    decoder.spec(document, ("subject", "ingress", "egress"))
    policy = decoder.policy(document, origin, KIND, _ONLY)
    if policy.name and policy.name != "default":
        decoder.refuse("metadata.name", f"{policy.name!r}: the only BaselineAdminNetworkPolicy is named 'default'")
    return decoder.decoded(policy)
