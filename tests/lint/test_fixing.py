"""`lint --fix` on files: what it does, what it refuses, and that nothing is written without the proof."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowctl import lint_fixing
from flowctl.cli import main
from flowctl.policy_sources import load_policies
from policygen.lint.rewriting import Cut
from policygen.lint.source_places import DocumentText
from policygen.verify.reachability import Reachability

WEB = """\
# Who may reach the web tier. Ask the shop team before you change it.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels: {app: web}   # the front
  policyTypes: [Ingress, Egress]
  ingress:
  # the database asks back
  - from:
    - podSelector: {matchLabels: {app: db}}
    ports:
    - port: 80
  # everybody in the shop
  - from:
    - podSelector: {}
    - podSelector: {matchLabels: {tier: x}}
    ports: [{port: 80, endPort: 90}, {port: 85}, {protocol: UDP, port: 80}]
  egress:
  - {}
"""
FIXED = """\
# Who may reach the web tier. Ask the shop team before you change it.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels: {app: web}   # the front
  policyTypes: [Ingress, Egress]
  ingress:
  # everybody in the shop
  - from:
    - podSelector: {}
    ports: [{port: 80, endPort: 90}, {protocol: UDP, port: 80}]
  egress:
  - {}
"""
TWIN = WEB.replace("name: web\n", "name: web2\n")


def fix(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lint", "--fix", *arguments], input=text, catch_exceptions=False)


def lines(result: Result, begin: str) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith(begin)]


def test_only_what_is_superfluous_goes(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    path.chmod(0o640)
    result = fix(str(path))
    assert path.read_text() == FIXED
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(lines(result, "fixed: contained shop/web")) == 3
    assert "contained in shop/web ingress rule 1" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["web.yaml"]
    again = fix(str(path))
    assert path.read_text() == FIXED and not lines(again, "fixed:")


def test_a_twin_goes_and_the_first_stays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FIXED + "---\n" + FIXED.replace("name: web\n", "name: web2\n"))
    result = fix(str(tmp_path))
    assert (tmp_path / "a.yaml").read_text() == FIXED
    assert len(lines(result, "fixed: redundant shop/web2")) == 1


def test_a_file_of_which_nothing_is_left_is_removed_unless_another_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FIXED)
    twin = tmp_path / "b.yaml"
    twin.write_text(FIXED.replace("name: web\n", "name: web2\n"))
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nresources: [a.yaml, b.yaml]\n")
    refused = fix(str(tmp_path))
    assert twin.exists()
    assert "another file names b.yaml" in "\n".join(lines(refused, "not fixed: redundant shop/web2"))
    (tmp_path / "kustomization.yaml").unlink()
    fix(str(tmp_path))
    assert not twin.exists() and (tmp_path / "a.yaml").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # without its last rule the list is empty, and without policyTypes that would drop the isolation for egress
        (
            FIXED.replace("name: web\n", "name: web2\n").replace("  policyTypes: [Ingress, Egress]\n", "")
            + "---\n"
            + "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: w, namespace: shop}\n"
            + "spec: {podSelector: {matchLabels: {app: web, a: b}}, egress: [{ports: [{port: 1}]}], "
            + "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\n",
            "only item",
        ),
        (WEB.replace("    ports:\n", "    ports: &web\n"), "anchor"),
    ],
)
def test_what_cannot_be_rewritten_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(text)
    result = fix(str(path))
    assert any(said in line for line in lines(result, "not fixed:")), result.output


def test_what_is_no_file_is_left_alone() -> None:
    result = fix("-", text=WEB)
    assert len(lines(result, "not fixed: contained")) == 3
    assert "standard input are not rewritten" in result.output


def test_nothing_is_written_without_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite that takes out the wrong rule is caught by the comparison of reachability, not by luck."""

    def wrong(document: DocumentText, *_: object, **__: object) -> Cut:
        begin = document.text.index("  # everybody in the shop")
        return Cut(begin, document.text.index("  egress:"))

    monkeypatch.setattr(lint_fixing, "cut_for", wrong)
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    result = fix(str(path))
    assert path.read_text() == WEB
    assert not lines(result, "fixed:")
    assert "it would change what is allowed" in result.output


def test_a_rewrite_that_breaks_the_file_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint_fixing, "cut_for", lambda document, *_, **__: Cut(document.text.index("spec:"), 300))
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    result = fix(str(path))
    assert path.read_text() == WEB
    assert lines(result, "not fixed:")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lint_fixing.tempfile, "mkstemp", full)
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    result = fix(str(path))
    assert path.read_text() == WEB and not lines(result, "fixed:")
    assert "cannot be written: No space left on device" in result.output


def test_fixed_files_allow_the_same(tmp_path: Path) -> None:
    """Compared with the engine here, over an inventory that the fix did not see."""
    cluster = "\n---\n".join(
        "apiVersion: v1\nkind: Pod\n"
        f"metadata: {{name: {name}, namespace: {space}, labels: {labels}}}\nspec: {{containers: []}}"
        for name, space, labels in (
            ("web", "shop", "{app: web}"), ("db", "shop", "{app: db}"), ("x", "shop", "{tier: x}"), ("o", "o", "{}"),
        )
    )  # fmt: skip
    (tmp_path / "p").mkdir()
    (tmp_path / "cluster.yaml").write_text(cluster)
    (tmp_path / "p" / "web.yaml").write_text(WEB + "---\n" + TWIN)
    inventory = [str(tmp_path / "cluster.yaml")]
    before = load_policies([str(tmp_path / "p")], inventory)
    fix(str(tmp_path / "p"))
    after = load_policies([str(tmp_path / "p")], inventory)
    assert len(after.network.policies) == 1 and len(before.network.policies) == 2
    pairs = [list(Reachability.compile(one.network, one.inventory).pairs(True)) for one in (before, after)]
    assert pairs[0] == pairs[1] and len(pairs[0]) > 3
