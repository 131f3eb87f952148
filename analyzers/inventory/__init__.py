"""Inventory: who held which address, in which network, when."""

from analyzers.inventory.model import (
    Endpoint,
    Identity,
    Interface,
    Inventory,
    InventoryNote,
    NamedPort,
    Service,
    ServicePort,
)

__all__ = [
    "Endpoint",
    "Identity",
    "Interface",
    "Inventory",
    "InventoryNote",
    "NamedPort",
    "Service",
    "ServicePort",
]
