"""The console blocks of the README and of the documents that go on from it, run as they stand: the same bytes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/policies.md", "docs/store.md")  # the later ones find what the first one wrote
BLOCK = re.compile(
    r"^```console(?: exit=(?P<code>\d))?\n\$ (?P<command>.+?)\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL
)


def tidy(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def test_every_console_block_prints_what_it_shows(tmp_path: Path) -> None:
    found = [list(BLOCK.finditer((ROOT / name).read_text(encoding="utf-8"))) for name in DOCUMENTS]
    assert all(len(blocks) >= 3 for blocks in found)
    shutil.copytree(ROOT / "pcaps", tmp_path / "pcaps")
    for block in (block for blocks in found for block in blocks):
        program, *rest = shlex.split(block["command"])
        command = [sys.executable, "-m", "flowctl", *rest] if program == "flowctl" else [program, *rest]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        )
        assert done.returncode == int(block["code"] or 0), done.stderr
        assert tidy(done.stdout) == tidy(block["output"]), block["command"]


def test_the_make_targets_that_the_readme_names_exist_and_the_demo_runs(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    shutil.copytree(ROOT / "pcaps", tmp_path / "pcaps")
    commands = recipe[1].replace("\\\n", " ").strip().splitlines()
    assert len(commands) == 2
    for line in commands:
        arguments = shlex.split(line)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "flowctl", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 of" in done.stdout and "qualified flows denied" in done.stdout
    assert list((tmp_path / "demo-out" / "kubernetes").rglob("*.yaml"))
    assert list((tmp_path / "demo-out" / "aws" / "aws-sg").glob("*.tf"))
