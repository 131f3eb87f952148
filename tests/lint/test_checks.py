"""Every check finds what it is for and nothing in what is sound beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.linting import run_checks
from flowctl.policy_sources import load_policies
from policygen.lint.model import Reported
from policygen.lint.run import all_checks
from tests.lint.samples import CLUSTER, SAMPLES


def findings(tmp_path: Path, text: str, check: str, cni: str, cluster: str = CLUSTER) -> list[Reported]:
    (tmp_path / "cluster.yaml").write_text(cluster)
    (tmp_path / ("policies.json" if text.startswith("{") else "policies.yaml")).write_text(text)
    loaded = load_policies([str(tmp_path)])
    assert not loaded.left_out
    assert loaded.policies
    return list(run_checks(loaded, cni, [check]).findings)


def test_every_check_has_a_sample() -> None:
    assert set(SAMPLES) == set(all_checks())


@pytest.mark.parametrize("check", SAMPLES)
def test_the_fault_is_found_where_it_is(tmp_path: Path, check: str) -> None:
    sample = SAMPLES[check]
    found = findings(tmp_path, sample.faulty, check, sample.cni)
    assert sorted(f.finding.path for f in found) == sorted(sample.paths)
    assert any(sample.proof in f.finding.proof for f in found), [f.finding.proof for f in found]
    assert str(min(f.severity for f in found)) == sample.severity
    assert all(f.finding.message and f.finding.origin for f in found)


@pytest.mark.parametrize("check", SAMPLES)
def test_what_is_sound_is_left_alone(tmp_path: Path, check: str) -> None:
    sample = SAMPLES[check]
    assert findings(tmp_path, sample.sound, check, sample.cni) == []


@pytest.mark.parametrize("check", SAMPLES)
def test_every_check_says_what_it_finds_in_one_line(check: str) -> None:
    doc = all_checks()[check].DOC
    assert 10 < len(doc) < 120 and "\n" not in doc
