"""`flowctl lint` as values: the case of what was loaded, and where in the files each finding stands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flowctl.policy_sources import LoadedPolicies, SourceText
from policygen.lint.case import Case
from policygen.lint.model import Finding, LintReport
from policygen.lint.run import lint
from policygen.lint.source_places import DocumentText
from policygen.verify.profiles import PROFILES


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a finding stands. `line` 0: the text does not tell, or has no lines of its own (Terraform)."""

    file: str
    document: int = 0
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def case_of(loaded: LoadedPolicies, cni: str) -> Case:
    """What checks look at."""
    return Case(
        policies=loaded.network,
        groups=loaded.groups,
        inventory=loaded.inventory,
        profile=PROFILES[cni],
        objects={origin: source.object for origin, source in loaded.sources.items()},
    )


def run_checks(loaded: LoadedPolicies, cni: str, only: Collection[str] = ()) -> LintReport:
    """All checks, or those of `only`."""
    return lint(case_of(loaded, cni), only)


class FindingPlaces:
    """Looks up the lines of findings and rules; every document is opened once."""

    def __init__(self, loaded: LoadedPolicies) -> None:
        self._sources = loaded.sources
        self._documents: dict[tuple[str, int], DocumentText | None] = {}

    def of(self, finding: Finding) -> FilePlace:
        """The place of a finding."""
        return self.at(finding.origin, finding.path)

    def at(self, origin: str, inner: str) -> FilePlace:
        """The place of an object path of the policy with this `origin`."""
        source = self._sources.get(origin)
        if source is None:
            return FilePlace(origin)
        document = self.document(source.text, source.document.line)
        if document is None:
            return FilePlace(source.text.name, source.document.number, source.document.line, 1)
        path = ".".join(part for part in (source.inside, inner) if part)
        place = document.place(document.spot(path).node)
        return FilePlace(source.text.name, source.document.number, place.line, place.column)

    def document(self, text: SourceText, line: int) -> DocumentText | None:
        """The document of a text that begins at a line; None when its text cannot be opened for editing."""
        key = (text.name, line)
        if key not in self._documents:
            try:
                self._documents[key] = DocumentText(text.content.decode("utf-8"), line)
            except ValueError:  # no UTF-8, or JSON that is no YAML
                self._documents[key] = None
        return self._documents[key]
