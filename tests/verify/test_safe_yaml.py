"""Reading YAML and JSON as the API server does, and within bounds."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.inventory import safe_yaml
from analyzers.inventory.safe_yaml import UnsafeYaml, load_documents, recover_documents


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        *((word, True) for word in ("true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", "Y")),
        *((word, False) for word in ("false", "no", "NO", "off", "n", "N")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, word) for word in ("nO", "yEs", "nullx", "8080:80", "1:2:3", "2020-01-01", "2020-01-01T00:00:00Z")),
        *((word, word) for word in ("10.0.0.1", "10.0.0.0/8", ".inf", ".nan", "0x", "-x", "1e400", "=", "9" * 401)),
        *(("'no'", "no"), ('"5"', "5"), ("!!str 5", "5"), ("! 5", "5"), ("!!int 5", 5), ("!!float 5", 5.0)),
        *(("5", 5), ("-5", -5), ("+5", 5), ("0x1F", 31), ("017", 15), ("0o17", 15), ("-0b11", -3), ("1_000", 1000)),
        *(
            ("1.5", 1.5),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("08", 8.0),
            (str(2**64 - 1), 2**64 - 1),
            (str(2**70), float(2**70)),
        ),
        *(("!!binary aGk=", "hi"), ("!!timestamp 2020-01-01", "2020-01-01")),
    ],
)
def test_scalars_are_what_kubernetes_takes_them_for(scalar: str, value: object) -> None:
    (document,) = load_documents(f"key: {scalar}\n", "test")
    assert isinstance(document, dict)
    assert document == {"key": value}
    assert type(document["key"]) is type(value)


def test_keys_are_strings() -> None:
    assert load_documents("5: a\nyes: b\n1.5: c\n'6': d", "test") == [{"5": "a", "true": "b", "1.5": "c", "6": "d"}]


def test_aliases_and_merge_keys() -> None:
    text = "a: &a {x: 1, w: 2}\nb: {<<: *a, w: 3}\nc: {w: 4, <<: [*a, {z: 5}]}\nd: *a"
    assert load_documents(text, "test") == [
        {"a": {"x": 1, "w": 2}, "b": {"x": 1, "w": 3}, "c": {"x": 1, "w": 4, "z": 5}, "d": {"x": 1, "w": 2}}
    ]


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: key 'a' is set twice"),
        ('{"a": {"b": 1, "b": 2}}', "key 'b' is set twice"),
        ("yes: 1\n'true': 2", "key 'true' is set twice"),
        (laughs(12), "aliases stand for more than"),
        ("a: &a [*a]", "stands inside its own anchor"),
        ("a: &a {b: {c: *a}}", "stands inside its own anchor"),
        ("a: *b", "has no anchor"),
        ("[" * 100_000, "nest"),  # our limit, or the parser's own, whichever its version asks first
        ("{" * 100_000, "nest"),
        ("- " * 1000, "nested deeper than"),
        ('{"a":' * 100_000, "nested deeper than"),
        ("a: 1\nb: [1, 2", "line 3, column 1: did not find expected ',' or ']' while parsing a flow sequence (line 2)"),
        ("a: !!python/object/apply:os.system [ls]", "is not supported"),
        ("a: !!python/name:os.system x", "is not supported"),
        ("a: !Ref b", "is not supported"),
        ("a: !!int x", "is no int"),
        ("a: !!int true", "is no int"),
        ("a: !!binary '?'", "holds no base64"),
        ("[a]: b", "a mapping key must be"),
        ("~: b", "a mapping key must be"),
        ("<<: 5", "<< needs a mapping"),
        ("a: \x00", "control characters"),
        ("a: \ud800", "surrogates"),
        (b"a: \xff", "offset 3: not utf-8"),
        ('{"a": 1', "as JSON"),
    ],
)
def test_what_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(UnsafeYaml) as refused:
        load_documents(text, "dir/some.yaml")
    assert str(refused.value).startswith("dir/some.yaml: ")
    assert reason in str(refused.value)
    documents, errors = recover_documents(text, "f")
    assert not documents
    assert len(errors) == 1


def test_a_bomb_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeYaml):
            load_documents(laughs(30), "test")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_aliases_are_counted_over_all_documents() -> None:
    document = "a: &a [" + "x, " * 100 + "]\nb: [" + "*a, " * 1000 + "]\n"
    assert len(load_documents(document, "test")) == 1
    with pytest.raises(UnsafeYaml, match="aliases stand for"):
        load_documents("---\n".join([document] * 3), "test")
    documents, errors = recover_documents("---\n".join([document] * 3) + "---\nlast: 1\n", "test")
    assert [d.number for d in documents] == [1, 4]
    assert len(errors) == 2


def test_a_long_text_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_yaml, "MAX_BYTES", 10)
    with pytest.raises(UnsafeYaml, match="11 bytes are more than 10"):
        load_documents("a" * 11, "test")


def test_streams() -> None:
    assert load_documents("", "test") == []
    assert load_documents("# nothing\n---\n---\n...\n", "test") == []
    assert load_documents("%YAML 1.1\n---\na: 1\n--- b\n", "test") == [{"a": 1}, "b"]
    assert load_documents(b"\xef\xbb\xbfa: 1", "test") == [{"a": 1}]
    assert load_documents("a: ä".encode("utf-16"), "test") == [{"a": "ä"}]
    assert load_documents('{"a": 1}\n{"a": 2}\n', "test") == [{"a": 1}, {"a": 2}]
    assert load_documents("{a: 1}\n---\n[b]\n", "test") == [{"a": 1}, ["b"]]


def test_one_broken_document_leaves_the_others() -> None:
    text = '%YAML 1.1\n---\na: 1\n---\nb: [\n--- \nc: |\n  ---\n  x\n---\n# empty\n---\nd: "\n---\n{e: 1}\n'
    documents, errors = recover_documents(text, "f")
    assert [(d.line, d.value) for d in documents] == [(1, {"a": 1}), (6, {"c": "---\nx\n"}), (14, {"e": 1})]
    assert [d.number for d in documents] == [1, 3, 5]
    assert [str(e).split(":")[1] for e in errors] == [" line 6, column 1", " line 14, column 1"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_json_and_quoted_yaml_come_back_as_they_were(value: object) -> None:
    assert load_documents(json.dumps({"a": value}), "test") == [{"a": value}]
    if "\ud800" not in repr(value):
        assert load_documents(yaml.safe_dump({"a": value}, default_style='"', allow_unicode=True), "t") == [
            {"a": value}
        ]


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#,?<% \n\t0", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    documents, errors = recover_documents(text, "test")
    try:
        whole = load_documents(text, "test")
    except UnsafeYaml:
        assert errors
    else:
        assert not errors
        assert [document.value for document in documents] == whole
