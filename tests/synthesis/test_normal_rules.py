"""Fewest rules: what one peer covers of another, and where the evidence goes."""

from __future__ import annotations

import pytest

from policygen.model import EVERYTHING, CidrPeer, Peer, PodPeer, PortRange, Requirement, Rule, Selector
from policygen.synthesis.normal_rules import Permission, contains, normal_rules

WEB, BLUE = Selector.of(app="web"), Selector.of(app="web", team="blue")
NOT_CANARY = Selector((("app", "web"),), (Requirement("track", "DoesNotExist"),))
BANK, SHOP = Selector.of(ns="bank"), Selector.of(ns="shop")
INTERNET = CidrPeer("0.0.0.0/0", ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (PodPeer(EVERYTHING, None), PodPeer(None, WEB)),
        (PodPeer(EVERYTHING, None), PodPeer(BANK, None)),
        (PodPeer(EVERYTHING, WEB), PodPeer(BANK, BLUE)),
        (PodPeer(BANK, None), PodPeer(BANK, WEB)),
        (PodPeer(None, EVERYTHING), PodPeer(None, WEB)),
        (PodPeer(None, WEB), PodPeer(None, BLUE)),
        (PodPeer(None, WEB), PodPeer(None, NOT_CANARY)),
        (INTERNET, CidrPeer("8.8.8.8/32")),
        (CidrPeer("8.8.0.0/16"), CidrPeer("8.8.8.0/24")),
        (CidrPeer("2600::/16"), CidrPeer("2600::1/128")),
    ],
)
def test_what_is_contained_and_never_the_other_way_round(wide: Peer, narrow: Peer) -> None:
    assert contains(wide, narrow)
    assert not contains(narrow, wide)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (PodPeer(None, WEB), PodPeer(BANK, WEB)),
        (PodPeer(SHOP, WEB), PodPeer(BANK, BLUE)),
        (PodPeer(None, BLUE), PodPeer(None, NOT_CANARY)),
        (INTERNET, CidrPeer("10.1.0.0/16")),
        (INTERNET, CidrPeer("8.0.0.0/5")),
        (INTERNET, CidrPeer("2600::1/128")),
        (INTERNET, PodPeer(None, WEB)),
    ],
)
def test_what_is_not_contained_either_way(one: Peer, two: Peer) -> None:
    assert not contains(one, two)
    assert not contains(two, one)


def test_only_the_ports_of_the_wider_peer_are_taken_and_their_evidence_goes_there() -> None:
    every, web = PodPeer(EVERYTHING, None), PodPeer(None, WEB)
    some = [Permission(every, "UDP", 53, "all"), Permission(web, "UDP", 53, "one"), Permission(web, "TCP", 80, "two")]
    assert normal_rules(some) == (
        Rule((web,), (PortRange("TCP", 80),), ("two",)),
        Rule((every,), (PortRange("UDP", 53),), ("all", "one")),
    )


def test_a_chain_of_wider_peers_ends_at_the_widest() -> None:
    chain = (PodPeer(EVERYTHING, None), PodPeer(BANK, None), PodPeer(BANK, WEB), PodPeer(BANK, BLUE))
    (rule,) = normal_rules([Permission(p, "TCP", 1, str(n)) for n, p in enumerate(chain)])
    assert rule == Rule(chain[:1], (PortRange("TCP", 1),), ("0", "1", "2", "3"))
