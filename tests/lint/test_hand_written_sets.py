"""What an expert faults in the hand-written sets, and that `lint` says that and nothing else.

Every policy was read by hand first; each expectation below carries the reason for which it is a fault.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from flowctl.linting import run_checks
from flowctl.policy_sources import LoadedPolicies, load_policies
from policygen.lint.model import LintReport, Severity

Found = dict[str, set[tuple[str, str]]]
"""Check -> (policy, object path)."""


def corpus(name: str) -> Path:
    root = os.environ.get("FLOWCTL_CORPORA")
    if not root:
        pytest.skip("FLOWCTL_CORPORA is not set: THE HAND-WRITTEN SETS ARE NOT LINTED")
    return Path(root, "policies", name)


def linted(*paths: Path) -> tuple[LoadedPolicies, LintReport, Found]:
    loaded = load_policies([str(path) for path in paths])
    report = run_checks(loaded, "spec")
    found: Found = defaultdict(set)
    for one in report.findings:
        found[one.check].add((one.finding.policy, one.finding.path))
    return loaded, report, dict(found)


def of(namespace: str, path: str, *names: str) -> set[tuple[str, str]]:
    return {(f"{namespace}/{name}", path) for name in names}


# One recipe is one directory. Linted alone, without pods, only what the text itself tells can be found.
RECIPES: dict[str, Found] = {
    # isolates the application and lets nothing in: that is the recipe, and worth knowing
    "01-deny-all-traffic-to-an-application": {"ruleless": {("default/web-deny-all", "spec.ingress")}},
    "02-limit-traffic-to-an-application": {},
    # `ingress: [{}]`: the internet as well, on every port
    "02a-allow-all-traffic-to-an-application": {"world-open": {("default/web-allow-all", "spec.ingress[0]")}},
    # a default deny is meant to have no rules
    "03-deny-all-non-whitelisted-traffic-in-the-namespace": {},
    # `matchLabels:` without a value selects every pod, as the recipe wants
    "04-deny-traffic-from-other-namespaces": {},
    "05-allow-traffic-from-all-namespaces": {},
    "06-allow-traffic-from-a-namespace": {},
    "07-allow-traffic-from-some-pods-in-another-namespace": {},
    "08-allow-external-traffic": {"world-open": {("default/web-allow-external", "spec.ingress[0]")}},
    "09-allow-traffic-only-to-a-port": {},
    "10-allowing-traffic-with-multiple-selectors": {},
    # two files of one name: the later one stands, and nothing can be reached, names included
    "11-deny-egress-traffic-from-an-application": {"ruleless": {("default/foo-deny-egress", "spec.egress")}},
    "12-deny-all-non-whitelisted-traffic-from-the-namespace": {},
    # DNS over both protocols to the right pods
    "14-deny-external-egress-traffic": {},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_alone(recipe: str) -> None:
    loaded, report, found = linted(corpus("network-policy-recipes") / recipe)
    assert found == RECIPES[recipe]
    assert report.count(Severity.ERROR) == 0
    assert not loaded.left_out
    fragments = len(list((corpus("network-policy-recipes") / recipe).glob("fragment-*.yaml")))
    passed_over = [p.reason for p in loaded.remarks if "passed over" in p.reason]
    said = f"{fragments} objects that say nothing here were passed over: (no kind) {fragments}"
    assert passed_over == ([said] if fragments else [])


def test_every_recipe_is_expected_here() -> None:
    assert {p.name for p in corpus("network-policy-recipes").iterdir() if p.is_dir()} == set(RECIPES)


def test_the_second_file_of_a_name_is_named() -> None:
    loaded, _, _ = linted(corpus("network-policy-recipes") / "11-deny-egress-traffic-from-an-application")
    (remark,) = [p for p in loaded.remarks if "replaces" in p.reason]
    assert "foo-deny-egress.yaml" in remark.where and "foo-deny-egress.2.yaml" in remark.reason


def test_the_recipes_together_undo_one_another() -> None:
    """All of them are for namespace default. Recipe 04 isolates every pod and lets every pod of the namespace in, so
    that 01 and what allows pods of the namespace (02, 09, 10) add nothing; 02a lets everybody reach `app=web`, so
    that 05 to 08 add nothing; 12 isolates every pod for egress, so that 11 adds nothing."""
    _, report, found = linted(corpus("network-policy-recipes"))
    assert found == {
        "world-open": of("default", "spec.ingress[0]", "web-allow-all", "web-allow-external"),
        "redundant": of(
            "default", "",
            "web-deny-all", "api-allow", "api-allow-5000", "redis-allow-services",
            "web-allow-all-namespaces", "web-allow-prod", "web-allow-all-ns-monitoring", "web-allow-external",
            "foo-deny-egress",
        ),
    }  # fmt: skip
    containers = {
        name.split()[0]
        for one in report.findings
        if one.check == "redundant"
        for name in one.finding.proof.replace(";", "").split()
        if name.startswith("default/")
    }
    assert containers == {
        "default/deny-from-other-namespaces",
        "default/web-allow-all",
        "default/default-deny-all",
        "default/default-deny-all-egress",
    }
    assert {name for name, _ in report.skipped} == {"dangling-peer", "named-port", "one-sided", "service-port"}


def test_online_boutique() -> None:
    """Ports and labels agree with the manifests, services' ports are translated (email: 5000 to 8080, frontend: 80 to
    8080). What is wrong is that nobody's egress is limited, and that the frontend is open on every port."""
    loaded, report, found = linted(corpus("microservices-demo"))
    workloads = (
        "adservice", "cartservice", "checkoutservice", "currencyservice", "emailservice", "frontend", "loadgenerator",
        "paymentservice", "productcatalogservice", "recommendationservice", "redis-cart", "shippingservice",
    )  # fmt: skip
    assert found == {
        "world-open": of("default", "spec.egress[0]", *workloads) | {("default/frontend", "spec.ingress[0]")}
    }
    assert {one.severity for one in report.findings} == {Severity.WARNING}
    assert not report.skipped and not loaded.left_out


def test_bookinfo() -> None:
    """Seven workloads have a policy without any rule, because nothing in the manifests tells who calls them: they are
    cut off, and the policies add nothing to the default deny. The front page answers everybody and may call nobody."""
    _, report, found = linted(corpus("cluster-topology-analyzer") / "bookinfo")
    cut_off = [f"{name}-netpol" for name in (
        "details-v1", "details-v2", "ratings-v1", "ratings-v2-mysql-vm", "reviews-v1", "reviews-v2", "reviews-v3",
    )]  # fmt: skip
    assert found == {
        "ruleless": of("default", "spec", *cut_off)
        | of("default", "spec.egress", "mongodb-v1-netpol", "mysqldb-v1-netpol", "productpage-v1-netpol")
        | of("default", "spec.ingress", "ratings-v2-netpol", "ratings-v2-mysql-netpol"),
        "redundant": of("default", "", *cut_off),
        # from every namespace on 9080, beside from everywhere on 9080
        "contained": of("default", "spec.ingress[0]", "productpage-v1-netpol"),
        "world-open": of("default", "spec.ingress[1]", "productpage-v1-netpol"),
        # UDP 53 only
        "dns-forgotten": of("default", "spec.egress", "ratings-v2-netpol", "ratings-v2-mysql-netpol"),
    }
    assert {one.finding.policy for one in report.findings if one.severity is Severity.WARNING} == {
        f"default/{name}" for name in cut_off
    }
    assert report.count(Severity.ERROR) == 0


def test_quote_of_the_day() -> None:
    """The load generator has no policy and is cut off by the default deny of its namespace. DNS is UDP only. Servers
    that call nobody have no egress."""
    _, report, found = linted(corpus("cluster-topology-analyzer") / "qotd")
    assert found == {
        "ruleless": of("qotd-load", "spec", "default-deny-in-namespace-qotd-load")
        | of("qotd-load", "spec.egress", "qotd-usecase-netpol")
        | of("qotd", "spec.egress", *(f"qotd-{n}-netpol" for n in ("db", "engraving", "image", "qrcode", "rating"))),
        "dns-forgotten": of("qotd", "spec.egress", *(f"qotd-{n}-netpol" for n in ("author", "pdf", "quote", "web"))),
    }
    (warning,) = [one.finding for one in report.findings if one.severity is Severity.WARNING]
    assert "qotd-load/qotd-load" in warning.message


def test_a_wrong_inventory_is_noticed() -> None:
    """Policies for one application, pods of another: everything dangles."""
    boutique = corpus("microservices-demo") / "network-policies"
    _, _, found = linted(boutique, corpus("cluster-topology-analyzer") / "bookinfo" / "manifests")
    assert len(found["vacuous"]) == 12  # all but the default deny
    assert len(found["dangling-peer"]) == 15  # every peer that is named
