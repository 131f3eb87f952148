"""Files of a git revision, `HEAD~1:policies/`, by git's plumbing: no checkout, no shell, bare repositories too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

_REGULAR = ("100644", "100755")
_OTHER_MODES = {"120000": "a symbolic link", "160000": "a submodule"}


@dataclass(frozen=True, slots=True)
class RevisionFile:
    """One file as a revision has it. `content` None: it was not read, `reason` says why."""

    name: str  # `HEAD~1:policies/web.yaml`
    content: bytes | None
    reason: str = ""


def is_revision(given: str) -> bool:
    """Whether an argument that is no existing path can be a revision and a path, as git writes them."""
    revision, colon, _ = given.partition(":")
    return bool(colon and revision)


def revision_files(given: str, wanted: Callable[[str], bool], max_bytes: int) -> Iterator[RevisionFile]:
    """The files of `REVISION:PATH`, sorted by path: PATH itself when it is a file, else the `wanted` files below it.

    As in git, PATH counts from the top of the repository, `./PATH` from the working directory. Raises
    click.UsageError when there is no repository, no such revision or no such path.
    """
    revision, _, path = given.partition(":")
    if _answer(["rev-parse", "--git-dir"]) is None:
        raise click.UsageError(
            f"{given}: no such file, and no git revision either: {_reason(['rev-parse', '--git-dir'])}"
        )
    commit = _answer(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}"])
    if commit is None:
        shallow = _answer(["rev-parse", "--is-shallow-repository"]) == b"true"
        hint = "; this clone is shallow: fetch more history" if shallow else ""
        raise click.UsageError(
            f"{given}: {revision!r} is no revision of this repository (and {given!r} is no file){hint}"
        )
    found = _answer(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}:{path}"])
    if found is None:
        raise click.UsageError(f"{given}: {revision} has no {path!r}; paths count from the top of the repository")
    blob_or_tree = found.decode("ascii")
    kind = (_answer(["cat-file", "-t", blob_or_tree]) or b"").decode("ascii")
    if kind == "blob":
        yield from _contents([(given, blob_or_tree)], max_bytes)
        return
    if kind != "tree":
        raise click.UsageError(f"{given}: neither a file nor a directory but a {kind or 'missing object'}")
    chosen: list[tuple[str, str]] = []
    prefix = f"{revision}:{path.rstrip('/')}/" if path else f"{revision}:"
    for entry in (_answer(["ls-tree", "-r", "-z", "--full-tree", blob_or_tree]) or b"").split(b"\0"):
        if not entry:
            continue
        head, _, raw = entry.partition(b"\t")
        mode, _, blob = head.decode("ascii").split(" ")
        name = raw.decode("utf-8", "replace")
        if not wanted(name):
            continue
        if mode in _REGULAR:
            chosen.append((f"{prefix}{name}", blob))
        else:
            yield RevisionFile(f"{prefix}{name}", None, f"{_OTHER_MODES.get(mode, 'no file')} in git, not followed")
    yield from _contents(sorted(chosen), max_bytes)


def _contents(files: list[tuple[str, str]], max_bytes: int) -> Iterator[RevisionFile]:
    """Name and content of (name, blob) pairs, from one `git cat-file --batch`; sizes are asked for first."""
    sizes = _answer(["cat-file", "--batch-check=%(objectsize)"], "".join(f"{b}\n" for _, b in files).encode())
    lengths = [int(line) if line.isdigit() else -1 for line in (sizes or b"").split(b"\n")]
    fitting = [blob for (_, blob), size in zip(files, lengths, strict=False) if 0 <= size <= max_bytes]
    answer = _answer(["cat-file", "--batch=%(objectsize)"], "".join(f"{b}\n" for b in fitting).encode()) or b""
    position = 0
    for (name, _), size in zip(files, lengths, strict=False):
        if size < 0:
            yield RevisionFile(name, None, "its content is missing from the repository")
        elif size > max_bytes:
            yield RevisionFile(name, None, f"{size} bytes are more than {max_bytes}; split it into several files")
        else:
            begin = answer.index(b"\n", position) + 1
            yield RevisionFile(name, answer[begin : begin + size])
            position = begin + size + 1


def _answer(arguments: list[str], given: bytes = b"") -> bytes | None:
    """What git prints, without the line's end; None when it fails."""
    done = _git(arguments, given)
    return done.stdout.removesuffix(b"\n") if done.returncode == 0 else None


def _reason(arguments: list[str]) -> str:
    return _git(arguments, b"").stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ") or "git failed"


def _git(arguments: list[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
    # nothing here may write, ask for a password or fetch what a partial clone lacks
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *arguments], input=given, capture_output=True, check=False, env={**os.environ, **quiet}
        )
    except OSError as error:
        raise click.UsageError(f"a git revision needs the git command: {error.strerror or error}") from None
