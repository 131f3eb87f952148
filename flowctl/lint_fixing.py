"""`lint --fix`: take out of files what changes nothing, after the proof that it changes nothing."""

from __future__ import annotations

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from analyzers.inventory import Inventory
from flowctl.linting import FindingPlaces, run_checks
from flowctl.policy_sources import LoadedPolicies, Source, with_contents
from policygen.lint.imagined import imagined
from policygen.lint.model import Finding
from policygen.lint.rewriting import CannotRewrite, Cut, apply, cut_for
from policygen.model import PolicySet
from policygen.verify.differences import same_reachability
from policygen.verify.profiles import PROFILES, CniProfile
from policygen.verify.reachability import Reachability


@dataclass(frozen=True, slots=True)
class _Edit:
    finding: Finding
    source: Source
    cut: Cut
    line: str  # what is said when it is done


def fix_files(
    loaded: LoadedPolicies, cni: str, checks: Collection[str] = ()
) -> tuple[LoadedPolicies, tuple[str, ...], tuple[str, ...]]:
    """(what the files say afterwards, what was done, what was refused and why), one line each.

    All edits are proven together, before any file is written; when that fails, each file by itself.
    """
    edits, refused = _edits(loaded, cni, checks)
    by_file: dict[str, list[_Edit]] = defaultdict(list)
    for edit in edits:
        by_file[edit.source.text.name].append(edit)
    contents: dict[str, bytes] = {}
    for name, own in by_file.items():
        try:
            contents[name] = _rewritten(own)
        except CannotRewrite as reason:
            refused += [f"{edit.line}: {reason}" for edit in own]
    for name in [n for n in contents if _is_empty(contents[n]) and _mentioned(loaded, n)]:
        refused += [f"{e.line}: another file names {Path(name).name}, which would be gone" for e in by_file[name]]
        del contents[name]
    profile = PROFILES[cni]
    if contents and _difference(loaded, contents, profile):
        for name in sorted(contents):
            problem = _difference(loaded, {name: contents[name]}, profile)
            if problem:
                refused += [f"{edit.line}: {problem}" for edit in by_file[name]]
                del contents[name]
    if not contents:
        return loaded, (), tuple(sorted(refused))
    for name, content in sorted(contents.items()):
        path = by_file[name][0].source.text.path
        assert path is not None  # others were refused
        try:
            _write(path, content)
        except OSError as error:
            refused += [f"{edit.line}: cannot be written: {error.strerror or error}" for edit in by_file[name]]
            del contents[name]
    done = [edit.line for name in contents for edit in by_file[name]]
    return with_contents(loaded, contents), tuple(sorted(done)), tuple(sorted(refused))


def _edits(loaded: LoadedPolicies, cni: str, checks: Collection[str]) -> tuple[list[_Edit], list[str]]:
    places = FindingPlaces(loaded)
    edits: list[_Edit] = []
    refused: list[str] = []
    found = [one for one in run_checks(loaded, cni, checks).findings if one.finding.removal is not None]
    together: dict[tuple[str, int], set[str]] = defaultdict(set)  # what goes from one document
    for one in found:
        known = loaded.sources.get(one.finding.origin)
        if known is not None:
            together[known.text.name, known.document.number].add(_path(known, one.finding))
    for one in found:
        what = " ".join(filter(None, (one.check, one.finding.policy, one.finding.path)))
        line = f"{what} ({one.finding.proof}) at {places.of(one.finding)}"
        try:
            source, cut = _cut(loaded, places, one.finding, together)
        except CannotRewrite as reason:
            refused.append(f"{line}: {reason}")
        else:
            edits.append(_Edit(one.finding, source, cut, line))
    return _without_emptied_lists(edits, places, refused), refused


def _path(source: Source, finding: Finding) -> str:
    """The path in the document of what a finding takes out."""
    assert finding.removal is not None
    return ".".join(part for part in (source.inside, finding.removal.path) if part)


def _cut(
    loaded: LoadedPolicies, places: FindingPlaces, finding: Finding, together: Mapping[tuple[str, int], set[str]]
) -> tuple[Source, Cut]:
    source = loaded.sources.get(finding.origin)
    if source is None:
        raise CannotRewrite("its text is not known")
    if source.text.path is None:
        raise CannotRewrite("it is no file: git revisions and standard input are not rewritten")
    document = places.document(source.text, source.document.line)
    if document is None:
        raise CannotRewrite("its text is no UTF-8, or JSON that YAML does not read")
    others = together[source.text.name, source.document.number]
    return source, cut_for(document, _path(source, finding), whole_document=not source.inside, others=others)


def _without_emptied_lists(edits: list[_Edit], places: FindingPlaces, refused: list[str]) -> list[_Edit]:
    """Edits but those that together would take every item of a list: an empty list says something else."""

    def parent(edit: _Edit) -> tuple[str, str]:
        path = edit.finding.removal.path if edit.finding.removal else ""
        return edit.finding.origin, path.rpartition("[")[0]

    counts = Counter(parent(edit) for edit in edits)
    kept = []
    for edit in edits:
        origin, path = parent(edit)
        document = places.document(edit.source.text, edit.source.document.line)
        inside = ".".join(part for part in (edit.source.inside, path) if part)
        items = document.spot(inside).node.value if document is not None and path else ()
        if path and counts[origin, path] >= len(items):
            counts[origin, path] -= 1
            refused.append(f"{edit.line}: it would be the last item, and an empty list says something else here")
        else:
            kept.append(edit)
    return kept


def _rewritten(edits: list[_Edit]) -> bytes:
    text = edits[0].source.text.content.decode("utf-8")
    return apply(text, [edit.cut for edit in edits]).encode("utf-8")


def _is_empty(content: bytes) -> bool:
    lines = content.decode("utf-8").splitlines()
    return all(not line.strip() or line.startswith(("#", "---")) for line in lines)


def _mentioned(loaded: LoadedPolicies, name: str) -> bool:
    base = Path(name).name.encode()
    return any(text.name != name and base in text.content for text in loaded.texts)


# -- proof -----------------------------------------------------------------------------------------------------------


def _difference(loaded: LoadedPolicies, contents: Mapping[str, bytes], profile: CniProfile) -> str:
    """Why the rewritten texts may not replace the old ones; "" when they mean the same."""
    after = with_contents(loaded, contents)
    if [p.reason for p in after.left_out] != [p.reason for p in loaded.left_out]:
        return "the rewritten text could not be read back whole"
    for inventory in (loaded.inventory, imagined(loaded.network)):
        witness = _witness(loaded.network, after.network, inventory, profile)
        if witness:
            return f"it would change what is allowed: {witness}"
    return ""


def _witness(before: PolicySet, after: PolicySet, inventory: Inventory, profile: CniProfile) -> str:
    witness = same_reachability(
        Reachability.compile(before, inventory, profile), Reachability.compile(after, inventory, profile)
    )
    return str(witness) if witness is not None else ""


# -- files -----------------------------------------------------------------------------------------------------------


def _write(path: Path, content: bytes) -> None:
    """Replace a file's content at once, keeping its mode; a file of which nothing is left is removed."""
    real = Path(os.path.realpath(path))
    if _is_empty(content):
        real.unlink()
        return
    handle, partial = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(real.stat().st_mode & 0o7777)
        Path(partial).replace(real)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
