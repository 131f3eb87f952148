"""What a YAML scalar means: the resolution of go-yaml v2 followed by conversion to JSON, as Kubernetes does it."""

from __future__ import annotations

import base64
import binascii
import math
import re


class Mark:
    """A value that no document can hold, told apart by identity."""

    def __init__(self, name: str) -> None:
        self.name = name


MERGE = Mark("<<")
"""What an unquoted `<<` resolves to; it means something only as a mapping key."""


class NoSuchScalar(ValueError):
    """A scalar whose tag is unknown or does not fit its text."""


_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    "<<": MERGE,
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_TAG = "tag:yaml.org,2002:"


def resolve(text: str, tag: str | None, *, plain: bool) -> object:
    """The value of a scalar: str, int, float, bool, None or MERGE. `plain`: it stood there without quotes.

    Raises NoSuchScalar.
    """
    if tag is not None:
        return _tagged(text, tag)
    return _plain(text) if plain else text


def _plain(text: str) -> object:
    """An untagged, unquoted scalar as go-yaml v2 resolves it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    digits = text.replace("_", "")
    if len(digits) > 400:
        return text  # no number that fits; int() of thousands of digits is slow
    if match := _INTEGER.match(digits):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        number = next(int(d, b) for d, b in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if d)
        number = -number if sign == "-" else number
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.match(digits):
        real = float(digits)
        return real if math.isfinite(real) else text
    return text  # .inf and .nan too: JSON has no word for them


def _tagged(text: str, tag: str) -> object:
    name = tag.removeprefix(_TAG)
    if tag == "!" or name in ("str", "timestamp"):
        return text
    if name == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
        except binascii.Error:
            raise NoSuchScalar("!!binary holds no base64") from None
    value = _plain(text)
    fits: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "null": (type(None),),
        "merge": (Mark,),
    }
    if name not in fits:
        raise NoSuchScalar(f"tag {tag!r} is not supported")
    if type(value) not in fits[name]:  # not isinstance: bool is an int
        raise NoSuchScalar(f"{text!r} is no {name}")
    return float(value) if name == "float" and isinstance(value, int) else value
