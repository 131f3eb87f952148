"""`flowctl verify` with several POLICIES: what is denied, what nobody needs, how much is never used."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowctl.cli import main

PCAPS = Path(__file__).resolve().parents[2] / "pcaps"
INVENTORY = ["--inventory", str(PCAPS / "inventory.json")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    done = run("generate", str(PCAPS / "shop-v5.log.gz"), *INVENTORY, "-o", str(out))
    assert done.exit_code == 0, done.output
    return out / "kubernetes"


def test_several_policies_and_several_sources_in_a_row(generated: Path) -> None:
    parts = [str(generated / name) for name in ("shop", "monitoring", "kube-system")]
    sources = [str(PCAPS / "shop.pcap"), str(PCAPS / "shop-v5.log.gz")]
    result = run("verify", *parts, "--flows", *sources, *INVENTORY, "--format", "json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)["policies"]
    assert (one["kind"], one["policies"], one["denied"]) == ("NetworkPolicy", 10, 0)
    assert one["tightness"]["used_cells"] >= 19 and 0 < one["tightness"]["share"] < 1
    assert {rule["rule"] for rule in one["rules"] if not rule["flows"]} == set(one["unused_rules"])
    assert json.loads(result.stdout)["ingest"]["sources"] == 2


def test_a_denied_flow_has_a_witness_a_count_and_a_path(generated: Path, tmp_path: Path) -> None:
    (tmp_path / "kubernetes").mkdir()
    for file in generated.rglob("*.yaml"):
        text = file.read_text()
        (tmp_path / "kubernetes" / f"{file.parent.name}-{file.name}").write_text(
            text.replace("port: 5432", "port: 5433") if file.name == "postgres.yaml" else text
        )
    result = run("verify", str(tmp_path), "--flows", str(PCAPS / "shop.pcap"), *INVENTORY)
    assert result.exit_code == 1
    row = next(line for line in result.output.splitlines() if line.startswith("flows denied"))
    assert " of 73 " in row and "TCP 5432" in "".join(result.output.splitlines()[-8:])
    assert "ingress: the destination is isolated by shop/postgres; no rule matches" in result.output
    assert "records" in result.output
    as_json = run("verify", str(tmp_path), "--flows", str(PCAPS / "shop.pcap"), *INVENTORY, "--format", "json")
    (one,) = json.loads(as_json.stdout)["policies"]
    assert one["denied"] == len(one["denied_flows"]) > 0
    assert all(flow["port"] == 5432 and flow["records"] > 0 and flow["path"] for flow in one["denied_flows"])


def test_a_revision_is_verified(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web.yaml").write_text((generated / "shop" / "frontend.yaml").read_text())
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init"], ["add", "."], [*identity, "commit", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "web.yaml").unlink()
    monkeypatch.chdir(tmp_path)
    result = run("verify", "HEAD:", "--flows", str(PCAPS / "shop.pcap"), *INVENTORY)
    assert result.exit_code == 0, result.output
    assert "Proof of 1 NetworkPolicy objects: 0 of 73" in result.output


def test_admin_policies_are_replayed(tmp_path: Path) -> None:
    (tmp_path / "deny.yaml").write_text(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: deny}\n"
        "spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, "
        "ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n"
    )
    result = run("verify", str(tmp_path), "--flows", str(PCAPS / "shop.pcap"), *INVENTORY)
    assert result.exit_code == 1
    assert "denied by ClusterNetworkPolicy deny ingress rule 0 (Admin tier, priority 1)" in result.output


def test_what_is_left_out_is_said_and_strict_refuses(generated: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("{ broken")
    arguments = ["verify", str(generated), str(tmp_path), "--flows", str(PCAPS / "shop.pcap"), *INVENTORY]
    lenient = run(*arguments)
    assert lenient.exit_code == 1
    assert f"left out: {tmp_path / 'broken.yaml'}" in lenient.output and "0 of 73 qualified flows" in lenient.output
    strict = run(*arguments, "--strict")
    assert strict.exit_code == 3 and "Proof" not in strict.output


def test_network_acls_deny_beside_the_groups(tmp_path: Path) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    cards = [
        {"NetworkInterfaceId": f"eni-{n}", "VpcId": "vpc-1", "SubnetId": f"subnet-{n}",
         "PrivateIpAddress": f"10.0.{n}.5", "Groups": [{"GroupId": "sg-1"}]}
        for n in (1, 2)
    ]  # fmt: skip
    entry = {"RuleAction": "allow", "Protocol": "-1", "CidrBlock": "0.0.0.0/0"}
    acl = {
        "NetworkAclId": "acl-1", "VpcId": "vpc-1", "Associations": [{"SubnetId": "subnet-2"}],
        "Entries": [{**entry, "RuleNumber": 100, "Egress": True}, {**entry, "RuleNumber": 100, "Egress": False}],
    }  # fmt: skip
    group = {"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": everything, "IpPermissionsEgress": everything}
    header = (
        "version vpc-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
        "log-status tcp-flags"
    )
    record = "5 vpc-1 eni-2 10.0.1.5 10.0.2.5 40000 5432 6 4 400 1767232200 1767232260 ACCEPT OK 2"
    answer = "5 vpc-1 eni-2 10.0.2.5 10.0.1.5 5432 40000 6 4 400 1767232200 1767232260 ACCEPT OK 18"
    (tmp_path / "flows.log").write_text("\n".join((header, record, answer)) + "\n")
    for number, said in ((100, "0 of 1 qualified flows denied"), (50, "1 of 1 qualified flows are denied")):
        deny = {**entry, "RuleAction": "deny", "RuleNumber": 101 if number == 100 else 50, "Egress": False}
        (tmp_path / "vpc.json").write_text(
            json.dumps({
                "SecurityGroups": [group], "NetworkInterfaces": cards,
                "NetworkAcls": [{**acl, "Entries": [*acl["Entries"], deny]}],
            })
        )  # fmt: skip
        result = run("verify", str(tmp_path / "vpc.json"), "--flows", str(tmp_path / "flows.log"))
        assert said in result.output, result.output
    assert "network ACLs acl-1: denied" in result.output and result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--flows", str(PCAPS / "shop.pcap"), *INVENTORY], "POLICIES"),
        ([str(PCAPS / "README.md"), "--flows", str(PCAPS / "shop.pcap"), *INVENTORY], "no NetworkPolicy"),
        (["nowhere", "--flows", str(PCAPS / "shop.pcap"), *INVENTORY], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    result = run("verify", *arguments)
    assert result.exit_code in (1, 2), result.output
    assert said in result.output


def test_without_an_inventory_nothing_is_judged(generated: Path) -> None:
    result = run("verify", str(generated), "--flows", str(PCAPS / "shop.pcap"))
    assert result.exit_code == 2 and "verify needs --inventory" in result.output
