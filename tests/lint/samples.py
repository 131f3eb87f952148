"""For each check a set of policies that it must fault, where, and one beside it that it must not."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.96.0.10, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: shop, labels: {app: job}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.244.1.7, phase: Running}
"""


def policy(name: str, spec: str, namespace: str = "shop") -> str:
    """A NetworkPolicy; `spec` is the mapping in braces."""
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )


def admin(name: str, spec: str) -> str:
    """A ClusterNetworkPolicy."""
    return (
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n"
        f"metadata: {{name: {name}}}\nspec: {spec}\n"
    )


WEB = "podSelector: {matchLabels: {app: web}}"
DNS = "{ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}"
FROM_DB = "from: [{podSelector: {matchLabels: {app: db}}}]"


def ingress(rules: str) -> str:
    return policy("web", f"{{{WEB}, policyTypes: [Ingress], ingress: [{rules}]}}")


def egress(rules: str) -> str:
    return policy("web", f"{{{WEB}, policyTypes: [Egress], egress: [{rules}]}}")


def everybody(action: str, direction: str = "ingress", field: str = "from") -> str:
    return f"{direction}: [{{action: {action}, {field}: [{{namespaces: {{}}}}]}}]"


def groups(rules: int, more: str = "") -> str:
    """A security group with `rules` CIDRs and `more` peers, as JSON."""
    ranges = ", ".join(f'{{"CidrIp": "10.0.{n}.0/24"}}' for n in range(rules))
    return (
        '{"SecurityGroups": [{"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": '
        f'[{{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{ranges}]'
        f"{', ' if more else ''}{more}}}]}}]}}"
    )


@dataclass(frozen=True)
class Sample:
    """`faulty` has the findings `paths` of the check and `proof` in one of their proofs; `sound` has none."""

    faulty: str
    paths: tuple[str, ...]
    proof: str
    sound: str
    severity: str
    cni: str = "spec"


SAMPLES: dict[str, Sample] = {
    "contained": Sample(
        faulty=ingress(f"{{{FROM_DB}, ports: [{{port: 80}}]}}, {{from: [{{podSelector: {{}}}}]}}"),
        paths=("spec.ingress[0]",),
        proof="contained in shop/web ingress rule 1",
        sound=ingress(
            f"{{{FROM_DB}, ports: [{{port: 80}}]}}, {{from: [{{podSelector: {{}}}}], ports: [{{port: 81}}]}}"
        ),
        severity="note",
    ),
    "redundant": Sample(
        faulty=ingress(f"{{{FROM_DB}}}")
        + policy("all", "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}]}"),
        paths=("",),
        proof="ingress rule 0 is in shop/all ingress rule 0",
        # the same, but the wider policy does not isolate for ingress
        sound=ingress(f"{{{FROM_DB}}}") + policy("all", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"),
        severity="note",
    ),
    "shadowed": Sample(
        faulty=admin(
            "a",
            "{tier: Admin, priority: 5, subject: {namespaces: {}}, ingress: ["
            "{action: Deny, from: [{namespaces: {}}]}, "
            "{action: Accept, from: [{namespaces: {matchLabels: {team: shop}}}]}]}",
        )
        + ingress("{from: [{podSelector: {}}], ports: [{port: 80}]}"),
        paths=("spec.ingress[1]", "spec.ingress[0]"),
        proof="shadowed by ClusterNetworkPolicy a ingress rule 0 (Deny)",
        sound=admin(
            "a",
            "{tier: Admin, priority: 5, subject: {namespaces: {}}, ingress: ["
            "{action: Pass, from: [{namespaces: {matchLabels: {team: shop}}}]}, "
            "{action: Deny, from: [{namespaces: {}}]}]}",
        )
        + ingress("{from: [{podSelector: {}}], ports: [{port: 80}]}"),
        severity="warning",
    ),
    "vacuous": Sample(
        faulty=policy("web", "{podSelector: {matchLabels: {app: wbe}}}"),
        paths=("spec.podSelector",),
        proof="closest is shop/web: app=web, not app=wbe",
        sound=policy("web", f"{{{WEB}}}"),
        severity="warning",
    ),
    "dangling-peer": Sample(
        faulty=ingress(
            "{from: [{podSelector: {matchLabels: {app: bd}}}, {namespaceSelector: {matchLabels: {team: shpo}}}]}"
        ),
        paths=("spec.ingress[0].from[0]", "spec.ingress[0].from[1]"),
        proof="closest is shop/db: app=db, not app=bd",
        sound=ingress(f"{{{FROM_DB}}}, {{from: [{{namespaceSelector: {{matchLabels: {{team: shop}}}}}}]}}"),
        severity="warning",
    ),
    "volatile-label": Sample(
        faulty=policy("web", "{podSelector: {matchLabels: {app: web, pod-template-hash: 5d4f}}}"),
        paths=("spec.podSelector",),
        proof="pod-template-hash",
        sound=policy("web", "{podSelector: {matchExpressions: [{key: pod-template-hash, operator: Exists}]}}"),
        severity="error",
    ),
    "dns-forgotten": Sample(
        faulty=egress("{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}"),
        paths=("spec.egress",),
        proof="web -> kube-system/kube-dns UDP 53 matches none of 1 egress rules",
        sound=egress(f"{{to: [{{podSelector: {{matchLabels: {{app: db}}}}}}], ports: [{{port: 5432}}]}}, {DNS}"),
        severity="error",
    ),
    "ruleless": Sample(
        faulty=policy("web", f"{{{WEB}, policyTypes: [Ingress, Egress]}}"),
        paths=("spec",),
        proof="has a rule for ingress or egress",
        sound=policy("web", f"{{{WEB}, policyTypes: [Ingress, Egress]}}")
        + policy("all", "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}"),
        severity="warning",
    ),
    "egress-only": Sample(
        faulty=policy("web", f"{{{WEB}, egress: [{DNS}]}}"),
        paths=("spec",),
        proof="-> shop/web, any port, is denied",
        sound=policy("web", f"{{{WEB}, policyTypes: [Egress], egress: [{DNS}]}}"),
        severity="error",
    ),
    "service-port": Sample(
        faulty=ingress(f"{{{FROM_DB}, ports: [{{port: 80}}]}}"),
        paths=("spec.ingress[0].ports[0]",),
        proof="shop/web is reached on TCP 8080",
        sound=ingress(f"{{{FROM_DB}, ports: [{{port: 8080}}]}}"),
        severity="error",
    ),
    "named-port": Sample(
        faulty=ingress(f"{{{FROM_DB}, ports: [{{port: htpp}}]}}"),
        paths=("spec.ingress[0].ports[0]",),
        proof="they declare http (TCP)",
        sound=ingress(f"{{{FROM_DB}, ports: [{{port: http}}]}}"),
        severity="error",
    ),
    "ipblock-pods": Sample(
        faulty=egress(f"{{to: [{{ipBlock: {{cidr: 10.244.0.0/16}}}}]}}, {DNS}"),
        paths=("spec.egress[0].to[0].ipBlock",),
        proof="10.244.1.7 is shop/job",
        sound=egress(f"{{to: [{{ipBlock: {{cidr: 10.244.0.0/16, except: [10.244.1.0/24]}}}}]}}, {DNS}"),
        severity="warning",
    ),
    "end-port": Sample(
        faulty=ingress(f"{{{FROM_DB}, ports: [{{port: 8080, endPort: 8090}}]}}"),
        paths=("spec.ingress[0].ports[0].endPort",),
        proof="TCP 8081 is in the range 8080-8090",
        sound=ingress(f"{{{FROM_DB}, ports: [{{port: 8080, endPort: 8080}}]}}"),
        severity="warning",
        cni="cilium",
    ),
    "world-open": Sample(
        faulty=ingress("{}, {from: [{ipBlock: {cidr: '::/0'}}]}"),
        paths=("spec.ingress[0]", "spec.ingress[1].from[0].ipBlock"),
        proof="203.0.113.7 -> a member",
        sound=ingress(f"{{{FROM_DB}}}, {{from: [{{namespaceSelector: {{}}}}]}}"),
        severity="warning",
    ),
    "ipv6-32": Sample(
        faulty=egress(f"{{to: [{{ipBlock: {{cidr: '2001:db8::/32'}}}}]}}, {DNS}"),
        paths=("spec.egress[0].to[0].ipBlock.cidr",),
        proof="2001:db8:ffff:ffff:ffff:ffff:ffff:ffff is in it",
        sound=egress(f"{{to: [{{ipBlock: {{cidr: '2001:db8::1/128'}}}}, {{ipBlock: {{cidr: 192.0.2.1/32}}}}]}}, {DNS}"),
        severity="error",
    ),
    "priority-tie": Sample(
        faulty=admin("a", f"{{tier: Admin, priority: 5, subject: {{namespaces: {{}}}}, {everybody('Deny')}}}")
        + admin("b", f"{{tier: Admin, priority: 5, subject: {{namespaces: {{}}}}, {everybody('Accept')}}}"),
        paths=("spec.priority",),
        proof="both select shop/",
        sound=admin("a", f"{{tier: Admin, priority: 5, subject: {{namespaces: {{}}}}, {everybody('Deny')}}}")
        + admin("b", f"{{tier: Admin, priority: 6, subject: {{namespaces: {{}}}}, {everybody('Accept')}}}"),
        severity="error",
    ),
    "group-quota": Sample(
        faulty=groups(61),
        paths=("",),
        proof="counted: 61",
        sound=groups(60),
        severity="warning",
    ),
    "stale-group": Sample(
        faulty=groups(1, '"UserIdGroupPairs": [{"GroupId": "sg-9"}]'),
        paths=("",),
        proof="no group sg-9",
        sound=groups(1, '"UserIdGroupPairs": [{"GroupId": "sg-1"}]'),
        severity="warning",
    ),
    "one-sided": Sample(
        faulty=egress(f"{{to: [{{podSelector: {{matchLabels: {{app: db}}}}}}], ports: [{{port: 5432}}]}}, {DNS}")
        + policy("db", "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5433}]}]}"),
        paths=("spec.egress[0]",),
        proof="shop/db is isolated for ingress by shop/db",
        sound=egress(f"{{to: [{{podSelector: {{matchLabels: {{app: db}}}}}}], ports: [{{port: 5432}}]}}, {DNS}")
        + policy("db", "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5400, endPort: 5500}]}]}"),
        severity="warning",
    ),
}
