"""Runs in the environment that NCA is installed in: connectivity of each manifest file named on stdin, timed.

For every file F one line of JSON: {"file": F, "seconds": ..., "lines": [...]}; nothing of flowctl is imported here.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

from nca.nca_cli import nca_main


def connectivity(file):
    """(seconds, lines) of one manifest file, pods as endpoints, both address families."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        arguments = ["--connectivity", "-r", file, "-o", "txt_no_fw_rules", "--output_endpoints", "pods"]
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            nca_main([*arguments, "--print_ipv6", "-f", str(out)])
        seconds = time.perf_counter() - started
        if not out.exists():
            raise SystemExit(f"NCA wrote nothing for {file}: {said.getvalue()}")
        return seconds, out.read_text().splitlines()


for name in sys.stdin.read().split():
    elapsed, lines = connectivity(name)
    print(json.dumps({"file": name, "seconds": elapsed, "lines": lines}), flush=True)
