"""Whoever gives wrong shares in a secure sum is named, and the sum goes on without what it gave."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.federation import SecureSumRefused, TooFewSites, WrongShares
from shared.federation.exchange import Exchange
from shared.federation.secure_sum import masks, shamir
from shared.federation.secure_sum.messages import SignedPlan
from shared.federation.secure_sum.server import secure_sum, sum_without_liars
from shared.federation.secure_sum.vectors import unpack_masked
from shared.ids import SiteId
from shared.manifest import canonical_json
from tests.factories.summing import Federation, federation, sites, true_sum


@pytest.mark.parametrize("place", range(8))
def test_a_wrong_share_names_its_liar_at_every_place(place: int) -> None:
    """Of eight sites any may give back wrong shares: it is named, its shares are not used, and the sum is exact."""
    carrier, liar, named = federation(8), sites(8)[place], dict[SiteId, str]()
    result = secure_sum(carrier.plan(), _with_liars(carrier, {liar}), refuse=named.__setitem__)
    assert (result.total == true_sum(carrier.vectors.values())).all()
    assert list(named) == [liar]


@given(st.sets(st.integers(0, 19), max_size=9))
@settings(max_examples=5, deadline=None)
def test_liars_are_named_down_to_the_threshold(places: set[int]) -> None:
    """As many may lie as may drop out, wherever they stand in the roster."""
    carrier, named = federation(20, 1), dict[SiteId, str]()
    liars = {sites(20)[place] for place in places}
    result = secure_sum(carrier.plan(), _with_liars(carrier, liars), refuse=named.__setitem__)
    assert (result.total == true_sum(carrier.vectors.values())).all()
    assert set(named) == liars


def test_with_a_liar_beyond_the_threshold_there_is_no_sum() -> None:
    """Of 20 sites ten lie, one more than may drop out."""
    carrier = federation(20, 1)
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), _with_liars(carrier, set(sites(20)[:10])))


def _with_liars(carrier: Federation, liars: set[SiteId]) -> Exchange:
    """The carrier, where these give back wrong shares."""

    def exchange(stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        answers = carrier(stage, requests)
        return {**answers, **{liar: _wrong(answers[liar]) for liar in liars}} if stage == "unmask" else answers

    return exchange


def _wrong(payload: bytes) -> bytes:
    message = json.loads(payload)
    return canonical_json(message | {"seeds": {site: _lie() for site in message["seeds"]}})


@pytest.mark.parametrize("place", range(8))
def test_a_wrong_parcel_accuses_its_sharer_at_every_place(place: int) -> None:
    """A sharer whose shares are not what it committed to is named, and the sum goes on while enough others hold."""
    carrier, liar, named = federation(8), sites(8)[place], dict[SiteId, str]()
    deceived = [site for site in sites(8) if site != liar][::4]
    carrier.changed = _parcels_from(liar, deceived)
    result = secure_sum(carrier.plan(), carrier, refuse=named.__setitem__)
    assert (result.total == true_sum(carrier.vectors.values())).all()
    assert list(named) == [liar]
    assert all(site in named[liar] for site in deceived)


@pytest.mark.parametrize("secret", ["seed", "key"])
def test_shares_that_their_sharer_did_not_commit_to_accuse_it(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed for their holder and of this session, but others than its digests say, whichever of the two."""
    carrier, liar, named = federation(6), sites(6)[2], dict[SiteId, str]()
    seal = masks.seal_parcel

    def other(channel: masks.Channel, route: tuple[SiteId, SiteId], context: bytes, plain: bytes) -> bytes:
        if route == (liar, sites(6)[0]):
            at = 0 if secret == "seed" else shamir.SHARE_BYTES
            plain = plain[:at] + bytes(shamir.SHARE_BYTES) + plain[at + shamir.SHARE_BYTES :]
        return seal(channel, route, context, plain)

    monkeypatch.setattr(masks, "seal_parcel", other)
    result = secure_sum(carrier.plan(), carrier, refuse=named.__setitem__)
    assert (result.total == true_sum(carrier.vectors.values())).all()
    assert list(named) == [liar]
    assert sites(6)[0] in named[liar]


@given(st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_without_its_liar_the_sum_is_made_again(place: int) -> None:
    """A sharer that gave wrong shares to all is named before anybody signs, so no site refuses a session without it."""
    carrier, liar, named = federation(6), sites(6)[place], dict[SiteId, str]()
    carrier.changed = _parcels_from(liar, [site for site in sites(6) if site != liar])
    with pytest.raises(WrongShares):
        secure_sum(carrier.plan(), carrier)
    assert not any(stage == "consistency" for stage, _ in carrier.requests)
    result = sum_without_liars(carrier.plan().plan, carrier.coordinator, carrier, refuse=named.__setitem__)
    assert list(named) == [liar]
    assert result.survivors == tuple(site for site in sites(6) if site != liar)
    assert (result.total == true_sum(words for site, words in carrier.vectors.items() if site != liar)).all()


def _parcels_from(liar: SiteId, deceived: list[SiteId]) -> Callable[[str, SiteId, bytes], bytes]:
    def change(stage: str, site: SiteId, payload: bytes) -> bytes:
        message = json.loads(payload)
        if stage == "mask" and site in deceived and liar in message["parcels"]:
            message["parcels"][liar] = message["parcels"][liar][::-1]
        return canonical_json(message)

    return change


Message = dict[str, Any]
SPLIT = shamir.split
LIAR, OTHER, DROPPED = sites(6)[1:4]


def without(name: str, site: SiteId) -> Callable[[Message, Message], Message]:
    """The message without a site's entry."""
    return lambda own, _: own | {name: {key: value for key, value in own[name].items() if key != site}}


def with_more(name: str, site: str) -> Callable[[Message, Message], Message]:
    """The message with an entry more."""
    return lambda own, _: own | {name: own[name] | {site: next(iter(own[name].values()))}}


@pytest.mark.parametrize(
    ("at", "change", "reason"),
    [
        ("advertise", lambda _, other: other, "another site"),
        ("share", without("parcels", OTHER), "missing or too many"),
        ("share", without("digests", OTHER), "missing or too many"),
        ("share", without("digests", LIAR), "missing or too many"),
        ("share", with_more("parcels", LIAR), "missing or too many"),
        ("share", with_more("digests", "999999"), "missing or too many"),
        ("share", lambda own, other: own | {"digests": other["digests"]}, "signature"),
        ("consistency", lambda own, other: own | {"signature": other["signature"]}, "signature"),
        ("consistency", lambda own, _: own | {"session": "f" * 32}, "another session"),
        ("unmask", lambda own, _: own | {"session": "f" * 32}, "another session"),
        ("unmask", without("seeds", OTHER), "missing or too many"),
        ("unmask", without("keys", DROPPED), "missing or too many"),
        ("unmask", with_more("seeds", DROPPED), "missing or too many"),
        ("unmask", with_more("keys", OTHER), "missing or too many"),
        ("unmask", lambda own, other: own | {"keys": other["keys"]}, "not the one it was given"),
    ],
)
def test_an_answer_that_is_not_whole_or_not_its_own_costs_its_site_only(
    at: str, change: Callable[[Message, Message], Message], reason: str
) -> None:
    """The site is named with the reason, once, at that stage; the sum of the others is exact."""
    carrier, named = federation(6, lost=[("mask", DROPPED)]), list[tuple[SiteId, str]]()

    def exchange(stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        answers = dict(carrier(stage, requests))
        if at == stage:
            answers[LIAR] = canonical_json(change(json.loads(answers[LIAR]), json.loads(answers[OTHER])))
        return answers

    result = secure_sum(carrier.plan(), exchange, refuse=lambda site, why: named.append((site, why)))
    assert [site for site, _ in named] == [LIAR]
    assert reason in named[0][1]
    there = {*sites(6)} - {DROPPED} - ({LIAR} if at in {"advertise", "share"} else set())
    assert set(result.survivors) == there
    assert (result.total == true_sum(carrier.vectors[site] for site in result.survivors)).all()


def test_a_liar_is_in_the_log_unless_somebody_else_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """By its SITEID, and with what it did."""
    carrier = federation(8)
    secure_sum(carrier.plan(), _with_liars(carrier, {sites(8)[3]}))
    assert [sites(8)[3] in record.getMessage() for record in caplog.records] == [True]
    assert "not the one it was given" in caplog.text


def test_no_sum_is_made_of_fewer_than_the_threshold() -> None:
    """Whoever chooses; nobody has signed a list of survivors by then."""
    carrier = federation(6)
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier, choose=lambda present: present[:3])
    assert not any(stage == "consistency" for stage, _ in carrier.requests)


def test_too_few_shares_of_a_secret_are_nobodys_lie() -> None:
    """Two of six hold no right share of one, and a third is away when it is asked: no sum, and no liar more."""
    carrier, sharer, named = federation(6, lost=[("unmask", sites(6)[5])]), sites(6)[0], list[SiteId]()
    carrier.changed = _parcels_from(sharer, sites(6)[1:3])
    with pytest.raises(TooFewSites, match="3"):
        secure_sum(carrier.plan(), carrier, refuse=lambda site, _: named.append(site))
    assert named == [sharer]


def _other_secret(_: bytes, threshold: int, places: list[int]) -> dict[int, bytes]:
    return SPLIT(bytes(shamir.SECRET_BYTES), threshold, places)


def _no_secret(_: bytes, __: int, places: list[int]) -> dict[int, bytes]:
    return dict.fromkeys(places, (shamir.PRIME - 1).to_bytes(shamir.SHARE_BYTES))


@pytest.mark.parametrize("secret", ["seed", "mask"])
@pytest.mark.parametrize("shares", [_other_secret, _no_secret])
def test_shares_that_do_not_give_the_secret_name_their_sharer(
    shares: Callable[[bytes, int, list[int]], dict[int, bytes]], secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that commits to shares of something else, or of no secret at all, is named when the sum is unmasked."""
    carrier, liar, named = federation(6, lost=[("mask", sites(6)[2])]), sites(6)[2], dict[SiteId, str]()
    liar = sites(6)[1] if secret == "seed" else liar

    def wrong(kept: bytes, threshold: int, places: list[int]) -> dict[int, bytes]:
        state = json.loads(carrier.remembered[liar].states[session])
        return (shares if kept.hex() == state[secret] else SPLIT)(kept, threshold, places)

    monkeypatch.setattr(shamir, "split", wrong)
    plan = carrier.plan()
    session = plan.plan.session
    with pytest.raises(SecureSumRefused):
        secure_sum(plan, carrier, refuse=named.__setitem__)
    assert list(named) == [liar]


def test_digests_that_their_sharer_did_not_sign_count_for_nothing() -> None:
    """A server that puts other digests beside a share gains nothing: the holder accuses, and gives no share."""
    carrier, victim = federation(4), sites(4)[1]

    def change(stage: str, site: SiteId, payload: bytes) -> bytes:
        message = json.loads(payload)
        if stage == "mask" and victim in message["digests"]:
            message["digests"][victim]["signature"] = message["digests"][sites(4)[0 if site != sites(4)[0] else 2]][
                "signature"
            ]
        return canonical_json(message)

    carrier.changed = change
    with pytest.raises(WrongShares):
        secure_sum(carrier.plan(), carrier)
    for site in set(sites(4)) - {victim}:
        plan = SignedPlan.model_validate_json(carrier.requests["advertise", site]).plan
        assert unpack_masked(carrier.answers["mask", site], plan).accused == (victim,)


def _lie() -> str:
    """A share drawn at random. Lies of equal size cancel: with places 1 to 4 of 5, the errors 5 - 10 + 10 - 5 are 0."""
    return shamir.split(bytes(shamir.SECRET_BYTES), 2, [1, 2])[1].hex()
