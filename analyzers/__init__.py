"""Bytes into facts: what happened between whom."""
