"""One caller cannot hold the slots of all, whatever it claims and releases; IPv6 callers are their networks."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.service.slots import Slots, network_of


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))), st.integers(1, 6), st.integers(1, 4))
def test_no_caller_and_no_crowd_is_over_its_limit(steps: list[tuple[bool, str]], at_once: int, each: int) -> None:
    """A claim succeeds exactly while its caller and all together are below the limits; a release makes room again."""
    slots, held = Slots(1, at_once=at_once, each=each), Counter[str]()
    for claims, caller in steps:
        if claims:
            room = held.total() < at_once and held[caller] < each
            assert slots.claim(caller) == room
            held[caller] += room
        elif held[caller]:
            slots.release(caller)
            held[caller] -= 1


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1/32"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"),
        ("unix:/run/socket", "unix:/run/socket"),
    ],
)
def test_a_caller_is_its_network(peer: str, network: str) -> None:
    """A subscriber may choose among 2**64 addresses of IPv6, which count as one."""
    assert network_of(peer) == network
