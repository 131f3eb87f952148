"""Every case of the netpol-analyzer corpus, connectivity and differences, through `flowctl reach` and `flowctl diff`.

The comparison rules are those of the corpus's README. Cases that need more than the command as it stands are listed
here with the paragraph of the specification that decides them; everything else has to agree with no option at all.
"""

from __future__ import annotations

import ipaddress
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowctl.cli import main
from policygen.verify.connections import ConnectionSet, PortSpan

REFUSED = {
    "example_pods_w_same_owner_and_labels_gap_with_good_match_expression": "use_common_labels_same_values",
    "example_pods_w_same_owner_and_labels_gap_with_policy_selector_not_in_gap": "use_common_labels_same_values",
}
"""Object names are DNS subdomains (Kubernetes, "Object Names and IDs", RFC 1123): a server refuses this one for its
underscores, so the policy is left out and said so. Compared after the name is made valid."""

HOST_NETWORK = {
    "ipblockstest",
    "ipblockstest_2",
    "ipblockstest_3",
    "multiple_topology_resources_1",
    "multiple_topology_resources_2",
    "semanticDiff-same-topologies-new2",
    "semanticDiff-same-topologies-new3",
    "semanticDiff-same-topologies-old1",
}
"""Policies that select pods on the host's network. Kubernetes, "NetworkPolicies and hostNetwork pods": behaviour is
undefined, but one of two: the plugin tells their traffic apart and treats them like other pods (what the corpus
expects), or it does not, and they are their node's address (the most common one, and the default here). Compared with
`--host-network pods`."""

NO_BACKEND = {
    "k8s_ingress_test_new__k8s_ingress_test": ("{ingress-controller}", "default/unicorn[Deployment]"),
}
"""The Ingress names port 8080 of a Service whose port is 5000 (and leads to 8080). An IngressBackend's service.port is
"the port of the referenced service" (Kubernetes, Ingress v1), which has none of that number: nothing is served. The
corpus takes the number for the target's."""

Peer = str | tuple[int, int]
Row = tuple[Peer, Peer, tuple[str, ...]]
LINE = re.compile(r"(.+?) => (.+?) : (.+)")
DIFF_LINE = re.compile(
    r"diff-type: (\w+), source: (.+?), destination: (.+?), ref1: (.+?), ref2: (.+?)"
    r"(?:, workloads-diff-info: (.+))?"
)
PORTS = re.compile(r"(?:([A-Z]+) )?(\d+)(?:-(\d+))?")


def corpus() -> Path:
    root = os.environ.get("FLOWCTL_CORPORA")
    if not root:
        pytest.skip("FLOWCTL_CORPORA is not set: THE NETPOL-ANALYZER CASES ARE NOT RUN")
    return Path(root, "netpol-analyzer")


def cases(folder: str) -> list[str]:
    root = os.environ.get("FLOWCTL_CORPORA")
    return sorted(p.stem for p in Path(root, "netpol-analyzer", folder).glob("*.txt")) if root else ["(no corpus)"]


def parse_peer(text: str) -> Peer:
    if not text.endswith("[External]"):
        return text
    first, last = text.removesuffix("[External]").split("-")
    return int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))


def parse_connections(text: str) -> ConnectionSet:
    if text in ("All Connections", "No Connections"):
        return ConnectionSet.everything() if text.startswith("All") else ConnectionSet()
    spans, protocol = [], ""
    for token in text.split(","):
        match = PORTS.fullmatch(token)
        assert match, token
        protocol = match[1] or protocol
        spans.append(PortSpan(protocol, int(match[2]), int(match[3] or match[2])))
    return ConnectionSet.of(spans)


def cells(rows: list[Row], cuts: list[int]) -> dict[tuple[str | int, str | int], tuple[str, ...]]:
    """Rows on the common pieces of the address space; several rows for one pair would be a union, and must be none."""

    def pieces(peer: Peer) -> list[str | int]:
        return [peer] if isinstance(peer, str) else [cut for cut in cuts if peer[0] <= cut <= peer[1]]

    found: dict[tuple[str | int, str | int], tuple[str, ...]] = {}
    for source, destination, said in rows:
        for one in pieces(source):
            for other in pieces(destination):
                known = found.get((one, other))
                if known is not None:
                    assert len(said) == 1
                    said = (str(parse_connections(known[0]) | parse_connections(said[0])),)
                found[one, other] = said
    return found


def compared(got: list[Row], want: list[Row]) -> None:
    cuts = sorted({0} | {p for row in (*got, *want) for peer in row[:2] if isinstance(peer, tuple)
                         for p in (peer[0], peer[1] + 1)})  # fmt: skip
    ours, theirs = cells(got, cuts), cells(want, cuts)
    assert {k: (ours.get(k), theirs.get(k)) for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)} == {}


def rows_of_reach(text: str) -> list[Row]:
    rows: list[Row] = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        rows.append((parse_peer(match[1]), parse_peer(match[2]), (str(parse_connections(match[3])),)))
    return rows


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def place(case: str, tmp_path: Path) -> str:
    """The directory of a case, a copy with a valid name where a server would refuse the policy for its name."""
    folder = corpus() / "cases" / case
    if case not in REFUSED:
        return str(folder)
    for file in folder.iterdir():
        text = file.read_text().replace(REFUSED[case], REFUSED[case].replace("_", "-"))
        (tmp_path / file.name).write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize("case", cases("expected"))
def test_connectivity(case: str, tmp_path: Path) -> None:
    options = ("--host-network", "pods") if case in HOST_NETWORK else ()
    got = run("reach", place(case, tmp_path), *options)
    compared(rows_of_reach(got), rows_of_reach((corpus() / "expected" / f"{case}.txt").read_text()))


@pytest.mark.parametrize("case", sorted({*REFUSED, *HOST_NETWORK}))
def test_cases_that_are_listed_as_different_differ(case: str) -> None:
    done = CliRunner().invoke(main, ["reach", str(corpus() / "cases" / case)])
    assert done.exit_code == (1 if case in REFUSED else 0)
    assert ("left out" in done.stderr) == (case in REFUSED)
    with pytest.raises(AssertionError):
        compared(rows_of_reach(done.stdout), rows_of_reach((corpus() / "expected" / f"{case}.txt").read_text()))


@pytest.mark.parametrize("pair", cases("diffs"))
def test_differences(pair: str) -> None:
    folder = corpus() / "cases"
    new, old = pair.split("__")
    options = ("--host-network", "pods") if {new, old} & HOST_NETWORK else ()
    sections = run("diff", str(folder / old), str(folder / new), *options).split("Between pods of one workload:\n")
    rows = []
    for text in (sections[0], (corpus() / "diffs" / f"{pair}.txt").read_text()):
        found: list[Row] = []
        lines = text.splitlines()
        assert lines[:1] in ([], ["Connectivity diff:"])
        for line in (line for line in lines[1:] if not line.startswith("  ")):
            match = DIFF_LINE.fullmatch(line)
            assert match, line
            sets = (str(parse_connections(match[4])), str(parse_connections(match[5])))
            info = sorted(re.findall(r"\S+\[\w+\]", match[6] or "")) + (match[6] or "").split()[-1:]
            found.append((parse_peer(match[2]), parse_peer(match[3]), (match[1], *sets, *info)))
        rows.append(found)
    if pair in NO_BACKEND:
        assert [row for row in rows[1] if row[:2] == NO_BACKEND[pair]]
        rows[1] = [row for row in rows[1] if row[:2] != NO_BACKEND[pair]]
    compared(*rows)
    said = [*sections[0].splitlines()[1:], ""]
    for line, following in pairwise(said):
        if line.startswith("diff-type"):
            one_sided = "workloads-diff-info" in line or "{ingress-controller}" in line
            assert following.startswith(("  opened, for one: ", "  closed, for one: ")) != one_sided


def test_every_case_of_the_corpus_is_run() -> None:
    corpus()
    assert (len(cases("expected")), len(cases("diffs"))) == (64, 17)
