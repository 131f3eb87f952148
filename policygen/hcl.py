"""Terraform text as plain values: blocks and attributes, strings decoded, expressions told apart from strings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_CHARACTERS = 32 * 1024 * 1024
"""Longer texts are refused: reading takes about four seconds for a megabyte."""


class UnreadableHcl(ValueError):
    """Text that is no HCL, or too much of it. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Something that only Terraform can evaluate: a reference, a call, a template."""

    text: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One `resource` block. Values are str, int, float, bool, None, list, dict or Expression; a nested block is a list
    of dicts under its name."""

    kind: str
    label: str
    body: dict[str, object]


@dataclass(frozen=True)
class Module:
    """What one file declares. `others` counts blocks that are neither resources nor locals, by their kind."""

    resources: tuple[Resource, ...] = ()
    local_values: tuple[tuple[str, object], ...] = ()
    others: dict[str, int] = field(default_factory=dict)


def parse_module(text: str) -> Module:
    """The blocks of one file. Raises UnreadableHcl with line and column for text that is no HCL."""
    import hcl2  # the parser takes a while to load, and most commands read no Terraform
    from lark.exceptions import LarkError, UnexpectedInput

    if len(text) > MAX_CHARACTERS:
        raise UnreadableHcl(f"{len(text):,} characters are more than {MAX_CHARACTERS:,}; split the file")
    options = hcl2.SerializationOptions(with_comments=False)
    try:
        document = hcl2.loads(text if text.endswith("\n") else f"{text}\n", serialization_options=options)
    except UnexpectedInput as error:
        if getattr(getattr(error, "token", None), "type", "") == "$END":
            raise UnreadableHcl("the text ends in the middle of something") from None
        lines = text.split("\n")
        found = lines[error.line - 1].strip()[:60] if 0 < error.line <= len(lines) else ""
        raise UnreadableHcl(f"line {error.line}, column {error.column}: no Terraform at {found!r}") from None
    except RecursionError:
        raise UnreadableHcl("it is nested too deeply") from None
    except (LarkError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UnreadableHcl(f"the parser gives up: {type(error).__name__}: {str(error)[:200]}") from None
    return _module(document)


def _module(document: dict[str, object]) -> Module:
    resources: list[Resource] = []
    local_values: list[tuple[str, object]] = []
    others: dict[str, int] = {}
    for kind, blocks in document.items():
        for block in blocks if isinstance(blocks, list) else [blocks]:
            if kind == "resource" and isinstance(block, dict):
                resources += _resources(block)
            elif kind == "locals" and isinstance(block, dict):
                local_values += [(name, decode(v)) for name, v in block.items() if not name.startswith("__")]
            else:
                others[kind] = others.get(kind, 0) + 1
    return Module(tuple(resources), tuple(local_values), others)


def _resources(block: dict[str, object]) -> Iterator[Resource]:
    for kind, labelled in block.items():
        if isinstance(labelled, dict):
            for label, body in labelled.items():
                decoded = decode(body)
                if isinstance(decoded, dict):
                    yield Resource(kind.strip('"'), label.strip('"'), decoded)


def decode(value: object) -> object:
    """A value as the parser gives it, where strings still have their quotes and escapes."""
    if isinstance(value, dict):
        return {_key(key): decode(item) for key, item in value.items() if key != "__is_block__"}
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, str):
        return value
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _string(value[1:-1])
    if value.startswith("${") and value.endswith("}"):
        return Expression(value[2:-1].strip())
    return Expression(value)


def _key(key: str) -> str:
    decoded = _string(key[1:-1]) if len(key) >= 2 and key[0] == key[-1] == '"' else key
    return decoded if isinstance(decoded, str) else decoded.text


_ESCAPES = re.compile(r'\$\$\{|%%\{|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\([nrt"\\])|(\$\{|%\{)')
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def _string(raw: str) -> str | Expression:
    """The text that a quoted string means. One with an interpolation or a directive in it is an expression."""
    out: list[str] = []
    position = 0
    for match in _ESCAPES.finditer(raw):
        out.append(raw[position : match.start()])
        position = match.end()
        short, long, simple, template = match.groups()
        if template:
            whole = re.fullmatch(r"\$\{([^{}]*)\}", raw)
            return Expression(whole[1].strip() if whole else f'"{raw}"')
        if simple:
            out.append(_SIMPLE[simple])
        elif short or long:
            code = int(short or long, 16)
            out.append(chr(code) if code <= 0x10FFFF else "\ufffd")
        else:
            out.append(match[0][1:])
    return "".join([*out, raw[position:]])
