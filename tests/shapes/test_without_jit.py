"""Every shape of flow logs with the kernels as plain Python: the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analyzers.ingest.log_formats import DEFAULT_FIELDS
from tests.ingest.test_text_kernel import generated
from tests.shapes.test_cloudwatch import CONTROL, envelope
from tests.shapes.test_parquet import table
from tests.shapes.test_transit_gateway import both_ways, write

SCRIPT = """
import sys
from analyzers.ingest import planning
from analyzers.ingest.aggregate import IngestOptions, aggregate
planning.RANGE_BYTES = 2000  # so that the larger files are read in parts
flows, report = aggregate(sys.argv[1:], IngestOptions(threads=1, intervals={"": 60}))
columns = dict(flows.columns)
for name, names in (("network", flows.networks), ("observer", flows.observers)):
    columns[name] = [names[n] for n in columns[name]]
print(sorted(zip(*(list(c) if isinstance(c, list) else c.tolist() for c in columns.values()))))
print(report.records, report.skips, report.coverage, report.windows, report.lost_packets, report.notes, report.formats)
"""
ODD = (
    "2 1 eni-1 - - - - - - - 1700000000 1700000059 - NODATA\n2 1 eni-1 - - - - - - - 1700007000 1700007900 - SKIPDATA\n"
)


@pytest.mark.slow
def test_all_shapes_give_the_same_without_the_jit(tmp_path: Path) -> None:
    rows = [line.split() for line in (generated(40) + ODD).splitlines()]
    rows[3][5] = "99999"
    (tmp_path / "1_vpcflowlogs_r_fl-1_20231114T2200Z_a.log").write_text(generated(30) + ODD + "bogus\n")
    (tmp_path / "1_vpcflowlogs_r_fl-2_20231114T2200Z_a.log").write_text(generated(20))
    (tmp_path / "envelopes.json").write_text(envelope(generated(20).splitlines()) + CONTROL + "junk{")
    write(tmp_path / "tgw.log", both_ways(("vpc-a", "10.0.0.5"), ("vpc-b", "2001:db8::9"), 443, lost="1 2 3 4"))
    pq.write_table(table(list(DEFAULT_FIELDS), rows), tmp_path / "flows.parquet", row_group_size=16)
    outputs = []
    for disabled in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)],
            capture_output=True, text=True, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
        )  # fmt: skip
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "'aws-cloudwatch': 1, 'aws-vpc': 3, 'aws-vpc-parquet': 1" in outputs[0]
