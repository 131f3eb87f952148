"""What is taken out is gone, and every other byte stays."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policygen.lint.rewriting import CannotRewrite, Cut, apply, cut_for
from policygen.lint.source_places import DocumentText

BLOCK = """\
# head
a:
  # about one
  - name: one   # behind one
    deep:
    - x
    - y
  # about two
  - name: two
    text: |
      - no item
      # no comment

  - {name: three, deep: [1, 2, 3]}
  # about the end
b: 1
c: [ä, '→ß', 🐙]
"""


def without(text: str, *paths: str, line: int = 1) -> str:
    document = DocumentText(text, line)
    return apply(text, [cut_for(document, path, whole_document=True, others=paths) for path in paths])


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("a[0]", "  # about one\n  - name: one   # behind one\n    deep:\n    - x\n    - y\n"),
        ("a[1]", "  # about two\n  - name: two\n    text: |\n      - no item\n      # no comment\n\n"),
        ("a[2]", "  - {name: three, deep: [1, 2, 3]}\n"),
        ("a[0].deep[0]", "    - x\n"),
        ("a[0].deep[1]", "    - y\n"),
        ("a[2].deep[0]", "1, "),
        ("a[2].deep[1]", ", 2"),
        ("a[2].deep[2]", ", 3"),
        ("c[0]", "ä, "),
        ("c[1]", ", '→ß'"),
    ],
)
def test_one_item_with_the_comments_that_are_its_own(path: str, gone: str) -> None:
    assert without(BLOCK, path) == BLOCK.replace(gone, "", 1)


def test_several_at_once() -> None:
    left = yaml.safe_load(without(BLOCK, "a[0].deep[1]", "a[1]", "a[2].deep[0]", "a[2].deep[1]"))
    assert left == {
        "a": [{"name": "one", "deep": ["x"]}, {"name": "three", "deep": [3]}],
        "b": 1,
        "c": ["ä", "→ß", "🐙"],
    }


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("a: [1]", "a[0]", "only item"),
        ("a: &x [1, 2]\nb: *x", "b[0]", "anchor or alias"),
        ("a: &x [1, 2]\nb: *x", "a[0]", "anchor or alias"),
        ("a: &x\n  c: [1, 2]\nb: *x", "a.c[0]", "anchor or alias"),
        ("a: [&x [1, 2], 3]\nb: [3, *x]", "b[1][0]", "anchor or alias"),
        ("a: [&x 1, 2]\nb: *x", "a[0]", "anchor or alias"),
        ("a: {b: 1}", "a.b", "only items of lists"),
        ("a: [1, 2]", "a[5]", "not written"),
        ("x: &m {a: [1, 2]}\ny: {<<: *m}", "y.a[0]", "not written"),
        ("- - 1\n  - 2", "[0][0]", "dash does not begin a line"),
        ("a: [1, # why\n  2]", "a[0]", "comment stands between"),
    ],
)
def test_what_cannot_be_taken_out_is_refused(text: str, path: str, said: str) -> None:
    with pytest.raises(CannotRewrite, match=said):
        without(text, path)


def test_a_document_among_others() -> None:
    text = "a: 1\n---\n# second\nb: 2\n---\nc: 3\n"
    document = DocumentText(text, 2)
    assert apply(text, [cut_for(document, "", whole_document=True)]) == "a: 1\n---\nc: 3\n"
    assert DocumentText(text, 5).spot("c").node.value == "3"


def test_cuts_that_cross_are_refused() -> None:
    with pytest.raises(CannotRewrite, match="across"):
        apply("abcdef", [Cut(0, 3), Cut(2, 5)])
    assert apply("abcdef", [Cut(1, 5), Cut(2, 3)]) == "af"


scalars = st.sampled_from(["a", "b-c", "'- q'", '"# no"', "5", "null"])


@st.composite
def written_list(draw: st.DrawFn) -> tuple[str, int]:
    """A list of mappings in block or flow style, with comments anywhere, and its length."""
    count = draw(st.integers(2, 6))
    if draw(st.booleans()):
        items = [draw(scalars) if draw(st.booleans()) else f"{{k: {draw(scalars)}}}" for _ in range(count)]
        return "key: [" + draw(st.sampled_from([", ", ",", ",\n  "])).join(items) + "] # behind\nlast: 1\n", count
    indent = draw(st.sampled_from(["", "  ", "    "]))
    lines = ["key:"]
    for number in range(count):
        if draw(st.booleans()):
            lines.append(f"{draw(st.sampled_from(['', indent]))}# comment {number}")
        if draw(st.booleans()):
            lines.append("")
        lines.append(f"{indent}- k{number}: {draw(scalars)}" + draw(st.sampled_from(["", "  # behind"])))
        if draw(st.booleans()):
            lines.append(f"{indent}  more: [{draw(scalars)}]")
    return "\n".join([*lines, draw(st.sampled_from(["last: 1", "# end\nlast: 1", ""]))]) + "\n", count


@given(written_list(), st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_left_is_what_was_there(written: tuple[str, int], data: st.DataObject) -> None:
    text, count = written
    before: Any = yaml.safe_load(text)
    gone = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    after = without(text, *(f"key[{index}]" for index in gone))
    expected = {**before, "key": [item for index, item in enumerate(before["key"]) if index not in gone]}
    assert yaml.safe_load(after) == expected
    for line in after.splitlines():
        assert line in text.splitlines() or not written[0].startswith("key:\n")
