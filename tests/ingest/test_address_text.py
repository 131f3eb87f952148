"""Addresses as text are what the ipaddress module writes, whatever writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyzers.flows import address_object, address_text

HEXTETS = st.lists(st.sampled_from([0, 1, 0xFFFF, 0x0A00, 0x2001]) | st.integers(0, 0xFFFF), min_size=8, max_size=8)


def _same(whole: int) -> None:
    hi, lo = whole >> 64, whole & (1 << 64) - 1
    assert address_text(hi, lo) == str(address_object(hi, lo))


@given(HEXTETS)
def test_any_address(hextets: list[int]) -> None:
    whole = 0
    for hextet in hextets:
        whole = whole << 16 | hextet
    _same(whole)
    _same(whole & (1 << 64) - 1)


@given(st.integers(0, (1 << 32) - 1))
def test_ipv4_mapped_and_compatible_addresses(address: int) -> None:
    _same(0xFFFF << 32 | address)
    _same(address)
