"""Plain tables: CSV and YAML say the same."""

from __future__ import annotations

from pathlib import Path

from analyzers.inventory.model import Identity, Inventory, NamedPort
from inventory.samples import START, START_S, by_name, load, texts

CSV = f"""\
# hosts of the old data centre
address,name,labels,namespace,network,ports,since,until,kind
192.0.2.10,ldap,role=directory;tier=core,,dc,636;ldap=389/TCP;123/udp,,,
192.0.2.11,ldap,role=directory;site=b,,dc,,{START},{START_S + 60},
2001:db8::5,mail,,,dc,,,,Instance
198.51.100.0/24,office,,,,,,,
192.0.2.12/32,printer,,,,,,,
10.1.0.9,legacy,app=legacy,shop,,8080,,,Deployment
"""
YAML = f"""\
- {{address: 192.0.2.10, name: ldap, labels: {{role: directory, tier: core}}, network: dc, ports: [636, ldap=389/TCP, 123/udp]}}
- {{address: 192.0.2.11, name: ldap, labels: role=directory;site=b, network: dc, since: {START}, until: {START_S + 60}}}
- {{address: "2001:db8::5", name: mail, network: dc, kind: Instance}}
- {{address: 198.51.100.0/24, name: office}}
- {{address: 192.0.2.12/32, name: printer}}
- {{address: 10.1.0.9, name: legacy, labels: app=legacy, namespace: shop, ports: 8080, kind: Deployment}}
"""  # noqa: E501  a row is a line


def bare(inventory: Inventory) -> list[tuple[object, ...]]:
    return [
        (e.name, e.workload, e.labels, e.addresses, e.prefixes, e.network, e.since, e.until, e.ports)
        for e in inventory.endpoints
    ]


def test_csv(tmp_path: Path) -> None:
    inventory = load(tmp_path, CSV)
    assert inventory.notes == ()
    ldap = Identity("Host", "", "ldap", "dc", (("role", "directory"),))
    assert set(inventory.workloads) == {
        ldap,
        Identity("Instance", "", "mail", "dc"),
        Identity("Host", "", "office"),
        Identity("Host", "", "printer"),
        Identity("Deployment", "shop", "legacy", "", (("app", "legacy"),)),
    }
    first, second = (e for e in inventory.endpoints if e.workload == ldap)
    assert first.ports == (NamedPort("", "TCP", 636), NamedPort("", "UDP", 123), NamedPort("ldap", "TCP", 389))
    assert (second.since, second.until) == (START_S, START_S + 60)
    others = {e.name: e for e in inventory.endpoints if e.name != "ldap"}
    assert (others["office"].addresses, others["office"].prefixes) == ((), ("198.51.100.0/24",))
    assert texts(others["printer"]) == ["192.0.2.12"]
    assert others["legacy"].policy_subject


def test_yaml_says_the_same(tmp_path: Path) -> None:
    from_csv, from_yaml = load(tmp_path / "csv", CSV), load(tmp_path / "yaml", YAML)
    assert bare(from_csv) == bare(from_yaml)
    assert from_csv.workloads == from_yaml.workloads
    assert from_yaml.notes == ()


def test_line_ends_tabs_and_byte_order_marks(tmp_path: Path) -> None:
    plain = "address,name\n192.0.2.1,a\n192.0.2.2,b\n"
    expected = bare(load(tmp_path / "plain", plain))
    variants = (
        plain.replace("\n", "\r\n"),
        plain.replace("\n", "\r"),
        plain.replace(",", "\t"),
        "\ufeff" + plain,
        plain.replace("192", ' "192', 1).replace(".1,", '.1",', 1).replace(' "', '"'),
    )
    for number, text in enumerate(variants):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / "t.csv"
        path.write_bytes(text.encode())
        from analyzers.inventory.load import load_inventory

        assert bare(load_inventory([path])) == expected


def test_bad_rows_are_told_by_line_and_leave_the_rest(tmp_path: Path) -> None:
    text = """\
address,name,ports,since,until,colour
192.0.2.1,good,,,,
192.0.2.300,no-address,,,,
192.0.2.0/33,no-cidr,,,,
192.0.2.5/24,host-bits,,,,
,nobody,,,,
192.0.2.2,,,,,
192.0.2.3,short
192.0.2.4,ports,99999;x;80,,,
192.0.2.5,time,,yesterday,,
192.0.2.6,backwards,,200,100,
"""
    inventory = load(tmp_path, text)
    assert sorted(by_name(inventory)) == ["good", "ports", "time"]
    assert by_name(inventory)["ports"].ports == (NamedPort("", "TCP", 80),)
    told = {n.where.removeprefix(f"{tmp_path}/0.txt").removeprefix(": ") for n in inventory.notes}
    assert told == {
        "",  # the unknown column
        "line 3.address",
        "line 4.address",
        "line 5.address",
        "line 6",
        "line 7",
        "line 8",
        "line 9.ports",
        "line 10.since",
        "line 11.until",
    }


def test_a_header_without_name_says_so(tmp_path: Path) -> None:
    inventory = load(tmp_path, "address,hostname\n192.0.2.1,a\n")
    assert inventory.endpoints == ()
    assert "no `name` column" in inventory.notes[0].detail


def test_order_and_repetition_of_rows_change_nothing(tmp_path: Path) -> None:
    rows = [f"10.0.{i % 3}.{i},{'abc'[i % 3]}" for i in range(12)]
    straight = load(tmp_path / "1", "\n".join(["address,name", *rows]))
    again = "\n".join(["address,name", *rows[::-1]])
    backwards = load(tmp_path / "2", again, again, again + "\n" + rows[3])
    assert len(straight.endpoints) == 12
    assert bare(straight) == bare(backwards)
    assert straight.workloads == backwards.workloads
