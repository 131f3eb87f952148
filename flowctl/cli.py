"""The command line. Commands are found by their file names and imported when they are called: `--help` stays fast."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
from typing import Any

import click

from flowctl import __version__, commands

# numpy's linear algebra, which nothing here uses, would start a thread for each core that spins while others work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class CommandsByFile(click.Group):
    """A group whose commands are the modules of flowctl.commands; each has `command` and `SUMMARY`."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run; what the system does not let be read or written is told in a line."""
        try:
            return super().main(*args, **extra)
        except OSError as problem:
            place = f"{problem.filename}: " if problem.filename else "output: " if problem.errno == errno.ENOSPC else ""
            print(f"flowctl: {place}{problem.strerror or problem}", file=sys.stderr)
            sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Module names, sorted."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found: Any = importlib.import_module(f"flowctl.commands.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found


@click.group(cls=CommandsByFile, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flowctl")
def main() -> None:
    """Turn flow logs and packet captures into least-privilege network policies, proven before you apply them.

    \b
    Exit codes: 0 done; 1 a qualified flow is denied, or something does not fit; 2 wrong usage, or something
    cannot be read or written; 3 input was skipped and --strict was given.
    """
