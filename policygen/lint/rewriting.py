"""Taking out what changes nothing: text in, text out, every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import yaml

from policygen.lint.source_places import DocumentText, Spot

_BLANK = re.compile(r"[ \t]*")


class CannotRewrite(ValueError):
    """Why a place is left as it is."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Offsets of text to take out, the end not included."""

    begin: int
    end: int


def cut_for(document: DocumentText, path: str, whole_document: bool, others: Collection[str] = ()) -> Cut:
    """What to take out so that the thing at `path` is gone. `whole_document`: the object is all there is in its
    document, and the document goes. `others`: paths that go at the same time. Raises CannotRewrite."""
    if not path and whole_document:
        return Cut(document.begin, document.end)
    spot = document.spot(path)
    if path and spot.found != path:
        raise CannotRewrite(f"{path} is not written in this text")
    if spot.shared or _has_anchor(document, spot):
        raise CannotRewrite("an anchor or alias reaches this place, so it stands for others, too")
    parent = spot.parent
    if not isinstance(parent, yaml.SequenceNode):
        raise CannotRewrite("only items of lists and whole documents are taken out")
    if len(parent.value) == 1:
        raise CannotRewrite("it is the only item, and an empty list says something else here")
    if not parent.flow_style:
        return _block_item(document, parent, spot)
    stem = path.rpartition("[")[0]
    gone = {index for index in range(len(parent.value)) if f"{stem}[{index}]" in others}
    return _flow_item(document, parent, spot, gone)


def apply(text: str, cuts: Sequence[Cut]) -> str:
    """The text without the cuts. Raises CannotRewrite for cuts that lie across one another; one in another is fine."""
    outer: list[Cut] = []
    for cut in sorted(cuts, key=lambda c: (c.begin, -c.end)):
        if not outer or cut.begin >= outer[-1].end:
            outer.append(cut)
        elif cut.end > outer[-1].end:
            raise CannotRewrite("two rewrites lie across each other")
    done = text
    for cut in reversed(outer):
        done = done[: cut.begin] + done[cut.end :]
    return done


def _has_anchor(document: DocumentText, spot: Spot) -> bool:
    place = document.place(spot.node)
    inside = document.text[place.begin : place.end]
    return re.search(r"(^|[\s\[{,:-])[&*][A-Za-z0-9_-]+", inside) is not None or "<<:" in inside


def _block_item(document: DocumentText, parent: yaml.SequenceNode, spot: Spot) -> Cut:
    """Whole lines, from the item's dash to the next item's, with the comments right above it."""
    text = document.text
    begin = _dash_line(text, document.place(spot.node).begin)
    if spot.index + 1 < len(parent.value):
        end = _dash_line(text, document.place(parent.value[spot.index + 1]).begin)
        end = _above_comments(text, end, _line_start(text, begin))
    else:
        end = _end_of_block(text, document.place(spot.node).end, begin)
    start = _above_comments(text, begin, 0)
    previous = document.place(parent.value[spot.index - 1]).begin if spot.index else document.place(parent).begin
    if _line_start(text, previous) >= start and spot.index:
        raise CannotRewrite("it shares a line with another item")
    return Cut(start, end)


def _dash_line(text: str, begin: int) -> int:
    """The start of the line with the dash of the item whose content begins at `begin`."""
    dash = text.rfind("-", 0, begin)
    start = _line_start(text, dash)
    if dash < 0 or text[start:dash].strip(" \t") or text[dash + 1 : begin].strip():
        raise CannotRewrite("its dash does not begin a line")
    return start


def _above_comments(text: str, line_start: int, floor: int) -> int:
    """The start of the comment lines that stand right above a line at its own indentation."""
    indent = _BLANK.match(text, line_start).end() - line_start  # type: ignore[union-attr]  # always matches
    start = line_start
    while start > floor:
        above = _line_start(text, start - 1)
        line = text[above : start - 1]
        if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) != indent:
            break
        start = above
    return start


def _end_of_block(text: str, end: int, begin: int) -> int:
    """The end of the last line of the last item: the parser puts its end after blank and comment lines."""
    block = text[begin:end]
    lines = block.splitlines(keepends=True)
    indent = len(lines[0]) - len(lines[0].lstrip(" "))
    while len(lines) > 1:
        bare = lines[-1].strip()
        if bare and not (bare.startswith("#") and len(lines[-1]) - len(lines[-1].lstrip(" ")) <= indent):
            break
        lines.pop()
    last = begin + sum(map(len, lines))
    # a scalar ends before its line does: a comment behind it goes along
    newline = text.find("\n", last)
    if last and text[last - 1] == "\n":
        return last
    return len(text) if newline < 0 else newline + 1


def _flow_item(document: DocumentText, parent: yaml.SequenceNode, spot: Spot, gone: Collection[int]) -> Cut:
    """The item with the comma before it; those at the head of the list that go, with the comma behind them."""
    place = document.place(spot.node)
    if all(index in gone for index in range(spot.index)) and spot.index + 1 < len(parent.value):
        following = document.place(parent.value[spot.index + 1])
        if "#" in document.text[place.end : following.begin]:
            raise CannotRewrite("a comment stands between it and the next item")
        return Cut(place.begin, following.begin)
    return Cut(document.place(parent.value[spot.index - 1]).end, place.end)


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, max(offset, 0)) + 1
