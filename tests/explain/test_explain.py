"""`flowctl explain`: the answer, its reasons, and what it says about ends and ports that nobody has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowctl.cli import main

CLUSTER = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {team: ops}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.96.0.7, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIP: 10.244.0.5, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: ops, labels: {app: probe}}
spec: {nodeName: n2, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.244.1.6}, {ip: "2001:db8::6"}], phase: Running}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}
"""

NETWORK_POLICY = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: sql}]
  - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
    ports: [{port: 5432}]
  - from: [{namespaceSelector: {matchLabels: {team: back}}}]
"""

ADMIN = """\
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {{name: {name}}}
spec:
  tier: {tier}
  priority: 5
  subject: {{namespaces: {{matchLabels: {{team: shop}}}}}}
  {direction}:
  - {{name: first, action: {action}, {field}: [{peer}]}}
"""


def admin(action: str, tier: str = "Admin", peer: str = "{namespaces: {}}", direction: str = "ingress") -> str:
    field = "from" if direction == "ingress" else "to"
    return ADMIN.format(
        name=f"cnp-{action.lower()}", tier=tier, action=action, peer=peer, direction=direction, field=field
    )


def ask(folder: Path, policies: str, source: str, destination: str, port: str, *more: str) -> Result:
    (folder / "all.yaml").write_text(CLUSTER + policies)
    arguments = ["explain", str(folder), "--from", source, "--to", destination, "--port", port, *more]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


CASES = [
    pytest.param(
        NETWORK_POLICY,
        "shop/web",
        "shop/db",
        "5432/tcp",
        "allowed",
        ["allowed by shop/db ingress rule 0"],
        id="named-port",
    ),
    pytest.param(
        NETWORK_POLICY,
        "shop/web",
        "shop/db",
        "5433",
        "denied",
        [
            "the destination is isolated by shop/db; no rule matches",
            "port: its ports are TCP 'sql' ('sql' is TCP 5432 at db); asked is TCP 5433",
            "smallest change: in shop/db ingress rule 0: add TCP 5433 to its ports",
        ],
        id="port",
    ),
    pytest.param(
        NETWORK_POLICY,
        "shop/web",
        "shop/db",
        "5432/udp",
        "denied",
        ["protocol: its ports are TCP 'sql'; asked is UDP 5432"],
        id="protocol",
    ),
    pytest.param(
        NETWORK_POLICY,
        "ops/probe",
        "shop/db",
        "5432",
        "denied",
        [
            "namespace: namespaceSelector team=back: namespace ops has team=ops, not team=back",
            "shop/db ingress rule 2",
            "in shop/db ingress rule 2: let the namespaceSelector choose ops",
            'kubernetes.io/metadata.name: "ops"',
        ],
        id="namespace",
    ),
    pytest.param(
        NETWORK_POLICY,
        "192.0.2.200",
        "shop/db",
        "5432",
        "denied",
        ["address: 192.0.2.200 is in the exception 192.0.2.128/25", "narrow the exception", 'cidr: "192.0.2.200/32"'],
        id="exception",
    ),
    pytest.param(
        NETWORK_POLICY, "192.0.2.7", "shop/db", "5432", "allowed", ["allowed by shop/db ingress rule 1"], id="block"
    ),
    pytest.param(
        NETWORK_POLICY,
        "198.51.100.7",
        "shop/db",
        "5432",
        "denied",
        ["address: 198.51.100.7 is not in 192.0.2.0/24", "add 198.51.100.7/32"],
        id="address",
    ),
    pytest.param(
        NETWORK_POLICY,
        "2001:db8::9",
        "shop/db",
        "5432",
        "denied",
        ["address: 2001:db8::9 is not in 192.0.2.0/24", "add 2001:db8::9/128"],
        id="ipv6",
    ),
    pytest.param(
        NETWORK_POLICY,
        "10.244.1.6",
        "shop/db",
        "5432",
        "denied",
        ["ops/probe (Pod) at 10.244.1.6 -> "],
        id="address-of-a-pod",
    ),
    pytest.param(NETWORK_POLICY, "n1", "shop/db", "1", "allowed", ["its own node is always allowed"], id="own-node"),
    pytest.param(
        "",
        "ops/probe",
        "10.96.0.7",
        "80",
        "allowed",
        ["shop/front is a Service", "shop/web (Deployment) TCP 8080"],
        id="address-of-a-service",
    ),
    pytest.param(
        "",
        "ops/probe",
        "shop/front",
        "80",
        "allowed",
        ["shop/front is a Service", "shop/web (Deployment) TCP 8080", "no policy isolates the destination"],
        id="service",
    ),
    pytest.param(
        "", "ops/probe", "shop/web", "80", "allowed", ["80 is the port of Service shop/front"], id="service-port"
    ),
    pytest.param("", "ops/probe", "shop/web", "http/tcp", "allowed", ["TCP 8080"], id="port-by-name"),
    pytest.param("", "shop/web", "shop/web", "8080", "allowed", ["another pod of web"], id="within-a-workload"),
    pytest.param("", "192.0.2.1", "198.51.100.1", "443", "allowed", ["no policy can select either end"], id="outside"),
    pytest.param(
        NETWORK_POLICY + admin("Deny"),
        "shop/web",
        "shop/db",
        "5432",
        "denied",
        [
            "denied by ClusterNetworkPolicy cnp-deny ingress rule 0 (Admin tier, priority 5)",
            "no NetworkPolicy can allow it: ClusterNetworkPolicy cnp-deny ingress rule 0 denies it before",
        ],
        id="admin-deny",
    ),
    pytest.param(
        NETWORK_POLICY + admin("Accept"),
        "ops/probe",
        "shop/db",
        "1",
        "allowed",
        ["accepted by ClusterNetworkPolicy cnp-accept ingress rule 0 (Admin tier, priority 5)"],
        id="admin-accept",
    ),
    pytest.param(
        NETWORK_POLICY + admin("Pass"),
        "ops/probe",
        "shop/db",
        "1",
        "denied",
        ["passed on by ClusterNetworkPolicy cnp-pass ingress rule 0", "isolated by shop/db; no rule matches"],
        id="admin-pass",
    ),
    pytest.param(
        admin("Deny", "Baseline"),
        "ops/probe",
        "shop/db",
        "5432",
        "denied",
        [
            "no policy isolates the destination",
            "(Baseline tier, priority 5)",
            "a NetworkPolicy that selects the pod comes before ClusterNetworkPolicy cnp-deny ingress rule 0",
        ],
        id="baseline-deny",
    ),
    pytest.param(
        NETWORK_POLICY + admin("Deny", "Baseline"),
        "shop/web",
        "shop/db",
        "5432",
        "allowed",
        ["allowed by shop/db ingress rule 0"],
        id="baseline-behind-networkpolicy",
    ),
    pytest.param(
        admin("Deny", peer="{networks: [0.0.0.0/0]}", direction="egress"),
        "shop/web",
        "api.example.org",
        "443",
        "denied",
        ["no address of api.example.org is known", "denied by ClusterNetworkPolicy cnp-deny egress rule 0"],
        id="name-denied",
    ),
    pytest.param(
        admin("Accept", peer="{domainNames: ['*.example.org']}", direction="egress")
        + admin("Deny", peer="{networks: [0.0.0.0/0]}", direction="egress").replace("priority: 5", "priority: 6"),
        "shop/web",
        "api.example.org",
        "443",
        "allowed",
        ["accepted by ClusterNetworkPolicy cnp-accept egress rule 0"],
        id="name-accepted",
    ),
    pytest.param(
        admin("Accept", peer="{domainNames: ['*.example.org']}", direction="egress")
        + admin("Deny", peer="{networks: [0.0.0.0/0]}", direction="egress").replace("priority: 5", "priority: 6"),
        "shop/web",
        "example.org",
        "443",
        "denied",
        ["it is for the domain name *.example.org; the other end is example.org"],
        id="name-not-below",
    ),
    pytest.param(NETWORK_POLICY, "shop/web", "shop/db", "icmp", "undefined", ["ICMP"], id="icmp"),
]


@pytest.mark.parametrize(("policies", "source", "destination", "port", "word", "said"), CASES)
def test_the_answer_and_its_reasons(
    tmp_path: Path, policies: str, source: str, destination: str, port: str, word: str, said: list[str]
) -> None:
    result = ask(tmp_path, policies, source, destination, port)
    assert result.exit_code == 0
    assert result.output.startswith(f"{word}: "), result.output
    for text in said:
        assert text in result.output, f"{text!r} is not in\n{result.output}"
    if word == "denied":
        assert "smallest change: " in result.output


def test_rules_are_shown_with_their_lines(tmp_path: Path) -> None:
    result = ask(tmp_path, NETWORK_POLICY, "shop/web", "shop/db", "5433")
    text = (tmp_path / "all.yaml").read_text().splitlines()
    line = next(number for number, one in enumerate(text, 1) if "app: web}}}]" in one)
    assert f"shop/db ingress rule 0 (TCP 'sql') at {tmp_path}/all.yaml:{line}" in result.output


def test_json_has_every_rule(tmp_path: Path) -> None:
    result = ask(tmp_path, NETWORK_POLICY, "ops/probe", "shop/db", "5432", "--format", "json")
    (answer,) = json.loads(result.output)["answers"]
    assert (answer["verdict"], answer["port"]) == ("denied", "TCP 5432")
    egress, ingress = answer["ends"]
    assert egress["allowed"] and not ingress["allowed"]
    assert [rule["rule"] for rule in ingress["rules"]] == [f"shop/db ingress rule {index}" for index in range(3)]
    assert [[miss["part"] for miss in rule["misses"]] for rule in ingress["rules"]] == [
        ["namespace", "pod"],
        ["peer"],
        ["namespace"],
    ]
    assert ingress["nearest"][0] == "shop/db ingress rule 2"


def test_what_depends_on_the_plugin_is_said(tmp_path: Path) -> None:
    policies = NETWORK_POLICY.replace("192.0.2.0/24, except: [192.0.2.128/25]", "10.244.0.0/16")
    spec = ask(tmp_path, policies, "ops/probe", "shop/db", "5432")
    assert spec.output.startswith("denied") and "depends on the network plugin" in spec.output
    assert "with profile spec those do not match pods" in spec.output
    calico = ask(
        tmp_path, policies.replace("10.244.0.0/16", "0.0.0.0/0"), "192.0.2.1", "shop/db", "5432", "--cni", "calico"
    )
    assert calico.output.startswith("allowed") and "depends on" not in calico.output


def test_pods_of_one_workload_that_policies_tell_apart_are_all_asked(tmp_path: Path) -> None:
    pod = (
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: api-{n}, namespace: shop, labels: {{app: api, v: '{n}'}}, "
        "ownerReferences: [{{kind: StatefulSet, name: api, controller: true}}]}}\nspec: {{containers: []}}\n"
        "status: {{podIP: 10.244.3.{n}, phase: Running}}\n"
    )
    policy = (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: api, namespace: shop}\n"
        "spec: {podSelector: {matchLabels: {v: '1'}}}\n"
    )
    result = ask(tmp_path, pod.format(n=1) + pod.format(n=2) + policy, "ops/probe", "shop/api", "80")
    words = [line.split(":")[0] for line in result.output.splitlines() if "-> shop/api" in line]
    assert words == ["denied", "allowed"]
    assert "pod api-1" in result.output and "pod api-2" in result.output


@pytest.mark.parametrize(
    ("source", "destination", "port", "said"),
    [
        ("shop/wbe", "shop/db", "1", "'shop/wbe' is no workload, pod, Service or host of the inventory"),
        ("shop/wbe", "shop/db", "1", "close are shop/web"),
        ("shop/web", "shop/db", "0", "0 is not between 1 and 65535"),
        ("shop/web", "shop/db", "65536/tcp", "65536 is not between 1 and 65535"),
        ("shop/web", "shop/db", "80/quic", "is no port: write 5432/tcp"),
        ("shop/web", "shop/db", "http/tcp", "the destination has no TCP port named 'http'; it names sql (TCP 5432)"),
        ("300.1.1.1", "shop/db", "80", "'300.1.1.1' is no workload"),
    ],
)
def test_what_nobody_has_is_said(tmp_path: Path, source: str, destination: str, port: str, said: str) -> None:
    result = ask(tmp_path, "", source, destination, port)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split()), result.output


def test_a_broken_document_is_said_and_strict_refuses(tmp_path: Path) -> None:
    broken = NETWORK_POLICY + "---\n{ broken\n"
    result = ask(tmp_path, broken, "shop/web", "shop/db", "5432")
    assert result.exit_code == 0 and "left out: " in result.output and "all.yaml" in result.output
    strict = ask(tmp_path, broken, "shop/web", "shop/db", "5432", "--strict")
    assert strict.exit_code == 3 and not strict.output.startswith("allowed")


GROUPS = {
    "SecurityGroups": [
        {
            "GroupId": "sg-a", "VpcId": "vpc-1", "IpPermissions": [],
            "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
        },
        {
            "GroupId": "sg-b", "VpcId": "vpc-1", "IpPermissionsEgress": [],
            "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": "sg-a"}]},
                {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.9.0.0/16"}]},
            ],
        },
    ],
    "NetworkInterfaces": [
        {
            "NetworkInterfaceId": f"eni-{n}", "VpcId": "vpc-1", "PrivateIpAddress": f"10.0.0.{n}",
            "Groups": [{"GroupId": g}],
        }
        for n, g in ((1, "sg-a"), (2, "sg-b"))
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "destination", "port", "word", "said"),
    [
        (
            "10.0.0.1",
            "10.0.0.2",
            "5432",
            "allowed",
            ["the destination carries vpc-1/sg-b; allowed by vpc-1/sg-b ingress rule"],
        ),
        (
            "10.0.0.1",
            "10.0.0.2",
            "5433",
            "denied",
            ["port: its ports are TCP 5432; asked is TCP 5433", "no rule matches"],
        ),
        ("eni-1", "eni-2", "22", "denied", ["10.0.0.1 is not in 10.9.0.0/16"]),
        ("10.0.0.2", "10.0.0.1", "80", "denied", ["egress of", "the source carries vpc-1/sg-b; no rule matches"]),
        (
            "192.0.2.1",
            "10.0.0.2",
            "5432",
            "denied",
            ["it is for members of sg-a; the other end carries none of these groups"],
        ),
        ("10.0.0.1", "169.254.169.254", "80", "allowed", ["a service of the platform, which groups never filter"]),
    ],
)
def test_security_groups(tmp_path: Path, source: str, destination: str, port: str, word: str, said: list[str]) -> None:
    (tmp_path / "groups.json").write_text(json.dumps(GROUPS))
    arguments = ["explain", str(tmp_path), "--from", source, "--to", destination, "--port", port]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.output.startswith(f"{word}: "), result.output
    for text in said:
        assert text in result.output, result.output
