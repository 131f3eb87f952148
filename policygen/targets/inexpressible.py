"""The error of every renderer."""

from __future__ import annotations


class Inexpressible(ValueError):
    """A policy that the platform cannot express exactly. The message names the policy and what is in the way."""
