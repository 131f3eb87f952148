"""manifests/inventory-reader.yaml grants what reading an inventory needs, and nothing besides."""

from __future__ import annotations

from pathlib import Path

import yaml

from analyzers.inventory.kubernetes_objects import INVENTORY_KINDS


def test_the_role_lists_every_kind_of_the_inventory_and_no_other() -> None:
    objects = list(yaml.safe_load_all(Path("manifests/inventory-reader.yaml").read_text(encoding="utf-8")))
    roles = [one for one in objects if one["kind"] == "ClusterRole"]
    granted = [(resource, verb) for role in roles for rule in role["rules"] for resource in rule["resources"]
               for verb in rule["verbs"]]  # fmt: skip
    assert sorted(granted) == sorted((f"{kind.lower()}s", "list") for kind in INVENTORY_KINDS)


def test_the_binding_names_the_role_and_the_account() -> None:
    objects = {one["kind"]: one for one in yaml.safe_load_all(Path("manifests/inventory-reader.yaml").read_text())}
    binding = objects["ClusterRoleBinding"]
    account = objects["ServiceAccount"]["metadata"]
    assert binding["roleRef"]["name"] == objects["ClusterRole"]["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]
    assert account["namespace"] == objects["Namespace"]["metadata"]["name"]
