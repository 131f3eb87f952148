"""YAML and JSON from strangers, read as the Kubernetes API server reads it and within bounds.

Scalars follow sigs.k8s.io/yaml (YAML 1.1 as go-yaml v2 resolves it, then JSON): `yes`, `on`, `y` are true, timestamps
and `8080:80` stay strings, keys become strings. Unlike PyYAML's loaders this one counts what aliases stand for and how
deep things nest while the events come in, so that a small text cannot become a large value.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from analyzers.inventory.yaml_scalars import MERGE, Mark, NoSuchScalar, resolve

MAX_BYTES = 256 * 1024 * 1024
"""Longest text that is read; a larger inventory is better given as several files."""
MAX_DEPTH = 256
"""Deepest nesting of a YAML document. Schemas of custom resources reach about 60."""
MAX_ALIASED = 200_000
"""Nodes that all aliases of one text may stand for. Shared values cost little; walking through them does."""
MAX_JSON_LOOKALIKE = 1024 * 1024
"""A text in braces that is no JSON is tried as YAML (`{a: b}`) up to this many characters: that is written by hand."""

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class UnsafeYaml(ValueError):
    """A text that cannot be read, or must not be: broken, too large, too deep, or with a key twice.

    The message says where (file, line, column) and what.
    """


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text."""

    number: int  # from 1; documents without content are not counted
    line: int  # from 1, where it begins
    value: Any  # dict, list, str, int, float, bool or None


def load_documents(text: str | bytes, where: str) -> list[object]:
    """All documents of a YAML stream, or of one or several JSON values in a row; those without content are left out.

    Values reached by an alias are shared: treat the result as read-only. Mapping keys are strings.
    `where` names the text in messages. Raises UnsafeYaml for the first thing wrong in any of them.
    """
    decoded = _decode(text, where)
    if _JSON_START.match(decoded):
        return _load_json(decoded, where)
    return [value for _, value in _load_yaml(decoded, where, _Budget(), 0) if value is not None]


def recover_documents(text: str | bytes, where: str) -> tuple[tuple[Document, ...], tuple[UnsafeYaml, ...]]:
    """Like load_documents, but one broken document doesn't take the others with it. Never raises UnsafeYaml."""
    try:
        decoded = _decode(text, where)
    except UnsafeYaml as error:
        return (), (error,)
    if _JSON_START.match(decoded):
        try:
            return tuple(Document(i, 1, v) for i, v in enumerate(_load_json(decoded, where), 1)), ()
        except UnsafeYaml as error:
            if not _SEPARATOR.search(decoded):  # a stream may begin with a document in braces and go on after `---`
                return (), (error,)
    budget = _Budget()
    documents: list[Document] = []
    errors: list[UnsafeYaml] = []
    for first_line, part in _split(decoded):
        try:
            for line, value in _load_yaml(part, where, budget, first_line):
                if value is not None:
                    documents.append(Document(len(documents) + len(errors) + 1, line, value))
        except UnsafeYaml as error:
            errors.append(error)
    return tuple(documents), tuple(errors)


# -- text ------------------------------------------------------------------------------------------------------------

_JSON_START = re.compile(r"[ \t\r\n]*[\[{]")
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVES_ONLY = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n|%[^\n]*\n)*\Z")


def _decode(text: str | bytes, where: str) -> str:
    if len(text) > MAX_BYTES:
        raise UnsafeYaml(f"{where}: {len(text)} bytes are more than {MAX_BYTES}; split it into several files")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    encoding = "utf-16" if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnsafeYaml(f"{where}: offset {error.start}: not {encoding[:6].rstrip('-')} text") from None


def _split(text: str) -> Iterator[tuple[int, str]]:
    """The parts of a stream between `---` lines, with the number of lines before each.

    At the start of a line `---` ends a document wherever it stands, in quoted and block scalars too (YAML 1.1, 9.1.2).
    """
    begin = 0
    lines = 0
    for match in _SEPARATOR.finditer(text):
        part = text[begin : match.start()]
        if _DIRECTIVES_ONLY.match(part):
            continue  # %YAML and %TAG lines belong to the document after the separator; blank ones do no harm
        yield lines, part
        lines += part.count("\n")
        begin = match.start()
    yield lines, text[begin:]


# -- JSON ------------------------------------------------------------------------------------------------------------


def _load_json(text: str, where: str) -> list[object]:
    try:
        return list(_json_values(text))
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        duplicate = isinstance(error, UnsafeYaml)
    if not duplicate and len(text) <= MAX_JSON_LOOKALIKE:
        try:
            return [value for _, value in _load_yaml(text, where, _Budget(), 0) if value is not None]
        except UnsafeYaml as error:
            raise UnsafeYaml(f"{error} (and as JSON: {problem})") from None
    raise UnsafeYaml(f"{where}: {problem}")


def _json_values(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique_pairs, parse_constant=_no_constant)
    position = 0
    blank = re.compile(r"[ \t\r\n]*")
    while (position := blank.match(text, position).end()) < len(text):  # type: ignore[union-attr]  # always matches
        value, position = decoder.raw_decode(text, position)
        yield value


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UnsafeYaml(f"key {twice!r} is set twice in one object")
    return mapping


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON value")


# -- YAML ------------------------------------------------------------------------------------------------------------


class _Budget:
    """What is left for aliases to stand for, over all documents of one text."""

    def __init__(self) -> None:
        self.aliased = MAX_ALIASED


class _Frame:
    """A collection that is being filled."""

    __slots__ = ("anchor", "count", "key", "merges", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, count: int) -> None:
        self.value = value
        self.anchor = anchor
        self.count = count  # nodes before this one, to know how many it holds
        self.key: object = _NO_KEY
        self.merges: list[dict[str, Any]] = []


_NO_KEY = Mark("no key yet")
_OPEN = Mark("an anchor whose node is not complete")


def _load_yaml(text: str, where: str, budget: _Budget, lines_before: int) -> Iterator[tuple[int, object]]:
    """(line, value) of each document. Raises UnsafeYaml."""

    def fail(mark: Any, reason: str) -> UnsafeYaml:
        place = f"line {mark.line + 1 + lines_before}, column {mark.column + 1}: " if mark is not None else ""
        return UnsafeYaml(f"{where}: {place}{reason}")

    builder = _Builder(budget)
    line = 1
    mark: Any = None
    try:
        for event in yaml.parse(text, Loader=_Loader):
            mark = event.start_mark
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder(budget)
                line = mark.line + 1 + lines_before
            elif isinstance(event, yaml.DocumentEndEvent):
                yield line, builder.result
            elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                builder.take(event)
    except (_Refused, NoSuchScalar) as refused:
        raise fail(mark, str(refused)) from None
    except yaml.MarkedYAMLError as error:
        reason = " ".join(filter(None, (error.problem, error.context)))
        mark = error.problem_mark
        begun: Any = error.context_mark
        if begun is not None and mark is not None and begun.line != mark.line:
            reason += f" (line {begun.line + 1 + lines_before})"
        raise fail(mark, reason) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: lone surrogates cannot be encoded for the parser
        raise UnsafeYaml(f"{where}: {' '.join(str(error).split())}") from None


class _Refused(Exception):
    """Why the event at hand cannot become part of a value."""


class _Builder:
    """One document, from its events; a loop with a stack of its own, so nesting costs no Python frames."""

    def __init__(self, budget: _Budget) -> None:
        self.result: object = None
        self._budget = budget
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int]] = {}  # name -> value and how many nodes it stands for
        self._keys: dict[str, str] = {}  # one object for each distinct key: manifests repeat them
        self._count = 0

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._count += 1
            value = resolve(event.value, event.tag, plain=event.implicit[0])
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            self._place(value)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, {} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.AliasEvent:
            self._alias(event.anchor)
        else:
            self._close()

    def _open(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        expected = "tag:yaml.org,2002:map" if isinstance(value, dict) else "tag:yaml.org,2002:seq"
        if event.tag is not None and event.tag not in (expected, "!"):
            raise _Refused(f"tag {event.tag!r} is not supported")
        if len(self._frames) >= MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH}")
        if event.anchor is not None:
            self._anchors[event.anchor] = (_OPEN, 0)
        self._frames.append(_Frame(value, event.anchor, self._count))
        self._count += 1

    def _close(self) -> None:
        frame = self._frames.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)  # type: ignore[union-attr]  # only mappings have merges
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, self._count - frame.count)
        self._place(frame.value)

    def _alias(self, name: str) -> None:
        if name not in self._anchors:
            raise _Refused(f"alias *{name} has no anchor")
        value, nodes = self._anchors[name]
        if value is _OPEN:
            raise _Refused(f"alias *{name} stands inside its own anchor")
        self._budget.aliased -= nodes
        if self._budget.aliased < 0:
            raise _Refused(f"aliases stand for more than {MAX_ALIASED} nodes")
        self._count += nodes
        self._place(value)

    def _place(self, value: object) -> None:
        if not self._frames:
            self.result = None if value is MERGE else value
            return
        frame = self._frames[-1]
        container = frame.value
        if isinstance(container, list):
            container.append("<<" if value is MERGE else value)
        elif frame.key is _NO_KEY:
            frame.key = value if value is MERGE else self._key(value, container)
        elif frame.key is MERGE:
            frame.merges.extend(_mappings(value))
            frame.key = _NO_KEY
        else:
            container[frame.key] = "<<" if value is MERGE else value  # type: ignore[index]  # _key makes strings
            frame.key = _NO_KEY

    def _key(self, value: object, container: dict[str, Any]) -> str:
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = str(value)
        elif not isinstance(value, str):
            raise _Refused("a mapping key must be a string, a number or a boolean")
        key = self._keys.setdefault(value, value)
        if key in container:
            raise _Refused(f"key {key!r} is set twice in one mapping")
        return key


def _mappings(value: object) -> list[dict[str, Any]]:
    several = value if isinstance(value, list) else [value]
    mappings = [one for one in several if isinstance(one, dict)]
    if len(mappings) < len(several):
        raise _Refused("<< needs a mapping or a list of mappings")
    return mappings
