"""Which names, label keys and label values the Kubernetes API server takes. Each check gives a reason or None."""

from __future__ import annotations

import re

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_NAME_WORDS = "letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_PORT_CHARACTERS = re.compile(r"[-a-z0-9]+\Z")


def dns_label_problem(name: str) -> str | None:
    """For namespaces: RFC 1123 labels."""
    if len(name) > 63:
        return f"{name!r} is longer than 63 characters"
    if not _DNS_LABEL.match(name):
        return f"{name!r} must be lower case letters, digits and '-', and begin and end with a letter or digit"
    return None


def dns_subdomain_problem(name: str) -> str | None:
    """For object names and the prefix of label keys: RFC 1123 subdomains."""
    if len(name) > 253:
        return f"{name[:40]!r}... is longer than 253 characters"
    if not _DNS_SUBDOMAIN.match(name):
        return f"{name!r} must be lower case letters, digits, '-' and '.', with a letter or digit at each end of a part"
    return None


def label_key_problem(key: str) -> str | None:
    """For label and annotation keys: `name` or `prefix/name`."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or dns_subdomain_problem(prefix)):
        return f"label key {key!r}: the part before '/' must be a DNS subdomain"
    if len(name) > 63:
        return f"label key {key!r}: the name part is longer than 63 characters"
    if not _NAME_PART.match(name):
        return f"label key {key!r}: the name part must be {_NAME_WORDS}"
    return None


def label_value_problem(value: str) -> str | None:
    """For label values; the empty one is valid."""
    if len(value) > 63:
        return f"label value {value[:40]!r}... is longer than 63 characters"
    if value and not _NAME_PART.match(value):
        return f"label value {value!r} must be {_NAME_WORDS}"
    return None


def port_name_problem(name: str) -> str | None:
    """For names of ports: IANA service names."""
    if not 1 <= len(name) <= 15:
        return f"port name {name!r} must have 1 to 15 characters"
    if not _PORT_CHARACTERS.match(name):
        return f"port name {name!r} must be lower case letters, digits and '-'"
    if not any("a" <= character <= "z" for character in name):
        return f"port name {name!r} must contain a letter; a number is written without quotes"
    if "--" in name or name[0] == "-" or name[-1] == "-":
        return f"port name {name!r} must not have '-' at an end or two in a row"
    return None
