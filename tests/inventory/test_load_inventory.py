"""Whatever is in the files: the good part is used, the rest is told, nothing is raised, order changes nothing."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.inventory.load import InventoryError, load_inventory
from analyzers.inventory.resolve import Resolver, cuts, declared_ports, interface_networks
from inventory.samples import by_name, finished, instance, interface, listed, load, node, pod, service, workload

HASHED = {"app": "web", "pod-template-hash": "5d9"}
CLUSTER = listed(
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}},
    node("node-1", "10.0.0.1", providerID="aws:///a/i-1", podCIDRs=["10.1.0.0/24"]),
    workload("Deployment", "web", {"app": "web"}),
    workload("ReplicaSet", "web-5d9", HASHED, owner="Deployment/web"),
    pod(
        "web-5d9-x",
        "10.1.0.5",
        "ReplicaSet/web-5d9",
        HASHED,
        spec={"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
    ),
    pod("tidy-1-x", "10.1.0.6", "Job/tidy-1", {}, status=finished(300)),
    service("web", "10.96.0.1", [{"port": 80, "targetPort": "http"}], externalIPs=["192.0.2.1"]),
)
CLOUD = {
    "NetworkInterfaces": [interface("eni-1", "vpc-1", ["10.0.0.1", "10.0.0.9"], "i-1")],
    "Reservations": [
        {"Instances": [instance("i-2", "vpc-1", {"app": "db"}, [interface("eni-2", "vpc-1", ["10.0.0.2"])])]}
    ],
    "SecurityGroups": [{"GroupId": "sg-1", "VpcId": "vpc-1", "GroupName": "g"}],
}
TABLE = [{"address": "192.0.2.50", "name": "ldap", "labels": {"a": "b"}, "ports": [389], "since": 5}]


def test_order_of_files_and_directories_changes_nothing(tmp_path: Path) -> None:
    given = {"a.json": CLUSTER, "b.json": CLOUD, "c.yaml": TABLE, "d.json": listed(pod("late", "10.1.0.9"))}
    paths = []
    for name, document in given.items():
        paths.append(tmp_path / name)
        paths[-1].write_text(json.dumps(document))
    expected = load_inventory(paths)
    assert len(expected.endpoints) == 6
    assert expected.files == 4
    for order in itertools.permutations(paths):
        assert load_inventory(order) == expected
    assert load_inventory([tmp_path]) == expected
    assert load_inventory([tmp_path, *paths, str(paths[0])]) == expected


def test_objects_in_another_order_are_the_same_inventory(tmp_path: Path) -> None:
    backwards = listed(*reversed(CLUSTER["items"]))
    here, there = load(tmp_path / "1", CLUSTER, CLOUD), load(tmp_path / "2", backwards, CLOUD)
    bare = [[(e.name, e.workload, e.addresses, e.since, e.until) for e in i.endpoints] for i in (here, there)]
    assert bare[0] == bare[1]
    assert (here.workloads, here.pod_cidrs) == (there.workloads, there.pod_cidrs)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_files(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "inventory.json"
    path.write_bytes(pack(json.dumps(CLUSTER).encode()))
    assert len(load_inventory([path]).endpoints) == 3


@pytest.mark.parametrize(("pack", "kind"), [(gzip.compress, "gzip"), (zstandard.compress, "zstd")])
def test_a_damaged_archive_gives_what_it_holds(tmp_path: Path, pack: Any, kind: str) -> None:
    rows = "address,name\n" + "".join(
        f"10.{i >> 8}.{i & 255}.{i * 7919 & 255},h{i * i}-{i**5}-{i**4}\n" for i in range(6_000)
    )
    path = tmp_path / "hosts.csv"
    packed = pack(rows.encode())
    path.write_bytes(packed[: len(packed) * 3 // 4])
    inventory = load_inventory([path])
    assert 1000 < len(inventory.endpoints) < 6_000
    assert any(f"damaged {kind}" in n.reason for n in inventory.notes)
    path.write_bytes(packed + pack(b"192.0.2.1,last\n") + (b"\0" * 700 if kind == "gzip" else b""))  # as `tar` pads
    assert len(load_inventory([path]).endpoints) == 6_001


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_an_archive_bomb_is_refused(tmp_path: Path, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.inventory.files.MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(pack(b" " * (64 << 20)))
    (note,) = load_inventory([path]).notes
    assert "more than 1048576 bytes" in note.reason


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="does not exist; give a file or a directory"):
        load_inventory([tmp_path / "nothing.json"])
    with pytest.raises(InventoryError, match="NETWORK=path"):
        load_inventory([f"prod={tmp_path}/nothing.json"])
    with pytest.raises(InventoryError):
        load_inventory(["x" * 5000, "a\0b"])


def test_networks_of_paths(tmp_path: Path) -> None:
    load(tmp_path, CLOUD)
    path = tmp_path / "0.json"
    assert {e.network for e in load_inventory([path], network="lab").endpoints} == {"vpc-1"}
    assert {e.network for e in load_inventory([f"lab={path}"]).endpoints} == {"lab"}
    odd = tmp_path / "a=b.json"  # exists as it stands, so the = is part of its name
    odd.write_text(json.dumps(listed(pod("p", "10.1.0.5"))))
    assert {e.network for e in load_inventory([str(odd)]).endpoints} == {""}
    assert {e.network for e in load_inventory([str(odd)], network="lab").endpoints} == {"lab"}
    assert {e.network for e in load_inventory([f"east={odd}"], network="lab").endpoints} == {"east"}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
USELESS = {
    "README.md": b"# An inventory\n\nSome text.\n",
    "empty.yaml": b"",
    "blank.yaml": b"\n---\n\n",
    "binary.bin": bytes(range(256)) * 4,
    "latin.yaml": "kind: P\xf6d\n".encode("latin-1"),
    "truncated.json": json.dumps(CLUSTER).encode()[:-30],
    "number.json": b"42",
    "text.json": b'"Pod"',
    "bomb.yaml": BOMB.encode(),
    "deep.json": b"[" * 100_000,
    "deep.yaml": b"- " * 5000 + b"x",
    "other.json": b'{"hello": "world"}',
    "twice.json": b'{"kind": "Pod", "kind": "Pod", "apiVersion": "v1"}',
    "infinite.json": b'{"kind": "Pod", "apiVersion": "v1", "metadata": NaN}',
}


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_file_is_told_and_the_rest_is_used(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(USELESS[name])
    (tmp_path / "good.json").write_text(json.dumps(CLUSTER))
    inventory = load_inventory([tmp_path])
    told = [n for n in inventory.notes if str(tmp_path / name) in n.where]
    assert told, inventory.notes
    assert all(len(n.where) + len(n.reason) + len(n.detail) < 1000 for n in told)
    assert {"node-1", "web-5d9-x", "tidy-1-x"} <= set(by_name(inventory))


def test_one_broken_document_leaves_the_others(tmp_path: Path) -> None:
    good = json.dumps(pod("p", "10.1.0.5"))
    inventory = load(
        tmp_path, f"---\n{good}\n---\nkind: [\n---\n{good.replace('10.1.0.5', '10.1.0.6').replace('-p', '-q')}\n"
    )
    assert len([e for e in inventory.endpoints if e.namespace]) == 2
    (note,) = inventory.notes
    assert "line " in note.where
    assert note.reason == "cannot be read"


def test_directories(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "objects").write_text(json.dumps(CLUSTER))
    (tmp_path / "deep" / "er" / "x.json").write_text(json.dumps(CLUSTER))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    inventory = load_inventory([tmp_path])
    assert inventory.files == 1
    reasons = sorted(n.reason.split(";")[0] for n in inventory.notes)
    assert reasons == ["1 hidden files or directories were not read"] + ["neither a file nor a directory"] * 2


def test_names_cannot_move_the_cursor(tmp_path: Path) -> None:
    evil = pod("x\x1b[2Jy", "10.1.0.5", labels={"a\u202eb": "\ud800"})
    inventory = load(tmp_path, listed(evil))
    for text in (repr(inventory.endpoints), *(f"{n.where}{n.reason}{n.detail}" for n in inventory.notes)):
        text.encode()
        assert "\x1b" not in text
    assert [e.name for e in inventory.endpoints if e.namespace] == ["x\ufffd[2Jy"]
    assert any("control characters" in n.reason for n in inventory.notes)


def test_many_faults_of_one_kind_become_a_count(tmp_path: Path) -> None:
    inventory = load(tmp_path, listed(*(pod(f"p{i:03}", "not-an-address") for i in range(200))))
    assert len(inventory.notes) < 20
    assert any(n.detail == "and 395 more" for n in inventory.notes)  # podIP and podIPs of 200 pods, five shown


# -- any part of any document replaced by anything -------------------------------------------------------------------

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["10.1.0.5", "0.0.0.0/0", "::/0", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "fe80::1%e", "TCP"]
    ),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just({})), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.just([{"kind": "List", "items": [[]]}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the document itself first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def put(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """The document with the value at `path` replaced; unchanged when an earlier replacement removed the place."""
    if not path:
        return junk
    document = copy.deepcopy(document)
    target = document
    for key in path[:-1]:
        try:
            target = target[key]
        except (KeyError, IndexError, TypeError):
            return document
    if isinstance(target, dict) or (isinstance(target, list) and isinstance(path[-1], int) and path[-1] < len(target)):
        target[path[-1]] = junk
    return document


PLACES = [(i, path) for i, document in enumerate((CLUSTER, CLOUD, TABLE)) for path in places(document)]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replaced=st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=4))
def test_junk_anywhere_never_raises(tmp_path: Path, replaced: list[tuple[tuple[int, tuple[Any, ...]], Any]]) -> None:
    documents: list[Any] = [CLUSTER, CLOUD, TABLE]
    for (index, path), junk in replaced:
        documents[index] = put(documents[index], path, junk)
    paths = []
    for index, document in enumerate(documents):
        paths.append(tmp_path / f"{index}.json")
        paths[-1].write_text(json.dumps(document), encoding="utf-8")
    inventory = load_inventory(paths)
    assert inventory == load_inventory(paths[::-1])
    repr(inventory).encode()
    Resolver(inventory)
    cuts(inventory)
    declared_ports(inventory)
    interface_networks(inventory)
    untouched = {0, 1, 2} - {index for (index, _), _ in replaced}
    names = {e.name for e in inventory.endpoints}
    assert 0 not in untouched or {"node-1", "web-5d9-x", "tidy-1-x"} <= names
    assert 1 not in untouched or "i-2" in names
    assert 2 not in untouched or "ldap" in names


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="address,name\n\r\t\"'#;=:-[]{}&* 0.1", max_size=120).map(
            lambda t: ("address,name\n" + t).encode()
        ),
    )
)
def test_any_bytes_never_raise(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(text)
    inventory = load_inventory([path])
    repr(inventory).encode()
    assert inventory.endpoints or inventory.notes or text.startswith(b"address,name\n")
