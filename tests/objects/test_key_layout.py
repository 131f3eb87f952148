"""What names tell about time, against the layouts that the clouds document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.objects.key_layout import MARGIN, Window, told_by
from tests.objects.flow_log_tree import key_of, moment


@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("s3://b/AWSLogs/1/vpcflowlogs/eu-west-1/2026/", "2026-01-01", "2027-01-01"),
        ("s3://b/x/AWSLogs/o-1/1/vpcflowlogs/us-gov-east-1/2026/12/", "2026-12-01", "2027-01-01"),
        ("AWSLogs/1/vpcflowlogs/eu-west-1/2028/02/29/", "2028-02-29", "2028-03-01"),
        ("AWSLogs/1/vpcflowlogs/eu-west-1/2026/12/31/23/", "2026-12-31T23:00", "2027-01-01"),
        ("x/year=2026/month=1/", "2026-01-01", "2026-02-01"),
        ("x/aws-region=eu-west-1/year=2026/month=01/day=31/hour=07/", "2026-01-31T07:00", "2026-01-31T08:00"),
        ("c/resourceId=/SUBSCRIPTIONS/S/y=2026/m=01/d=02/h=03/m=00/macAddress=00/PT1H.json",
         "2026-01-02T03:00", "2026-01-02T04:00"),
        ("gs://b/compute.googleapis.com/vpc_flows/2026/01/02/03:00:00_03:59:59_S0.json",
         "2026-01-02T03:00", "2026-01-02T04:00"),
        # an object's own name says more than the folder that it was copied to
        ("2025/01/01/123_vpcflowlogs_eu-west-1_fl-0abc_20260131T2355Z_1f2e.log.parquet",
         "2026-01-31T23:55", "2026-02-01T00:05"),
    ],
)  # fmt: skip
def test_names_that_tell(name: str, begin: str, end: str) -> None:
    assert told_by(name) == (moment(begin), moment(end))


@pytest.mark.parametrize(
    "name",
    ["s3://b/2026/01/02/", "AWSLogs/", "AWSLogs/1/vpcflowlogs/eu-west-1/", "AWSLogs/1/vpcflowlogs/eu-west-1/2026/13/",
     "x/year=2026/month=00/", "x/year=9999/", "x/year=2026", "1_vpcflowlogs_eu-west-1_fl-1_20261301T0000Z_1.log"],
)  # fmt: skip
def test_names_that_tell_nothing_are_kept(name: str) -> None:
    assert told_by(name) is None
    assert Window(0, 1).may_hold(name)


layouts = st.fixed_dictionaries(
    {"hive": st.booleans(), "hourly": st.booleans(), "org": st.sampled_from(("", "o-a1b2/")),
     "region": st.sampled_from(("eu-west-1", "us-gov-west-1"))}
)  # fmt: skip
seconds = st.integers(moment("2024-01-01"), moment("2029-01-01"))


@given(seconds, st.integers(0, 10**6), seconds, st.integers(0, 299), st.integers(0, 2400), layouts)
def test_no_record_of_the_window_is_pruned(
    since: int, length: int, about: int, within: int, late: int, layout: dict[str, object]
) -> None:
    """Whatever the layout: an object that holds a record of the window, up to 40 minutes late, is kept, and so is
    every prefix on the way to it."""
    begin = about - about % 300
    last = begin + within - late  # when the record ends
    key = key_of(begin, **layout)  # type: ignore[arg-type]
    window = Window(since, since + length)
    inside = since <= last < since + length
    parts = key.split("/")
    ways = ["/".join(parts[:depth]) + "/" for depth in range(1, len(parts))]
    kept = all(window.may_hold(name) for name in [key, *ways])
    if inside:
        assert kept
    if begin + 600 + MARGIN <= since or begin >= since + length + MARGIN:
        assert not window.may_hold(key)
