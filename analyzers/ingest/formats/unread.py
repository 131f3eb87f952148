"""Flow records of other makers that are recognised, so that a refusal can name them; flowctl does not read them yet."""

from __future__ import annotations

import re

_Signs = tuple[tuple[str, re.Pattern[bytes]], ...]

_TEXT: _Signs = (
    ("a Zeek conn.log", re.compile(rb"\A#separator\s[^\n]*\n(#[^\n]*\n)*?#path\s+conn\b")),
    ("Azure flow tuples", re.compile(rb"\A\d{10,13},[0-9a-fA-F.:]+,[0-9a-fA-F.:]+,\d+,\d+,")),
)
_JSON: _Signs = (
    ("a Zeek conn.log as JSON", re.compile(rb'"id\.orig_h"\s*:')),
    ("an Azure VNet flow log", re.compile(rb'"flowRecords"\s*:')),
    ("an Azure NSG flow log", re.compile(rb'(?i)NetworkSecurityGroupFlowEvent|"flowTuples"\s*:|azureflowlog')),
    ("GCP VPC flow logs", re.compile(rb'vpc_flows|"vpc_flow_logs_config"|"bytes_sent"\s*:')),
    ("Hubble flows", re.compile(rb'"flow"\s*:\s*\{|"Type"\s*:\s*"L[347]"|"traffic_direction"\s*:')),
    ("a Cilium or Hubble event", re.compile(rb'"node_name"\s*:.*"(IP|l4)"\s*:', re.DOTALL)),
)


def recognise(head: bytes) -> str | None:
    """What the file that begins with `head` is, in words that follow "this is"; None when it is nothing known."""
    signs = (*_TEXT, *_JSON) if head.lstrip()[:1] in (b"{", b"[", b",") else _TEXT
    return next((name for name, sign in signs if sign.search(head)), None)
