"""Which flow log a record came from: one interface may be covered by several, of its VPC, its subnet and its own.

They record the same traffic. So the observer of a row is the interface as one flow log saw it, and since an edge's
counters are the largest of its observers' (analyzers.build_map), what several flow logs recorded counts once.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from analyzers.flows import FlowTable

_OBJECT = re.compile(r"\d+_[a-z]*flowlogs_[^_/]+_(fl-[0-9a-z]+)_\d{8}T\d{4}Z_[^/]*\Z")
NAMES = 4


def flow_log_of(source: str) -> str:
    """The flow log's id in an S3 object's name, `<account>_vpcflowlogs_<region>_<id>_<time>_<hash>.log.gz`; else ""."""
    found = _OBJECT.search(source.replace("\\", "/"))
    return found[1] if found else ""


def observer_name(interface: str, flow_log: str) -> str:
    """What the rows of an interface in a flow log are told apart by."""
    return f"{interface} {flow_log}" if interface and flow_log else interface


def interface_of(observer: str) -> str:
    """The interface id in an observer's name."""
    return observer.split(" ", 1)[0]


def covered_twice(flows: FlowTable) -> list[str]:
    """A note when interfaces are covered by several flow logs; empty when none is."""
    if " fl-" not in "\n".join(flows.observers):  # as a rule, and they may be many
        return []
    marked = [(number, name) for number, name in enumerate(flows.observers) if " fl-" in name]
    logged = [number for number, name in marked if name.rpartition(" ")[2].startswith("fl-")]
    if not logged:
        return []
    seen = np.bincount(flows["observer"], minlength=len(flows.observers))
    logs: dict[str, set[str]] = defaultdict(set)
    for number in logged:
        if seen[number]:
            interface, _, log = flows.observers[number].rpartition(" ")
            logs[interface].add(log)
    several = {interface: found for interface, found in logs.items() if len(found) > 1}
    if not several:
        return []
    ids = sorted(set().union(*several.values()))
    some = ", ".join(ids[:NAMES]) + (" ..." if len(ids) > NAMES else "")
    return [
        f"{len(several)} interfaces are covered by several flow logs ({some}): what more than one recorded counts once"
    ]
