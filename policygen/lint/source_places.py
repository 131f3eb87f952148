"""Where in a text an object path stands: `spec.ingress[0].from[1]` to lines and columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a text, as offsets into it; `line` and `column` count from 1."""

    begin: int
    end: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Spot:
    """A node with what surrounds it; `found` is what there is of the path that was asked for."""

    node: yaml.Node
    parent: yaml.Node | None
    index: int  # in the parent
    found: str
    shared: bool  # reached by an alias, or below an anchor: it stands for other places, too


class DocumentText:
    """One document of a text, with the place of every node."""

    def __init__(self, text: str, line: int) -> None:
        """`line`: where the document begins, from 1, as the reader of documents gives it. Raises ValueError when there
        is no such document."""
        self.text = text
        self.offset, self._lines_before, self._part = _part_at(text, line)
        node = None
        for number, found in enumerate(_composed(self._part)):
            if number == 0 or found.start_mark.line + self._lines_before + 1 <= line:
                node = found
        if node is None:
            raise ValueError(f"no document at line {line}")
        self.root: yaml.Node = node
        self.begin, self.end = self.offset, self.offset + len(self._part)
        self._starts = _line_starts(self._part)

    def spot(self, path: str) -> Spot:
        """The node at `path`, or the deepest one on the way to it."""
        spot = Spot(self.root, None, 0, "", self._is_anchored(self.root))
        for step in steps(path):
            inner = _inside(spot, step)
            if inner is None:
                return spot
            spot = replace(inner, shared=inner.shared or self._is_anchored(inner.node))
        return spot

    def _is_anchored(self, node: yaml.Node) -> bool:
        return self._part[self._starts[node.start_mark.line] + node.start_mark.column :].startswith("&")

    def place(self, node: yaml.Node) -> Place:
        """Where a node stands in the whole text."""
        start = node.start_mark
        begin = self.offset + self._starts[start.line] + start.column
        end_mark = node.end_mark
        end = self.offset + self._starts[min(end_mark.line, len(self._starts) - 1)] + end_mark.column
        return Place(begin, end, start.line + 1 + self._lines_before, start.column + 1)


def steps(path: str) -> Iterator[str | int]:
    """`a.b[0]` as "a", "b", 0. Whatever stands before the last `: ` is no part of it."""
    for name, index in _STEP.findall(path):
        yield int(index) if index else name


def _inside(spot: Spot, step: str | int) -> Spot | None:
    node = spot.node

    if isinstance(step, int) and isinstance(node, yaml.SequenceNode) and step < len(node.value):
        # an alias stands for a node that begins before what stands before the alias
        begun = max((one.end_mark.index for one in node.value[:step]), default=node.start_mark.index)
        return _entered(spot, node.value[step], step, f"{spot.found}[{step}]", begun)
    if isinstance(step, str) and isinstance(node, yaml.MappingNode):
        for index, (key, value) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                found = f"{spot.found}.{step}".lstrip(".")
                return _entered(spot, value, index, found, key.end_mark.index)
    return None


def _entered(spot: Spot, value: yaml.Node, index: int, found: str, begun: int) -> Spot:
    return Spot(value, spot.node, index, found, spot.shared or value.start_mark.index < begun)


def _composed(part: str) -> Iterator[yaml.Node]:
    try:
        yield from yaml.compose_all(part, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _part_at(text: str, line: int) -> tuple[int, int, str]:
    """(offset, lines before, text) of the part between separators that holds a line."""
    begins = [0, *(match.start() for match in _SEPARATOR.finditer(text) if match.start())]
    before = 0
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        part = text[begin:end]
        lines = part.count("\n")
        if line <= before + max(lines, 1) or end == len(text):
            return begin, before, part
        before += lines
    raise ValueError(f"no line {line}")


def _line_starts(text: str) -> list[int]:
    # the parser ends lines where YAML 1.1 does
    return [0, *(match.end() for match in re.finditer("\r\n|[\r\n\x85\u2028\u2029]", text))]
