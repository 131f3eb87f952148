"""POLICIES in all the forms a person may give them in, and what is said when they are wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flowctl.policy_sources import STDIN, LoadedPolicies, load_policies
from policygen.model import CidrPeer, GroupPeer, PortRange, Rule

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {name}}}}}
  policyTypes: [Ingress]
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
"""
GROUPS = {
    "SecurityGroups": [
        {
            "GroupId": "sg-1",
            "GroupName": "web",
            "VpcId": "vpc-1",
            "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
                {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "1"}]},
                {"IpProtocol": "udp", "FromPort": 9, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
                {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "PrefixListIds": [{"PrefixListId": "pl-1"}]},
                {"IpProtocol": "tcp", "FromPort": 82, "ToPort": 82, "PrefixListIds": [{"PrefixListId": "pl-2"}]},
            ],
        }
    ],
    "PrefixLists": [{"PrefixListId": "pl-2", "Cidrs": ["3.5.0.0/16"]}],
    "NetworkInterfaces": [
        {
            "NetworkInterfaceId": "eni-1",
            "VpcId": "vpc-1",
            "PrivateIpAddress": "10.0.0.5",
            "Groups": [{"GroupId": "sg-1"}],
        }
    ],
}


def names(loaded: LoadedPolicies) -> list[str]:
    return [policy.name for policy in loaded.network.policies]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose last commit took the policy `web` away."""
    folder = tmp_path / "repository"
    (folder / "policies" / "deep").mkdir(parents=True)
    git(folder, "init")
    (folder / "policies" / "web.yaml").write_text(POLICY.format(name="web"))
    (folder / "policies" / "deep" / "wörld db.yaml").write_text(POLICY.format(name="db"))
    (folder / "policies" / "README.md").write_text("no manifest")
    (folder / "policies" / "link.yaml").symlink_to("web.yaml")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    (folder / "policies" / "web.yaml").unlink()
    git(folder, "commit", "-am", "two")
    return folder


def test_a_revision_is_read_as_it_was(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    before, after = load_policies(["HEAD~1:policies/"]), load_policies(["HEAD:policies"])
    assert (names(before), names(after)) == (["db", "web"], ["db"])
    assert [text.name for text in before.texts] == ["HEAD~1:policies/deep/wörld db.yaml", "HEAD~1:policies/web.yaml"]
    assert all(text.path is None for text in before.texts)
    assert [(p.where, p.reason) for p in before.left_out] == [
        ("HEAD~1:policies/link.yaml", "a symbolic link in git, not followed")
    ]
    assert names(load_policies(["HEAD~1:policies/web.yaml"])) == ["web"]
    assert names(load_policies(["HEAD~1:"])) == ["db", "web"]


def test_a_revision_from_inside_and_of_a_bare_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "policies" / "deep")
    assert names(load_policies(["HEAD~1:policies"])) == ["db", "web"]
    assert names(load_policies(["HEAD~1:./"])) == ["db"]
    git(tmp_path, "clone", "--bare", str(repository), "bare.git")
    monkeypatch.chdir(tmp_path / "bare.git")
    assert names(load_policies(["main~1:policies"])) == ["db", "web"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("HEAD~9:policies", "'HEAD~9' is no revision"),
        ("HEAD:nowhere", "HEAD has no 'nowhere'"),
        ("--output=x:policies", "is no revision"),
        ("nothing-here", "does not exist; give a file, a directory"),
    ],
)
def test_what_leads_nowhere_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    monkeypatch.chdir(repository)
    with pytest.raises(click.UsageError) as caught:
        load_policies([given])
    assert said in caught.value.message


def test_a_revision_outside_of_any_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(click.UsageError) as caught:
        load_policies(["HEAD:policies"])
    assert "not a git repository" in caught.value.message


def test_a_shallow_clone_is_said_to_be_one(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "clone", "--depth", "1", repository.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert names(load_policies(["HEAD:policies"])) == ["db"]
    with pytest.raises(click.UsageError) as caught:
        load_policies(["HEAD~1:policies"])
    assert "this clone is shallow: fetch more history" in caught.value.message


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "HEAD:policies"
    folder.mkdir()
    (folder / "web.yaml").write_text(POLICY.format(name="web"))
    assert names(load_policies([str(folder)])) == ["web"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(POLICY.format(name="web").encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    loaded = load_policies([STDIN])
    assert [(p.name, p.origin) for p in loaded.network.policies] == [("web", "stdin document 1 (line 1)")]


def test_policies_and_inventory_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(POLICY.format(name="web") + "---\n" + DEPLOYMENT + "---\nkind: Odd\n---\n[1]\n")
    (tmp_path / ".hidden.yaml").write_text(POLICY.format(name="hidden"))
    loaded = load_policies([str(tmp_path), str(tmp_path / "all.yaml")])
    assert names(loaded) == ["web"]
    assert [str(w) for w in loaded.inventory.workloads] == ["shop/web"]
    assert not loaded.inventory.notes
    said = "\n".join(problem.reason for problem in loaded.remarks)
    assert "1 hidden files" in said
    assert "2 objects that say nothing here were passed over: (no object) 1, Odd 1" in said


def test_the_rest_is_judged_when_something_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY.format(name="web") + "---\na: [\n---\n" + POLICY.format(name="db"))
    (tmp_path / "b.yaml").write_text(POLICY.format(name="UPPER"))
    (tmp_path / "c.json").write_text("")
    loaded = load_policies([str(tmp_path)])
    assert names(loaded) == ["db", "web"]
    left = [(Path(p.where.split(" document")[0]).name, p.reason) for p in loaded.left_out]
    assert [name for name, _ in left] == ["a.yaml", "b.yaml"]
    assert "line" in left[0][1] and "lower case" in left[1][1]
    assert any(p.reason == "no document in it" for p in loaded.remarks)


def test_two_objects_of_one_name_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY.format(name="web"))
    (tmp_path / "b.yaml").write_text(POLICY.format(name="web").replace("app: web", "app: other"))
    loaded = load_policies([str(tmp_path)])
    assert [p.subject.labels for p in loaded.network.policies] == [(("app", "other"),)]
    (remark,) = loaded.remarks
    assert "b.yaml" in remark.where and "a.yaml" in remark.reason


def test_aws_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text(json.dumps(GROUPS))
    loaded = load_policies([str(path)])
    (group,) = loaded.groups.policies
    assert (group.namespace, group.name, group.labels) == ("vpc-1", "sg-1", (("GroupName", "web"),))
    assert group.ingress is not None
    assert set(group.ingress) == {
        Rule((CidrPeer("10.0.0.0/8"),), (PortRange("TCP", 443),)),
        Rule((GroupPeer("sg-1"),), (PortRange("-1"),)),
        Rule((CidrPeer("3.5.0.0/16"),), (PortRange("TCP", 82),)),
    }
    assert group.egress == ()
    assert [e.security_groups for e in loaded.inventory.endpoints] == [("sg-1",)]
    (tmp_path / "cards.json").write_text(json.dumps({"NetworkInterfaces": GROUPS["NetworkInterfaces"]}))
    assert load_policies([str(tmp_path)]).remarks == ()  # nothing of it is passed over
    place = f"{path} document 1 (line 1): SecurityGroups[0].IpPermissions"
    assert [(p.where, p.reason.split(";")[0]) for p in loaded.left_out] == [
        (f"{place}[2]", "ports 9 to 1 are no range of 0 to 65535"),
        (
            f"{place}[3].PrefixListIds[0]",
            "nobody shows what prefix list pl-1 holds (it can allow more than is said here)",
        ),
    ]


@pytest.mark.parametrize(
    "groups",
    [
        5,
        [7],
        [{"IpPermissions": []}],
        [{"GroupId": "sg-1", "IpPermissions": {"a": 1}}],
        [{"GroupId": "sg-1", "IpPermissions": [5]}],
        [{"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": "nine"}]}],
        [{"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": "-1", "IpRanges": 1}]}],
        [{"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "x"}]}]}],
        [{"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": "tcp", "FromPort": "a", "ToPort": 1}]}],
    ],
)
def test_wrong_descriptions_are_left_out_with_their_place(tmp_path: Path, groups: object) -> None:
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"SecurityGroups": groups}))
    loaded = load_policies([str(path)])
    assert loaded.left_out
    assert all("SecurityGroups" in problem.where for problem in loaded.left_out)


def test_too_long_yaml_is_refused_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowctl.policy_sources.MAX_YAML_BYTES", 1 << 20)
    (tmp_path / "big.yaml").write_text("# " + "x" * (1 << 20))
    (tmp_path / "web.yaml").write_text(POLICY.format(name="web"))
    loaded = load_policies([str(tmp_path)])
    assert names(loaded) == ["web"]
    assert [p.reason for p in loaded.left_out] == [
        "more than 1 MiB of YAML; give it as JSON, or split it into several files"
    ]


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(layers))
    (problem,) = load_policies([str(tmp_path)]).left_out
    assert "aliases stand for more than" in problem.reason
