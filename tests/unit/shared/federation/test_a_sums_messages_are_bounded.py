"""What a secure sum's messages may say: each bound holds to the last value, and a plan names each site and key once."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused, SecureSumRefused, TooFewSites
from shared.errors.trust import SignatureInvalid
from shared.federation.secure_sum.messages import Advert, Answered, Peer, ShareDigests, SumPlan, Unmasking
from shared.federation.secure_sum.policy import MINIMUM, SumPolicy, default_threshold, refuse_near_repeat
from shared.federation.secure_sum.vectors import Masked, add_mask, pack_masked, unpack_masked
from shared.ids import Sha256, SiteId
from tests.factories.summing import federation, sites

KEYS = {site: SigningKey.generate().public.text for site in sites(5)}
SESSION = "ab" * 16


def plan(**changes: Any) -> SumPlan:
    roster = tuple(Peer(site_id=site, verify_key=key) for site, key in KEYS.items())
    fields = {"session": SESSION, "subject": "x", "protocol_digest": "0" * 64, "length": 1, "roster": roster}
    return SumPlan.model_validate({**fields, "threshold": 3, **changes})


@pytest.mark.parametrize(
    ("name", "most", "over"),
    [
        ("length", 2**27, 2**27 + 1),
        ("length", 1, 0),
        ("subject", "x" * 200, "x" * 201),
        ("subject", "x", ""),
        ("inputs", "x" * 200, "x" * 201),
        ("cells", "x" * 63, "x" * 64),
        ("threshold", 5, 6),
        ("threshold", 1, 0),
        ("session", "0" * 32, "0" * 31),
    ],
)
def test_a_plan_is_within_its_bounds(name: str, most: Any, over: Any) -> None:
    """To the last value."""
    assert getattr(plan(**{name: most}), name) == most
    with pytest.raises(ValidationError):
        plan(**{name: over})


def test_a_roster_is_a_set_of_sites_and_keys_in_order() -> None:
    """Not empty, ascending, no site and no key twice; each site has its place from 1 and its own key."""
    roster = plan().roster
    wrong = (
        (),
        roster[::-1],
        (*roster, roster[-1]),
        (*roster[:4], Peer(site_id=roster[4].site_id, verify_key=roster[0].verify_key)),
    )
    for peers in wrong:
        with pytest.raises(ValidationError):
            plan(roster=peers, threshold=1)
    assert [plan().place_of(site) for site in sites(5)] == [1, 2, 3, 4, 5]
    assert [plan().key_of(site).text for site in sites(5)] == list(KEYS.values())
    with pytest.raises(SecureSumRefused):
        plan().key_of(SiteId("999999"))


def test_a_history_and_a_share_are_bounded() -> None:
    """Ten thousand answers, and shares of at most 512 bytes."""
    keys = {"channel": "0" * 64, "mask": "0" * 64, "commitment": "0" * 64}
    answer = Answered(roster=(SiteId("100000"),))

    def advert(count: int) -> Advert:
        return Advert(plan=Sha256("0" * 64), site_id=SiteId("100000"), **keys, answered=(answer,) * count)

    assert len(advert(10_000).answered) == 10_000
    with pytest.raises(ValidationError):
        advert(10_001)
    assert Unmasking(session=SESSION, seeds={SiteId("100000"): "ab" * 512}, keys={}).seeds
    with pytest.raises(ValidationError):
        Unmasking(session=SESSION, seeds={SiteId("100000"): "ab" * 513}, keys={})


@pytest.mark.parametrize("count", [3, 62, 63, 64, 65, 130])
def test_who_is_accused_travels_with_the_vector(count: int) -> None:
    """In rosters of any size, each site by itself and all together; of another session or length it is refused."""
    carrier = federation(count, 2)
    signed = carrier.plan().plan
    words = carrier.vectors[sites(1)[0]]
    for accused in ((), (sites(count)[0],), (sites(count)[-1],), tuple(sites(count))):
        there = unpack_masked(pack_masked(signed, Masked(words, accused)), signed)
        assert (list(there.words), there.accused) == (list(words), accused)
        assert there.words.dtype == np.uint64
    payload = pack_masked(signed, Masked(words, ()))
    assert len(payload) == 16 + 8 * -(-(count + 1) // 64) + 8 * len(words)  # a bit for each place, in whole words
    for wrong in (payload[:-8], payload + bytes(8), bytes(16) + payload[16:], payload[:-1], b""):
        with pytest.raises(SecureSumRefused):
            unpack_masked(wrong, signed)


def test_a_commitment_is_to_both_shares_and_to_one_route() -> None:
    """Another share of either secret, the two exchanged, or the shares of another sharer or holder do not fit it."""
    key, first, second, third = SigningKey.generate(), *sites(3)
    shares, route, view = ("ab" * 66, "cd" * 66), (first, second), Sha256("0" * 64)
    digests = ShareDigests.of(shares, view, route, key)
    assert digests.fit(shares, route)
    for wrong in (("ab" * 65 + "ac", shares[1]), (shares[0], "cd" * 65 + "ce"), shares[::-1]):
        assert not digests.fit(wrong, route)
    for other in ((second, first), (first, third), (third, second)):
        assert not digests.fit(shares, other)
        with pytest.raises(SignatureInvalid, match=f"the shares of {other[0]}"):
            digests.verify(view, other, key.public)
    digests.verify(view, route, key.public)
    for verify in ((Sha256("1" * 64), key.public), (view, SigningKey.generate().public)):
        with pytest.raises(SignatureInvalid):
            digests.verify(verify[0], route, verify[1])
    for changed in ("seed", "key"):
        with pytest.raises(SignatureInvalid):
            digests.model_copy(update={changed: "0" * 64}).verify(view, route, key.public)


@pytest.mark.parametrize("changes", [{"minimum": MINIMUM - 1}, {"colluders": -1}])
def test_a_policy_is_not_below_what_protects(changes: dict[str, int]) -> None:
    """Three survivors, and no fewer than no colluders; by default three and one."""
    with pytest.raises(ValidationError):
        SumPolicy(**changes)
    assert (SumPolicy().minimum, SumPolicy().colluders, SumPolicy(colluders=0).colluders) == (3, 1, 0)


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("colluders", range(3))
def test_the_default_threshold_is_the_lowest_that_the_policy_accepts(count: int, colluders: int) -> None:
    """Of any roster: one less is refused, but where the minimum of survivors asks for more than the threshold."""
    policy, own = SumPolicy(colluders=colluders), sites(1)[0]
    threshold = default_threshold(count, colluders=colluders)
    carrier = federation(count, 1)
    if threshold <= count:
        policy.check_plan(carrier.plan(threshold=threshold).plan, own)
    if threshold > MINIMUM:
        with pytest.raises(RunRefused):
            policy.check_plan(carrier.plan(threshold=threshold - 1).plan, own)
    assert threshold >= MINIMUM
    assert default_threshold(count) == default_threshold(count, colluders=1, minimum=3)


def test_too_few_sites_are_refused_whatever_their_threshold() -> None:
    """Two in all, or two known ones among four: before anything is made for the session."""
    own, peer, *_ = sites(4)
    carrier = federation(4, 1)
    for count, policy in ((2, SumPolicy()), (4, SumPolicy(pins={peer: carrier.keys[peer].fingerprint}))):
        plan = carrier.plan(sites(count), threshold=count).plan
        assert 2 * plan.threshold > count + policy.colluders + (count - 2)
        with pytest.raises(TooFewSites):
            policy.check_plan(plan, own)


@pytest.mark.parametrize(("minimum", "allowed"), [(3, True), (4, False)])
def test_nested_sets_differ_by_as_many_sites_as_a_site_asks_for(minimum: int, *, allowed: bool) -> None:
    """Also where sites that ask for fewer have answered on the difference by themselves."""
    everybody = sites(8)
    previous = [Answered(roster=tuple(everybody)), Answered(roster=tuple(everybody[5:]))]
    policy = SumPolicy(minimum=minimum)
    for roster in (everybody[:5], everybody):
        if allowed or roster == everybody:
            refuse_near_repeat(previous, roster, None, policy, everybody[0])
        else:
            with pytest.raises(RunRefused):
                refuse_near_repeat(previous, roster, None, policy, everybody[0])


def test_no_part_is_summed_that_leaves_few_sites_in_none() -> None:
    """Of eight, with three summed before, three more would leave two whom the sums of parts show; five leave none."""
    everybody = sites(8)
    previous = [Answered(roster=tuple(everybody)), Answered(roster=tuple(everybody[3:6]))]
    with pytest.raises(RunRefused, match="the 2 known"):
        refuse_near_repeat(previous, everybody[:3], None, SumPolicy(), everybody[0])
    refuse_near_repeat(previous, [*everybody[:3], *everybody[6:]], None, SumPolicy(), everybody[0])


def test_a_mask_is_its_key_stream_in_words() -> None:
    """As published for a key of zeros (RFC 8439, A.1): little-endian, added modulo 2^64, or subtracted."""
    stream = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    expected = [int.from_bytes(stream[at : at + 8], "little") for at in range(0, 32, 8)]
    words = np.full(4, 2**64 - 1, dtype=np.uint64)
    add_mask(words, bytes(32))
    assert words.tolist() == [word - 1 for word in expected]
    add_mask(words, bytes(32), subtract=True)
    add_mask(words, bytes(32), subtract=True)
    assert words.tolist() == [2**64 - 1 - word for word in expected]
