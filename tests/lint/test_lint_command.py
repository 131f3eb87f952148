"""`flowctl lint` as it is typed: formats, exit codes, choice of checks, and what it says about bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowctl.cli import main
from policygen.lint.run import all_checks
from tests.lint.samples import CLUSTER, SAMPLES, policy


def lint(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=text, catch_exceptions=False)


FAULTY = SAMPLES["egress-only"].faulty + SAMPLES["contained"].faulty.replace("name: web", "name: web2")


def test_exit_codes_follow_the_worst_finding(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(FAULTY)
    assert lint(str(path)).exit_code == 1
    assert lint(str(path), "--check", "contained").exit_code == 0
    path.write_text(SAMPLES["egress-only"].sound)
    assert lint(str(path)).exit_code == 0


def test_json_and_table_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(CLUSTER + FAULTY)
    document = json.loads(lint(str(path), "--format", "json").stdout)
    table = lint(str(path)).stdout
    assert document["counts"] == {"error": 2, "warning": 0, "note": 2}
    for finding in document["findings"]:
        for word in (finding["check"], finding["message"], finding["proof"], f"{path}:{finding['place']['line']}"):
            assert word in table
    lines = path.read_text().splitlines()
    (contained,) = [f for f in document["findings"] if f["check"] == "contained"]
    assert lines[contained["place"]["line"] - 1].startswith("spec: {") and contained["fixable"]
    assert lines[contained["place"]["line"] - 1][contained["place"]["column"] - 1 :].startswith("{from: [{podSelector")


def test_sarif_is_what_code_scanning_takes(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(FAULTY)
    document = json.loads(lint(str(path), "--format", "sarif").stdout)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(all_checks())
    assert {result["ruleId"] for result in run["results"]} <= set(rules)
    for result in run["results"]:
        assert result["level"] in ("error", "warning", "note") and result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == str(path)
        assert location["physicalLocation"]["region"]["startLine"] >= 1
    fingerprints = [result["partialFingerprints"]["flowctl/v1"] for result in run["results"]]
    assert len(set(fingerprints)) == len(fingerprints)
    path.write_text("# one more line\n" + FAULTY)
    again = json.loads(lint(str(path), "--format", "sarif").stdout)["runs"][0]["results"]
    assert [result["partialFingerprints"]["flowctl/v1"] for result in again] == fingerprints
    assert again[0]["locations"] != run["results"][0]["locations"]


def test_the_list_names_every_check() -> None:
    listed = lint("--list").stdout
    for name, check in all_checks().items():
        assert name in listed and str(check.SEVERITY) in listed


def test_an_unknown_check_is_said() -> None:
    result = lint("--check", "spelling", "-", text="")
    assert result.exit_code == 2 and "no such check" in result.output


def test_checks_that_could_not_be_made_are_said() -> None:
    result = lint("-", text=policy("web", "{podSelector: {}}"))
    assert "not checked: dangling-peer: needs pods" in result.stdout


def test_the_order_of_files_leaves_no_trace(tmp_path: Path) -> None:
    for name, text in (
        ("a", FAULTY),
        ("b", CLUSTER),
        ("c", SAMPLES["vacuous"].faulty.replace("name: web", "name: w3")),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [str(tmp_path / f"{name}.yaml") for name in "abc"]
    outputs = {lint(*order).stdout for order in (files, files[::-1], [str(tmp_path)])}
    assert len(outputs) == 1


BAD = {
    "operator": (
        policy("x", "{podSelector: {matchExpressions: [{key: a, operator: Is}]}}"),
        "document 1 (line 1): spec.podSelector.matchExpressions[0].operator: 'Is' is not a valid selector operator",
    ),
    "port": (
        policy("x", "{podSelector: {}, ingress: [{ports: [{port: 70000}]}]}"),
        "document 1 (line 1): spec.ingress[0].ports[0].port: 70000 must be between 1 and 65535",
    ),
    "misspelt-from": (
        policy("x", "{podSelector: {}, ingress: [{form: []}]}"),
        "spec.ingress[0].form: unknown field; known are from, ports",
    ),
    "broken-yaml": ("a: [1, 2\n", "line 2"),
    "a-key-twice": ("kind: A\nkind: B\n", "line 2, column 1: key 'kind' is set twice"),
    "an-admin-policy": (
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: x}\n"
        "spec: {tier: Admin, priority: 1001, subject: {namespaces: {}}}\n",
        "spec.priority: 1001 must be between 0 and 1000",
    ),
    "not-text": ("a: \x00\x01", "control characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_the_rest_is_judged(tmp_path: Path, name: str) -> None:
    text, said = BAD[name]
    (tmp_path / "bad.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text(SAMPLES["contained"].faulty)
    result = lint(str(tmp_path))
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("left out:")]
    assert f"{tmp_path}/bad.yaml" in line and said in line
    assert "note contained shop/web spec.ingress[0]" in result.stdout
    strict = lint(str(tmp_path), "--strict")
    assert strict.exit_code == 3 and said in strict.output and "contained" not in strict.stdout


def test_terminal_tricks_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        'apiVersion: v1\nkind: "\\e[31mOdd\\u202e"\nmetadata: {name: x}\n---\n' + policy("a", "{podSelector: {}}")
    )
    out = lint(str(tmp_path)).output
    assert "\x1b" not in out and "\u202e" not in out and "Odd" in out
