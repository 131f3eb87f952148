"""NetworkPolicies from manifests: defaults, what the API server refuses, and broken files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyzers.inventory.safe_yaml import MAX_BYTES
from policygen.manifests import parse_policies, read_policies
from policygen.model import CidrPeer, PodPeer, Policy, PolicySet, PortRange, Requirement, Rule, Selector

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"


def manifest(spec: str, metadata: str = "{name: p}") -> str:
    return f"{HEAD}metadata: {metadata}\nspec: {spec}\n"


def only(text: str) -> Policy:
    found = parse_policies(text, "f.yaml")
    assert found.problems == ()
    (policy,) = found.policies
    return policy


def fatal(found: PolicySet) -> list[tuple[str, str]]:
    return [(problem.where, problem.reason) for problem in found.problems if problem.fatal]


def test_everything_is_read() -> None:
    policy = only(
        HEAD
        + """
metadata:
  name: web
  namespace: shop
  labels: {b: "no", a: x}
  annotations: {flowctl.example/Why: "any text, {}"}
  uid: 4711
  creationTimestamp: 2024-01-01T00:00:00Z
spec:
  podSelector:
    matchLabels: {tier: front, app: web}
    matchExpressions:
    - {key: a/b, operator: In, values: [y-, z]}
  policyTypes: [Egress, Ingress]
  ingress:
  - from:
    - podSelector: {}
    - namespaceSelector: {matchLabels: {team: red}}
      podSelector: {matchExpressions: [{key: k, operator: Exists}]}
    - namespaceSelector: {}
    ports:
    - port: 80
    - {port: http, protocol: UDP}
    - {port: 1000, endPort: 2000, protocol: SCTP}
    - {}
  egress:
  - to:
    - ipBlock: {cidr: 10.1.2.3/8, except: [10.1.0.0/16]}
    - ipBlock: {cidr: "2001:DB8::/32"}
status: {}
""".replace("y-", "y1")
    )
    assert policy == Policy(
        name="web",
        namespace="shop",
        subject=Selector((("app", "web"), ("tier", "front")), (Requirement("a/b", "In", ("y1", "z")),)),
        ingress=(
            Rule(
                peers=(
                    PodPeer(None, Selector()),
                    PodPeer(Selector.of(team="red"), Selector((), (Requirement("k", "Exists"),))),
                    PodPeer(Selector(), None),
                ),
                ports=(
                    PortRange("TCP", 80),
                    PortRange("UDP", "http"),
                    PortRange("SCTP", 1000, 2000),
                    PortRange("TCP", None),
                ),
            ),
        ),
        egress=(Rule(peers=(CidrPeer("10.0.0.0/8", ("10.1.0.0/16",)), CidrPeer("2001:db8::/32")), ports=None),),
        labels=(("a", "x"), ("b", "no")),
        annotations=(("flowctl.example/Why", "any text, {}"),),
        origin="f.yaml document 1 (line 1)",
    )


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ("{}", (), None),
        ("null", (), None),
        ("{podSelector: {}}", (), None),
        ("{podSelector: null, policyTypes: []}", (), None),
        ("{egress: []}", (), None),  # SetDefaults_NetworkPolicy looks at the length, not at the presence
        ("{egress: [{}]}", (), (Rule(None, None),)),
        ("{ingress: [{}]}", (Rule(None, None),), None),
        ("{policyTypes: [Egress]}", None, ()),
        ("{policyTypes: [Ingress, Egress]}", (), ()),
        ("{policyTypes: [Ingress, Ingress]}", (), None),
        ("{ingress: [{from: [], ports: []}, {from: null}, null]}", (Rule(None, None),) * 3, None),
    ],
)
def test_defaults(spec: str, ingress: object, egress: object) -> None:
    policy = only(manifest(spec))
    assert (policy.ingress, policy.egress, policy.subject, policy.namespace) == (ingress, egress, Selector(), "default")


IN = "{{ingress: [{{from: [{}]}}]}}"
PORT = "{{ingress: [{{ports: [{}]}}]}}"
SELECT = "{{podSelector: {}}}"


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        (IN.format("{}"), "spec.ingress[0].from[0]", "must specify a peer"),
        (IN.format("null"), "spec.ingress[0].from[0]", "must specify a peer"),
        (IN.format("{podSelector: null}"), "spec.ingress[0].from[0]", "must specify a peer"),
        (IN.format("{ipBlock: {cidr: '::/0'}, podSelector: {}}"), "spec.ingress[0].from[0]", "may not specify both"),
        (IN.format("{ipBlock: {}}"), "spec.ingress[0].from[0].ipBlock.cidr", "is required"),
        *(
            (IN.format(f"{{ipBlock: {{cidr: '{cidr}'}}}}"), "spec.ingress[0].from[0].ipBlock.cidr", "is no CIDR")
            for cidr in ("10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.0/255.0.0.0", "::/129",
                         "::ffff:1.2.3.4/112", "fe80::%eth0/64", "10.0.0.0/+8")
        ),
        *(
            (
                IN.format(f"{{ipBlock: {{cidr: 10.0.0.0/8, except: ['{cidr}']}}}}"),
                "spec.ingress[0].from[0].ipBlock.except[0]",
                "strict subset",
            )
            for cidr in ("10.0.0.0/8", "0.0.0.0/0", "11.0.0.0/16", "::/0")
        ),
        (PORT.format("{port: 0}"), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (PORT.format("{port: 65536}"), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (PORT.format("{port: true}"), "spec.ingress[0].ports[0].port", "expected a number or a name"),
        (PORT.format("{port: 80.5}"), "spec.ingress[0].ports[0].port", "expected a number or a name"),
        *(
            (PORT.format(f"{{port: '{name}'}}"), "spec.ingress[0].ports[0].port", "port name")
            for name in ("80", "", "Http", "-a", "a-", "a--b", "a" * 16, "a_b")
        ),
        (PORT.format("{port: 80, endPort: 79}"), "spec.ingress[0].ports[0].endPort", "greater than or equal"),
        (PORT.format("{port: 80, endPort: 70000}"), "spec.ingress[0].ports[0].endPort", "between 1 and 65535"),
        (PORT.format("{port: 80, endPort: '90'}"), "spec.ingress[0].ports[0].endPort", "expected a number"),
        (PORT.format("{port: http, endPort: 90}"), "spec.ingress[0].ports[0].endPort", "non-numeric"),
        (PORT.format("{endPort: 90}"), "spec.ingress[0].ports[0].endPort", "port is not specified"),
        (PORT.format("{protocol: tcp}"), "spec.ingress[0].ports[0].protocol", "not supported"),
        (PORT.format("{protocol: ICMP}"), "spec.ingress[0].ports[0].protocol", "not supported"),
        (PORT.format("80"), "spec.ingress[0].ports[0]", "expected a mapping, got number 80"),
        (SELECT.format("{matchLabels: {a: no}}"), "spec.podSelector.matchLabels['a']", "got boolean False; quote it"),
        (SELECT.format("{matchLabels: {a: 1}}"), "spec.podSelector.matchLabels['a']", "got number 1; quote it"),
        (SELECT.format("{matchLabels: {a: -x}}"), "spec.podSelector.matchLabels['a']", "label value"),
        (SELECT.format("{matchLabels: {a: " + "x" * 64 + "}}"), "spec.podSelector.matchLabels['a']", "63"),
        (SELECT.format("{matchLabels: {'a b': x}}"), "spec.podSelector.matchLabels['a b']", "label key"),
        (SELECT.format("{matchLabels: {/a: x}}"), "spec.podSelector.matchLabels['/a']", "label key"),
        (SELECT.format("{matchLabels: {A/b: x}}"), "spec.podSelector.matchLabels['A/b']", "label key"),
        (SELECT.format("{matchLabels: [a]}"), "spec.podSelector.matchLabels", "expected a mapping, got list"),
        *(
            (SELECT.format(f"{{matchExpressions: [{one}]}}"), f"spec.podSelector.matchExpressions[0].{at}", reason)
            for one, at, reason in (
                ("{key: a, operator: Gt, values: ['1']}", "operator", "not a valid selector operator"),
                ("{key: a}", "operator", "not a valid selector operator"),
                ("{key: a, operator: In}", "values", "must be specified"),
                ("{key: a, operator: NotIn, values: []}", "values", "must be specified"),
                ("{key: a, operator: Exists, values: [b]}", "values", "may not be specified"),
                ("{key: a, operator: DoesNotExist, values: [b]}", "values", "may not be specified"),
                ("{key: a, operator: In, values: [-]}".replace("-", "'-'"), "values[0]", "label value"),
                ("{key: a, operator: In, values: [1]}", "values[0]", "expected a string"),
                ("{key: a, operator: In, values: b}", "values", "expected a list"),
                ("{operator: Exists}", "key", "label key"),
            )
        ),
        ("{ingress: {}}", "spec.ingress", "expected a list, got mapping"),
        ("{ingress: [x]}", "spec.ingress[0]", "expected a mapping, got string 'x'"),
        ("{policyTypes: [ingress]}", "spec.policyTypes[0]", "not supported"),
        ("{policyTypes: [Ingress, Egress, Ingress]}", "spec.policyTypes", "more than two"),
        ("{ingress: [{form: []}]}", "spec.ingress[0].form", "unknown field"),
        ("{ingress: [{to: []}]}", "spec.ingress[0].to", "unknown field"),
        ("{podselector: {}}", "spec.podselector", "unknown field"),
        ("[]", "spec", "expected a mapping"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_is_left_out_with_its_place_and_reason(spec: str, path: str, reason: str) -> None:
    found = parse_policies(manifest(spec) + "---\n" + manifest("{}", "{name: good}"), "f.yaml")
    assert [policy.name for policy in found.policies] == ["good"]
    problems = fatal(found)
    assert f"f.yaml document 1 (line 1): {path}" in [where for where, _ in problems]
    assert any(reason in said for where, said in problems if where.endswith(path))


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ("{}", "metadata.name"),
        ("{generateName: x-}", "metadata.name"),
        ("{name: 5}", "metadata.name"),
        ("{name: A}", "metadata.name"),
        ("{name: a_b}", "metadata.name"),
        ("{name: " + "a" * 254 + "}", "metadata.name"),
        ("{name: a, namespace: a.b}", "metadata.namespace"),
        ("{name: a, namespace: " + "a" * 64 + "}", "metadata.namespace"),
        ("{name: a, labels: {a: true}}", "metadata.labels['a']"),
        ("{name: a, annotations: {a: 1}}", "metadata.annotations['a']"),
        ("{name: a, annotations: {'a b': x}}", "metadata.annotations['a b']"),
        ("{name: a, lables: {}}", "metadata.lables"),
        ("[]", "metadata"),
    ],
)
def test_metadata_that_the_server_refuses(metadata: str, path: str) -> None:
    found = parse_policies(manifest("{}", metadata), "f")
    assert not found.policies
    assert f"f document 1 (line 1): {path}" in [where for where, _ in fatal(found)]


def test_all_refusals_of_one_object_are_named() -> None:
    found = parse_policies(manifest("{ingress: [{ports: [{port: 0}], from: [{}]}], policyTypes: [X]}"), "f")
    assert len(fatal(found)) == 3


def test_rules_of_an_unlisted_direction_are_remarked() -> None:
    found = parse_policies(manifest("{policyTypes: [Egress], ingress: [{}]}"), "f")
    assert [(p.fatal, p.where.rpartition(" ")[2]) for p in found.problems] == [(False, "spec.ingress")]
    assert (found.policies[0].ingress, found.policies[0].egress) == (None, ())


POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": {}}


def test_lists_of_every_kind_in_yaml_and_json() -> None:
    bare = {"metadata": {"name": "bare"}, "spec": {}}
    typed = {"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "items": [bare]}
    outer = {"kind": "List", "apiVersion": "v1", "items": [POLICY, typed, {"kind": "List", "items": None}, bare]}
    found = parse_policies(json.dumps(outer), "f.json")
    assert [policy.name for policy in found.policies] == ["bare", "p"]
    assert found.policies[0].origin == "f.json document 1 (line 1): items[1]: items[0]"
    assert [p.reason for p in found.problems] == ["1 objects of other kinds passed over: (no kind) 1"]


def test_other_kinds_are_counted_and_other_policies_named() -> None:
    found = parse_policies(
        "kind: Service\napiVersion: v1\n---\nkind: Service\n---\nkind: Pod\n---\njust text\n---\n[a]\n---\n"
        "kind: CiliumNetworkPolicy\napiVersion: cilium.io/v2\n---\n"
        "kind: NetworkPolicy\napiVersion: crd.projectcalico.org/v1\n---\n"
        "kind: NetworkPolicy\napiVersion: extensions/v1beta1\n---\n"
        "kind: NetworkPolicy\n---\napiVersion: networking.k8s.io/v1\n",
        "f",
    )
    assert [(p.fatal, p.reason.split(";")[0].split(",")[0]) for p in found.problems] == [
        (False, "a CiliumNetworkPolicy of cilium.io/v2 is not evaluated"),
        (False, "a NetworkPolicy of crd.projectcalico.org/v1 is not evaluated"),
        (True, "apiVersion is extensions/v1beta1"),
        (True, "apiVersion is missing"),
        (True, "kind is missing"),
        (False, "5 objects of other kinds passed over: (no object) 2"),
    ]


def test_a_broken_document_leaves_the_others() -> None:
    text = manifest("{}", "{name: a}") + "---\nx: [\n---\n" + manifest("{}", "{name: b}") + "---\n{{ template }}\n"
    found = parse_policies(text, "f.yaml")
    assert [(policy.name, policy.origin) for policy in found.policies] == [
        ("a", "f.yaml document 1 (line 1)"),
        ("b", "f.yaml document 3 (line 7)"),
    ]
    assert [where for where, _ in fatal(found)] == ["f.yaml", "f.yaml"]
    assert [reason.split(",")[0] for _, reason in fatal(found)] == ["line 7", "line 13"]


def test_files_and_directories_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "z.yml").write_text(manifest("{}", "{name: z, namespace: a}"))
    (tmp_path / "deep" / "y.json").write_text(json.dumps(POLICY))
    (tmp_path / "x.YAML").write_text(manifest("{}", "{name: x, namespace: b}"))
    (tmp_path / "notes.txt").write_text("x: [")
    (tmp_path / "broken.yaml").write_bytes(b"\xff")
    (tmp_path / "bomb.yaml").write_text("a: &a [" + "x," * 1000 + "]\nb: [" + "*a," * 1000 + "]")
    paths = [tmp_path, tmp_path / "deep" / "y.json", tmp_path / "absent.yaml"]
    found = read_policies(paths)
    assert [(p.namespace, p.name) for p in found.policies] == [("a", "z"), ("b", "x"), ("default", "p")]
    assert [Path(where).name for where, _ in fatal(found)] == ["absent.yaml", "bomb.yaml", "broken.yaml"]
    again = read_policies(reversed(paths))
    assert (again, again.problems) == (found, found.problems)


def test_a_file_of_any_name_is_read_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text(manifest("{}"))
    assert len(read_policies([tmp_path / "policies"]).policies) == 1
    assert read_policies([tmp_path]) == PolicySet()


def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    (tmp_path / "b.yaml").write_text(manifest("{}"))
    found = read_policies([tmp_path])
    assert len(found.policies) == 1
    assert fatal(found) == [(str(tmp_path / "a.yaml"), "cannot be read: No such file or directory")]


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    ((where, reason),) = fatal(read_policies([tmp_path]))
    assert where == str(tmp_path / "a.yaml")
    assert f"{MAX_BYTES + 1} bytes are more than" in reason


def test_a_policy_that_occurs_twice_counts_as_applied(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(manifest("{policyTypes: [Egress]}"))
    (tmp_path / "2.yaml").write_text(manifest("{policyTypes: [Ingress]}"))
    found = read_policies([tmp_path / "2.yaml", tmp_path / "1.yaml"])
    assert [(p.ingress, p.egress) for p in found.policies] == [((), None)]
    (problem,) = found.problems
    assert not problem.fatal
    assert problem.where.startswith(str(tmp_path / "2.yaml"))
    assert str(tmp_path / "1.yaml") in problem.reason
