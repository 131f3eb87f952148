"""Selectors: the fewest stable labels, exact where labels allow it, honest where they do not."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.inventory import Endpoint, Identity, Inventory
from policygen.model import EVERYTHING, Requirement, Selector
from policygen.synthesis.label_stability import Stability, preference, stability
from policygen.synthesis.selectors import SelectorChooser, choose_selector
from policygen.verify.evaluate import selector_matches

from .clusters import inventory, pod, workload

VOLATILE = {
    "pod-template-hash": "5d4f8c7b9",
    "controller-revision-hash": "web-7c9",
    "pod-template-generation": "3",
    "controller-uid": "9a0b",
    "job-name": "report-29",
    "batch.kubernetes.io/controller-uid": "9a0b",
    "batch.kubernetes.io/job-name": "report-29",
    "batch.kubernetes.io/job-completion-index": "0",
    "statefulset.kubernetes.io/pod-name": "db-0",
    "apps.kubernetes.io/pod-index": "0",
}


def selector_of(chosen: Identity, *others: Identity) -> Selector:
    choice = choose_selector(chosen, inventory(also=(chosen, *others)))
    assert choice.exact
    return choice.selector


def labels(**plain: str) -> dict[str, str]:
    return plain


@pytest.mark.parametrize("key", VOLATILE)
def test_a_volatile_label_is_never_used_even_where_nothing_else_tells_apart(key: str) -> None:
    one = workload("a", "one", {"app": "x", key: VOLATILE[key]})
    two = workload("a", "two", {"app": "x", key: "other"})
    choice = choose_selector(one, inventory(pod(one), pod(two)))
    assert choice.selector == Selector((("app", "x"),))
    assert not choice.exact
    assert choice.over_selected == ("a/two-0",)
    assert choice.over_selected_workloads == (two,)


def test_recommended_labels_come_first_and_one_is_enough() -> None:
    chosen = workload("a", "w", {"app": "w", "app.kubernetes.io/name": "w", "tier": "x", "zone": "z"})
    assert selector_of(chosen, workload("a", "v", {"app": "v"})) == Selector((("app.kubernetes.io/name", "w"),))


def test_fewer_labels_win_over_better_ones() -> None:
    chosen = workload("a", "w", {"app": "x", "role": "db", "zz": "w"})
    others = workload("a", "v", {"app": "x", "role": "web", "zz": "v"}), workload("a", "u", {"app": "y", "role": "db"})
    assert selector_of(chosen, *others) == Selector((("zz", "w"),))


def test_labels_are_combined_where_one_is_not_enough() -> None:
    chosen = workload("a", "w", {"app": "x", "role": "db"})
    others = workload("a", "v", {"app": "x", "role": "web"}), workload("a", "u", {"app": "y", "role": "db"})
    assert selector_of(chosen, *others) == Selector((("app", "x"), ("role", "db")))


def test_other_namespaces_do_not_matter() -> None:
    assert selector_of(workload("a", "w"), workload("b", "w", {"app": "w", "x": "y"})) == Selector.of(app="w")


def test_a_canary_is_told_from_its_stable_twin_by_absence() -> None:
    stable, canary = workload("a", "web"), workload("a", "canary", {"app": "web", "track": "canary"})
    assert selector_of(stable, canary) == Selector((("app", "web"),), (Requirement("track", "DoesNotExist"),))
    assert selector_of(canary, stable) == Selector.of(track="canary")


def test_pods_of_an_old_template_are_still_selected() -> None:
    web = workload("a", "web", {"app": "web", "team": "blue"})
    choice = choose_selector(web, inventory(pod(web, "old", drop=["app"], extra={"app": "website"}), pod(web, "new")))
    assert choice.selector == Selector.of(team="blue")


def test_a_label_whose_value_differs_between_own_pods_becomes_a_set() -> None:
    web, api = workload("a", "web"), workload("a", "api")
    choice = choose_selector(web, inventory(pod(web, "old", {"app": "website"}), pod(web, "new"), pod(api)))
    assert choice.exact
    assert choice.selector == Selector((), (Requirement("app", "In", ("web", "website")),))


def test_finished_pods_count() -> None:
    job = workload("a", "report", {"app": "report", "x": "1"}, "CronJob")
    choice = choose_selector(job, inventory(pod(job, "gone", drop=["app"], until=5), pod(job, "now")))
    assert choice.selector == Selector.of(x="1")


def test_a_version_is_the_last_resort_and_said() -> None:
    old, new = workload("a", "v1", {"app": "x", "version": "v1"}), workload("a", "v2", {"app": "x", "version": "v2"})
    choice = choose_selector(old, inventory(also=(old, new)))
    assert choice.exact
    assert choice.version_labels == ("version",)
    assert choice.selector == Selector.of(version="v1")
    lone = choose_selector(old, inventory(also=(old,)))
    assert lone.selector == Selector.of(app="x")
    assert lone.version_labels == ()


def test_pods_on_the_hosts_network_are_no_others() -> None:
    web, agent = workload("a", "web"), workload("a", "agent", {"app": "web"}, "DaemonSet")
    assert choose_selector(web, inventory(pod(web), pod(agent, host=True))).exact
    assert not choose_selector(web, inventory(pod(web), pod(agent, host=True), pod(agent, "agent-1"))).exact


def test_without_a_label_nothing_is_usable_unless_alone() -> None:
    bare, web = workload("a", "bare", {}, "Pod"), workload("a", "web")
    choice = choose_selector(bare, inventory(pod(bare), pod(web)))
    assert (choice.usable, choice.exact, choice.selector) == (False, False, EVERYTHING)
    assert choice.over_selected == ("a/web-0",)
    assert choice.as_peer == Selector((), (Requirement("app", "DoesNotExist"),))
    alone = choose_selector(bare, inventory(pod(bare)))
    assert (alone.usable, alone.exact, alone.selector) == (True, True, EVERYTHING)


def test_labels_that_kubernetes_would_refuse_are_not_used() -> None:
    odd = workload("a", "odd", {"app": "two words", "-x": "y", "fine": "yes"})
    assert selector_of(odd) == Selector.of(fine="yes")


def test_many_labels_take_no_time() -> None:
    names = [f"k{n}" for n in range(60)]
    chosen = workload("a", "w", dict.fromkeys(names, "x"))
    others = [workload("a", f"o{n:02}", {k: "y" if i == n else "x" for i, k in enumerate(names)}) for n in range(60)]
    assert len(selector_of(chosen, *others).labels) == 60


KEYS = st.sampled_from(["app", "tier", "zone", "app.kubernetes.io/name", "version", "job-name"])
LABELS = st.dictionaries(KEYS, st.sampled_from(["x", "y", "z"]), max_size=4)


@st.composite
def populations(draw: st.DrawFn) -> Inventory:
    endpoints: list[Endpoint] = []
    workloads = []
    for n, template in enumerate(draw(st.lists(LABELS, min_size=1, max_size=5))):
        one = workload("a", f"w{n}", template)
        workloads.append(one)
        for p in range(draw(st.integers(0, 2))):
            drop = draw(st.sets(KEYS, max_size=1)) if draw(st.booleans()) else ()
            endpoints.append(pod(one, f"w{n}-{p}", {"pod-template-hash": str(p)} | draw(LABELS), drop=drop))
    return inventory(*endpoints, also=workloads)


def rows(population: Inventory, of: Identity | None = None) -> list[tuple[Identity, str, dict[str, str]]]:
    found = [(e.workload, f"a/{e.name}", dict(e.labels)) for e in population.endpoints]
    found += [(w, f"template of Deployment {w}", dict(w.labels)) for w in population.workloads]
    return [row for row in found if of is None or row[0] == of]


@settings(max_examples=250, deadline=None)
@given(populations())
def test_choices_hold_what_they_say(population: Inventory) -> None:
    chooser = SelectorChooser(population)
    for one in population.workloads:
        choice = chooser.choose(one)
        for selector in (choice.selector, choice.as_peer):
            assert all(selector_matches(selector, labels) for _, _, labels in rows(population, one))
            used = {k for k, _ in selector.labels} | {e.key for e in selector.expressions}
            assert not used & {"pod-template-hash", "job-name"}
            assert "version" not in used or choice.version_labels == ("version",)
        foreign = [r for r in rows(population) if r[0] != one and selector_matches(choice.selector, r[2])]
        assert choice.exact == (not foreign)
        assert set(choice.over_selected_workloads) == {w for w, _, _ in foreign}
        pods = {name for _, name, _ in foreign if not name.startswith("template")}
        assert pods <= set(choice.over_selected)
        assert {n for n in choice.over_selected if not n.startswith("template")} == pods
        assert choice.usable or not choice.exact


@settings(max_examples=200, deadline=None)
@given(populations())
def test_no_smaller_and_no_better_set_of_labels_exists(population: Inventory) -> None:
    """Against every subset: where equalities of stable labels are exact, the choice is the first of the fewest."""
    for one in population.workloads:
        own = [labels for _, _, labels in rows(population, one)]
        others = [labels for w, _, labels in rows(population) if w != one]
        shared = set.intersection(*(set(labels.items()) for labels in own))
        usable = sorted((i for i in shared if stability(*i) is Stability.STABLE), key=lambda i: preference(i[0]))
        best = next(
            (
                Selector(tuple(sorted(chosen)))
                for size in range(1, len(usable) + 1)
                for chosen in combinations(usable, size)
                if not any(set(chosen) <= set(labels.items()) for labels in others)
            ),
            None,
        )
        if best is not None:
            assert choose_selector(one, population).selector == best
