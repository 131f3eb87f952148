"""`flowctl reach` and `flowctl diff` as commands: formats, exit codes, what is left out, and flows that were seen."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from flowctl.cli import main

ROOT = Path(__file__).resolve().parents[2]

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: red}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 5432, name: sql}]}]}
"""

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: sql}]
"""

LINES = [
    "shop/db[StatefulSet] => shop/web[Deployment] : All Connections",
    "shop/db[StatefulSet] => 0.0.0.0-255.255.255.255[External] : All Connections",
    "0.0.0.0-255.255.255.255[External] => shop/web[Deployment] : All Connections",
    "shop/web[Deployment] => shop/db[StatefulSet] : TCP 5432",
    "shop/web[Deployment] => 0.0.0.0-255.255.255.255[External] : All Connections",
]


def flowctl(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "world.yaml").write_text(WORLD)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def test_reach_says_the_same_in_every_format(folder: Path) -> None:
    done = flowctl("reach", folder)
    assert (done.exit_code, done.stdout.splitlines(), done.stderr) == (0, LINES, "")
    pairs = [tuple(line.replace(" : ", " => ").split(" => ")) for line in LINES]

    found = json.loads(flowctl("reach", folder, "--format", "json").stdout)
    assert [(one["src"], one["dst"], one["conn"]) for one in found] == pairs
    header, *rows = csv.reader(flowctl("reach", folder, "--format", "csv").stdout.splitlines())
    assert (header, [tuple(row) for row in rows]) == (["src", "dst", "conn"], pairs)
    table = flowctl("reach", folder, "--format", "md").stdout.splitlines()[2:]
    assert [tuple(line.strip("| ").split(" | ")) for line in table] == pairs
    graph = flowctl("reach", folder, "--format", "dot").stdout.splitlines()
    assert (graph[0], graph[-1], len(graph)) == ("digraph reach {", "}", len(pairs) + 2)
    assert graph[4] == '  "shop/web[Deployment]" -> "shop/db[StatefulSet]" [label="TCP 5432"]'


def test_inventory_may_come_apart_and_ipv6_may_be_asked_for(folder: Path) -> None:
    done = flowctl("reach", folder / "policy.yaml", "--inventory", folder / "world.yaml", "--ipv6")
    assert [line for line in done.stdout.splitlines() if "::" not in line] == LINES
    assert done.stdout.count("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff[External]") == 3


def test_without_a_workload_there_is_no_answer(folder: Path) -> None:
    done = flowctl("reach", folder / "policy.yaml")
    assert done.exit_code == 2
    assert "no workload" in done.stderr


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: [1\n", "bad.yaml", "line 2"),
        (POLICY.replace("name: db,", "name: DB,"), "metadata.name", "lower case"),
        (POLICY.replace("port: sql", "port: 70000"), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (POLICY.replace("podSelector: {matchLabels: {app: web}}", ""), "spec.ingress[0].from[0]", "specify a peer"),
        (POLICY.replace("matchLabels: {app: web}", "matchExpressions: [{key: app, operator: Is}]"),
         "matchExpressions[0].operator", "not a valid selector operator"),
        ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
         "bad.yaml", "aliases stand for more than"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_said_and_the_rest_is_judged(folder: Path, text: str, place: str, reason: str) -> None:
    (folder / "bad.yaml").write_text(text)
    done = flowctl("reach", folder)
    assert (done.exit_code, done.stdout.splitlines()) == (1, LINES)
    (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
    assert "bad.yaml" in line and place in line and reason in line
    strict = flowctl("reach", folder, "--strict")
    assert (strict.exit_code, strict.stdout) == (3, "")
    assert reason in strict.stderr
    compared = flowctl("diff", folder, folder / "world.yaml")
    assert compared.exit_code == 1 and compared.stdout and reason in compared.stderr


def test_admin_policies_are_judged_and_of_two_of_one_name_the_last_counts(folder: Path) -> None:
    admin = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "quiet"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": {"namespaces": {}},
            "egress": [{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}],
        },
    }
    (folder / "admin.yaml").write_text(yaml.safe_dump(admin))
    done = flowctl("reach", folder)
    assert not [line for line in done.stdout.splitlines() if line.endswith("External] : All Connections")]
    (folder / "twice.yaml").write_text(POLICY.replace("port: sql", "port: 1"))
    twice = flowctl("reach", folder)
    assert "NetworkPolicy shop/db replaces the one of" in twice.stderr
    assert "shop/web[Deployment] => shop/db[StatefulSet] : TCP 1" in twice.stdout.splitlines()


# -- diff --------------------------------------------------------------------------------------------------------------


def changed(folder: Path, text: str) -> Path:
    new = folder / "new"
    new.mkdir()
    (new / "policy.yaml").write_text(text)
    return new


def test_diff_shows_each_change_with_a_packet_and_its_rules(folder: Path) -> None:
    new = changed(folder, POLICY.replace("port: sql", "port: 5433, endPort: 5434"))
    arguments = ("diff", folder / "policy.yaml", new, "--inventory", folder / "world.yaml")
    done = flowctl(*arguments)
    assert done.exit_code == 0
    first, change, *witnesses = done.stdout.splitlines()
    assert first == "Connectivity diff:"
    assert change == (
        "diff-type: changed, source: shop/web[Deployment], destination: shop/db[StatefulSet], "
        "ref1: TCP 5432, ref2: TCP 5433-5434"
    )
    assert witnesses[0] == "  opened, for one: TCP no address yet:49152 (shop/web) -> no address yet:5433 (shop/db)"
    assert "denied" in witnesses[1] and "no rule matches" in witnesses[1]
    assert "allowed by shop/db ingress rule 0" in witnesses[2]
    assert len(witnesses) == 6

    record = json.loads(flowctl(*arguments, "--format", "json").stdout)
    (one,) = record["changes"]
    assert (one["opened"], one["closed"], len(one["witnesses"])) == ("TCP 5433-5434", "TCP 5432", 2)
    assert one["witnesses"][1]["after"]["allowed"] is False
    assert one["witnesses"][1]["before"]["rules"] == ["shop/db ingress rule 0"]
    rows = list(csv.reader(flowctl(*arguments, "--format", "csv").stdout.splitlines()))
    assert rows[1][:5] == ["changed", "shop/web[Deployment]", "shop/db[StatefulSet]", "TCP 5432", "TCP 5433-5434"]
    table = flowctl(*arguments, "--format", "md").stdout
    assert "| TCP 5432 | TCP 5433-5434 |" in table and table.count("- 1: TCP") == 2
    assert flowctl(*arguments, "--detailed-exitcode").exit_code == 2


def test_no_difference_is_nothing_and_order_does_not_matter(folder: Path) -> None:
    rules = [{"ports": [{"port": port}]} for port in (1, 2, 3)]
    texts = []
    for seed in (1, 2):
        found = []
        for i in range(4):
            random.Random(seed + i).shuffle(rules)
            policy = yaml.safe_load(POLICY)
            policy["metadata"]["name"] = f"p{i}"
            policy["spec"]["ingress"] = [dict(rule) for rule in rules]
            found.append(policy)
        random.Random(seed).shuffle(found)
        texts.append(yaml.safe_dump_all(found))
    (folder / "one.yaml").write_text(texts[0])
    (folder / "other.yaml").write_text(texts[1])
    assert texts[0] != texts[1]
    arguments = ("diff", folder / "one.yaml", folder / "other.yaml", "--inventory", folder / "world.yaml")
    done = flowctl(*arguments, "--detailed-exitcode")
    assert (done.exit_code, done.stdout) == (0, "")
    assert flowctl(*arguments, "--format", "md").stdout == "No difference.\n"


def test_workloads_that_vanish_are_said_as_such(folder: Path) -> None:
    alone = folder / "alone"
    alone.mkdir()
    (alone / "world.yaml").write_text(WORLD[: WORLD.index("apiVersion: apps/v1\nkind: StatefulSet")].rstrip("-\n "))
    done = flowctl("diff", folder / "world.yaml", alone, "--format", "json")
    record = json.loads(done.stdout)
    assert record["workloads_removed"] == ["shop/db[StatefulSet]"]
    assert {one["workloads"] for one in record["changes"]} == {"workload shop/db[StatefulSet] removed"}


def test_flows_that_would_break_and_openings_nobody_used(tmp_path: Path) -> None:
    policy = yaml.safe_load((ROOT / "pcaps" / "report-edited.yaml").read_text())
    new = tmp_path / "new.yaml"
    new.write_text(yaml.safe_dump(policy))
    policy["spec"]["egress"] = [{"to": policy["spec"]["egress"][0]["to"], "ports": [{"port": 5432}]}]
    old = tmp_path / "old.yaml"
    old.write_text(yaml.safe_dump(policy))
    inventory = ("--inventory", ROOT / "pcaps" / "inventory.json", "--flows", ROOT / "pcaps" / "shop-v5.log.gz")
    done = flowctl("diff", old, new, *inventory, "--format", "json")
    assert done.exit_code == 1
    flows = json.loads(done.stdout)["flows"]
    assert [(one["port"], one["after"]["allowed"]) for one in flows["would_break"]] == [(5432, False)]
    assert [one["connections"] for one in flows["opened_never_used"]] == ["TCP 5433"]
    back = json.loads(flowctl("diff", new, old, *inventory, "--format", "json").stdout)["flows"]
    assert (back["would_break"], back["mended"], back["opened_never_used"]) == ([], 1, [])
