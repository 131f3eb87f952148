"""Objects of unknown quality, read field by field: a wrong type becomes a note, never an exception.

Texts are cleaned here, once: control, direction-changing and surrogate characters become U+FFFD, so that no name can
move a terminal's cursor or fail to be encoded later.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from analyzers.flows import address_halves
from analyzers.inventory.model import InventoryNote

Address = tuple[int, int]
Labels = tuple[tuple[str, str], ...]

SAMPLES = 5
"""Notes of one reason and file that are kept one by one; the rest are counted in one more note."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Notes:
    """Notes of one file, folded: at most SAMPLES of each reason, then a count. Not shared between threads."""

    def __init__(self, file: str) -> None:
        self.file = clean(file)
        self._places: dict[str, set[tuple[str, str]]] = {}
        self._kept: list[InventoryNote] = []

    def add(self, where: str, reason: str, detail: str = "") -> None:
        """Note `reason` at the object path `where`; said twice of the same place it counts once."""
        self._places.setdefault(reason, set()).add((clean(where), clean(detail)[:300]))

    def keep(self, note: InventoryNote) -> None:
        """Keep a note as it is."""
        self._kept.append(note)

    def result(self) -> list[InventoryNote]:
        """All notes, sorted."""
        notes = list(self._kept)
        for reason, places in self._places.items():
            for where, detail in sorted(places)[:SAMPLES]:
                notes.append(InventoryNote(f"{self.file}: {where}" if where else self.file, reason, detail))
            if len(places) > SAMPLES:
                notes.append(InventoryNote(self.file, reason, f"and {len(places) - SAMPLES} more"))
        return sorted(notes)


class Fields:
    """One mapping with the place it stands at. Keys that are missing or null read as empty values."""

    __slots__ = ("notes", "value", "where")

    def __init__(self, value: Mapping[str, object], where: str, notes: Notes) -> None:
        self.value = value
        self.where = where
        self.notes = notes

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.value.get(key) is not None

    def wrong(self, key: str, reason: str, detail: object = "") -> None:
        """Note something wrong with the value at `key`."""
        self.notes.add(f"{self.where}.{key}" if self.where else key, reason, str(detail))

    def text(self, key: str) -> str:
        """A string, cleaned; "" when missing."""
        value = self.value.get(key)
        if value is None:
            return ""
        if isinstance(value, str):
            return self._cleaned(key, value)
        self._expected(key, "text", value)
        return ""

    def integer(self, key: str, low: int, high: int) -> int | None:
        """An integer from `low` to `high`; None when missing or no such number."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            if low <= value <= high:
                return value
            self.wrong(key, f"number outside {low} to {high}", str(value)[:40])
        else:
            self._expected(key, "an integer", value)
        return None

    def flag(self, key: str) -> bool:
        """A boolean; False when missing."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self._expected(key, "true or false", value)
        return False

    def map(self, key: str) -> Fields:
        """A mapping; an empty one when missing."""
        where = f"{self.where}.{key}" if self.where else key
        value = self.value.get(key)
        if isinstance(value, dict):
            return Fields(value, where, self.notes)
        if value is not None:
            self._expected(key, "a mapping", value)
        return Fields({}, where, self.notes)

    def maps(self, key: str) -> Iterator[Fields]:
        """The mappings of a list; nothing when missing."""
        for index, item in enumerate(self._list(key)):
            place = f"{key}[{index}]"
            if isinstance(item, dict):
                yield Fields(item, f"{self.where}.{place}" if self.where else place, self.notes)
            else:
                self._expected(place, "a mapping", item)

    def texts(self, key: str) -> list[str]:
        """The strings of a list; none when missing."""
        found = []
        for index, item in enumerate(self._list(key)):
            if isinstance(item, str):
                found.append(self._cleaned(f"{key}[{index}]", item))
            else:
                self._expected(f"{key}[{index}]", "text", item)
        return found

    def labels(self, key: str) -> Labels:
        """A mapping of strings as sorted pairs. The API server refuses other values, so they are noted and left out."""
        value = self.map(key)
        return tuple(sorted((clean(k), value.text(k)) for k, v in value.value.items() if self._is_label(value, k, v)))

    def time(self, key: str) -> int | None:
        """An RFC 3339 time in seconds UTC, fractions cut off; None when missing or unreadable."""
        text = self.text(key)
        if not text:
            return None
        seconds = parse_time(text)
        if seconds is None:
            self.wrong(key, "no RFC 3339 time with an offset", text)
        return seconds

    def address(self, key: str) -> Address | None:
        """An IP address as halves; None when missing, empty or no address."""
        text = self.text(key)
        return self.parsed_address(key, text) if text else None

    def parsed_address(self, key: str, text: str) -> Address | None:
        """`text`, which stands at `key`, as halves; None with a note when it is no address."""
        address = parse_address(text)
        if address is None:
            self.wrong(key, "no IP address", text)
        return address

    def prefix(self, key: str, text: str) -> str | None:
        """`text`, which stands at `key`, as a CIDR in normal form; None with a note when it is none."""
        try:
            return str(ipaddress.ip_network(text))
        except ValueError as error:
            self.wrong(key, "no CIDR", str(error))
            return None

    def _is_label(self, mapping: Fields, key: str, value: object) -> bool:
        if isinstance(value, str):
            return True
        mapping.wrong(key, f"expected a quoted string, found {_type_name(value)}")
        return False

    def _list(self, key: str) -> list[object]:
        value = self.value.get(key)
        if isinstance(value, list):
            return value
        if value is not None:
            self._expected(key, "a list", value)
        return []

    def _cleaned(self, key: str, value: str) -> str:
        cleaned = clean(value)
        if cleaned != value:
            self.wrong(key, "control characters were replaced", cleaned)
        return cleaned

    def _expected(self, key: str, expected: str, found: object) -> None:
        self.wrong(key, f"expected {expected}, found {_type_name(found)}")


def clean(text: str) -> str:
    """The text with control, direction-changing and surrogate characters replaced by U+FFFD."""
    return text if text.isprintable() else _UNPRINTABLE.sub("\ufffd", text)


def parse_time(text: str) -> int | None:
    """Seconds UTC of an RFC 3339 time, fractions cut off; None when it is none or has no offset."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return None if moment.tzinfo is None else int(moment.timestamp() // 1)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1 << 16)
def parse_address(text: str) -> Address | None:
    """The halves of an IPv4 or IPv6 address; None when it is none. Zones (`fe80::1%eth0`) are not accepted."""
    try:
        return None if "%" in text else address_halves(text.strip())
    except ValueError:
        return None


def _type_name(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
