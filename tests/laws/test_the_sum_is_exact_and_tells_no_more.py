"""The laws of the secure sum, for any vectors, any sites and any dropouts."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import RunRefused, SecureSumRefused, TooFewSites
from shared.errors.trust import SignatureInvalid
from shared.federation.secure_sum.messages import STAGES, Advert, SignedAdvert, SignedPlan
from shared.federation.secure_sum.policy import SumPolicy, default_threshold
from shared.federation.secure_sum.server import SumServer, secure_sum
from shared.federation.secure_sum.vectors import unpack_masked
from shared.ids import SiteId
from shared.manifest import canonical_json
from tests.factories.summing import Federation, federation, random_words, sites, true_sum

laws = settings(max_examples=20, deadline=None)
WORD = st.integers(0, 2**64 - 1)


@st.composite
def vectors(draw: st.DrawFn) -> dict[SiteId, np.ndarray]:
    length = draw(st.integers(1, 5))
    rows = st.lists(WORD, min_size=length, max_size=length)
    return {site: np.array(draw(rows), dtype=np.uint64) for site in sites(draw(st.integers(3, 8)))}


@st.composite
def losses(draw: st.DrawFn) -> tuple[int, list[tuple[str, SiteId]]]:
    count = draw(st.integers(4, 8))
    dropped = draw(st.sets(st.sampled_from(sites(count)), max_size=count - default_threshold(count)))
    return count, [(draw(st.sampled_from(STAGES)), site) for site in sorted(dropped)]


@given(vectors())
@laws
def test_the_sum_is_exact_modulo_2_to_the_64(words: dict[SiteId, np.ndarray]) -> None:
    """For any vectors of 3 to 8 sites the result is their sum modulo 2^64, over all sites."""
    carrier = Federation(words)
    result = secure_sum(carrier.plan(), carrier)
    assert (result.total == true_sum(words.values())).all()
    assert result.survivors == tuple(words)


@given(losses())
@laws
def test_the_sum_is_exact_over_those_that_stay(lost: tuple[int, list[tuple[str, SiteId]]]) -> None:
    """Whichever sites drop out at whichever stage, down to the threshold the sum over the masked vectors is exact."""
    count, missing = lost
    carrier = federation(count, lost=missing)
    result = secure_sum(carrier.plan(), carrier)
    early = {site for stage, site in missing if stage in {"advertise", "share", "mask"}}
    assert set(result.survivors) == set(carrier.vectors) - early
    assert (result.total == true_sum(carrier.vectors[site] for site in result.survivors)).all()


@given(st.integers(3, 7), st.sampled_from(STAGES))
@laws
def test_below_the_threshold_nothing_is_computed(count: int, stage: str) -> None:
    """One dropout more than the threshold allows stops the session at that stage."""
    dropped = sites(count)[: count - default_threshold(count) + 1]
    carrier = federation(count, lost=[(stage, site) for site in dropped])
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier)
    assert {at for at, _ in carrier.requests} == {*STAGES[: STAGES.index(stage) + 1]}


@given(st.sampled_from(STAGES), st.data())
@laws
def test_no_stage_is_answered_twice(stage: str, data: st.DataObject) -> None:
    """After a session no stage of it gets a second answer from any site."""
    carrier = federation(3)
    secure_sum(carrier.plan(), carrier)
    site = data.draw(st.sampled_from(sites(3)))
    with pytest.raises(SecureSumRefused):
        carrier.ask(stage, site, carrier.requests[stage, site])


def test_unmasking_is_refused_a_second_time_even_before_the_session_ends() -> None:
    """The same unmask request gets one answer, even where its claim is lost."""
    carrier = federation(3)
    secure_sum(carrier.plan(), carrier)
    memory = carrier.remembered[sites(3)[0]]
    memory.claims = {(session, stage) for session, stage in memory.claims if stage != "unmask"}
    with pytest.raises(SecureSumRefused):  # without the claim, the shares are still wiped
        carrier.ask("unmask", sites(3)[0], carrier.requests["unmask", sites(3)[0]])


@given(st.sampled_from(["share", "mask", "unmask"]))
@laws
def test_requests_of_one_session_are_refused_in_another(stage: str) -> None:
    """Every site refuses round keys, shares and signatures of one session under another session's name."""
    first, second = federation(4), federation(4)
    second.keys, second.coordinator = first.keys, first.coordinator
    secure_sum(first.plan(), first)
    plan = second.plan()
    foreign = plan.plan.session

    def replay(at: str, site: SiteId, payload: bytes) -> bytes:
        if at != stage:
            return payload
        return canonical_json(json.loads(first.requests[stage, site]) | {"session": foreign})

    second.changed = replay
    with pytest.raises(TooFewSites):
        secure_sum(plan, second)
    assert {site for at, site in second.refusals if at == stage} == set(sites(4))


@given(st.sampled_from(STAGES))
@laws
def test_answers_of_one_session_are_refused_in_another(stage: str) -> None:
    """A site's answer of a previous session drops it from this one; the others' sum is exact."""
    carrier, stale = federation(6), sites(6)[2]
    secure_sum(carrier.plan(), carrier)
    previous = carrier.answers[stage, stale]

    def exchange(at: str, requests: dict[SiteId, bytes]) -> dict[SiteId, bytes]:
        answers = dict(carrier(at, requests))
        return answers | {stale: previous} if at == stage else answers

    result = secure_sum(carrier.plan(subject="another"), exchange)  # type: ignore[arg-type] # the server sends a dict
    assert (result.total == true_sum(carrier.vectors[site] for site in result.survivors)).all()
    assert (stale in result.survivors) == (stage in {"consistency", "unmask"})


@given(st.integers(5, 7), st.data())
@laws
def test_two_lists_of_survivors_never_both_unmask(count: int, data: st.DataObject) -> None:
    """A server that shows two lists of survivors gets unmask answers on at most one, whichever sites see which."""
    fewer = data.draw(st.sampled_from(sites(count)))
    deceived = data.draw(st.sets(st.sampled_from([site for site in sites(count) if site != fewer]), min_size=2))
    carrier = federation(count)

    def lie(stage: str, site: SiteId, payload: bytes) -> bytes:
        if stage != "consistency" or site not in deceived:
            return payload
        message = json.loads(payload)
        return canonical_json(message | {"survivors": [peer for peer in message["survivors"] if peer != fewer]})

    carrier.changed = lie
    server = SumServer(carrier.plan())
    requests = server.masked(
        carrier("mask", server.parcels(carrier("share", server.adverts(carrier("advertise", server.start())))))
    )
    carrier("consistency", requests)
    signed = {site: json.loads(carrier.answers["consistency", site])["signature"] for site in sites(count)}
    session = server.start()[sites(count)[0]]
    unmasked = set()
    together = data.draw(st.booleans())
    for site in sites(count):
        peers = [peer for peer in signed if together or (peer in deceived) == (site in deceived)]
        signatures = {peer: signed[peer] for peer in peers}
        request = {"session": SignedPlan.model_validate_json(session).plan.session, "signatures": signatures}
        try:
            carrier.ask("unmask", site, canonical_json(request))
        except (SignatureInvalid, SecureSumRefused):
            continue
        unmasked.add(site in deceived)
    assert len(unmasked) <= (0 if together else 1)


def test_a_site_gives_of_each_peer_its_seed_or_its_key_never_both() -> None:
    """Each unmask answer names every sharer exactly once: survivors among the seeds, dropped ones among the keys."""
    dropped = sites(6)[1]
    carrier = federation(6, lost=[("mask", dropped)])
    secure_sum(carrier.plan(), carrier)
    for (stage, site), payload in carrier.answers.items():
        if stage == "unmask":
            answer = json.loads(payload)
            assert set(answer["keys"]) == {dropped}, site
            assert set(answer["seeds"]) == set(sites(6)) - {dropped}, site


def test_a_masked_vector_shows_nothing_of_its_own() -> None:
    """The same vector masked twice differs in every word, and no word of it stays unmasked."""
    carrier = Federation({site: np.zeros(50, dtype=np.uint64) for site in sites(3)})
    masked = []
    for _ in range(2):
        plan = carrier.plan()
        secure_sum(plan, carrier)
        masked.append(unpack_masked(carrier.answers["mask", sites(3)[0]], plan.plan).words)
    assert (masked[0] != masked[1]).all()
    assert (masked[0] != 0).all()


def test_round_keys_that_no_registered_key_signed_are_refused() -> None:
    """Every peer refuses a round key that the server puts in a site's place."""
    carrier, victim = federation(4), sites(4)[2]

    def replace(stage: str, site: SiteId, payload: bytes) -> bytes:
        if stage != "share":
            return payload
        message = json.loads(payload)
        for signed in message["adverts"]:
            if signed["advert"]["site_id"] == victim:
                advert = Advert.model_validate(signed["advert"] | {"mask": "09" * 32})
                signature = SigningKey.generate().sign(canonical_json(advert))
                signed.update(SignedAdvert(advert=advert, signature=signature).model_dump(mode="json"))
        return canonical_json(message)

    carrier.changed = replace
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier)
    assert all(isinstance(error, SignatureInvalid) for error in carrier.refusals.values())
    assert len(carrier.refusals) == 4


def test_shares_shown_under_different_round_keys_do_not_open() -> None:
    """Sites that were shown different sets of round keys refuse each other's shares."""
    carrier = federation(5)

    def fewer(stage: str, site: SiteId, payload: bytes) -> bytes:
        if stage != "share" or site != sites(5)[0]:
            return payload
        message = json.loads(payload)
        return canonical_json(message | {"adverts": message["adverts"][:4]})

    carrier.changed = fewer
    server = SumServer(carrier.plan())
    requests = server.adverts(carrier("advertise", server.start()))
    carrier("share", requests)
    parcels = {
        site: {peer: json.loads(carrier.answers["share", peer])["parcels"][site] for peer in sites(4) if peer != site}
        for site in sites(4)
    }
    session = json.loads(requests[sites(5)[0]])["session"]
    for site in sites(4):
        with pytest.raises(SecureSumRefused):
            carrier.ask("mask", site, canonical_json({"session": session, "parcels": parcels[site]}))


@given(st.integers(3, 8), st.integers(0, 2))
@laws
def test_a_threshold_that_colluders_could_get_under_is_refused(count: int, colluders: int) -> None:
    """A site takes part exactly when 2t > n + k and t is at least the minimum."""
    for threshold in range(1, count + 1):
        carrier = federation(count, 1, policy=SumPolicy(colluders=colluders))
        payload = canonical_json(carrier.plan(threshold=threshold))
        if 2 * threshold > count + colluders:
            carrier.ask("advertise", sites(count)[0], payload)
        else:
            with pytest.raises(RunRefused):
                carrier.ask("advertise", sites(count)[0], payload)


@given(st.integers(4, 7), st.data())
@laws
def test_unpinned_peers_count_as_colluders(count: int, data: st.DataObject) -> None:
    """With pins a site needs three known sites, and 2t > n + k + unknown."""
    own, *others = sites(count)
    pinned = data.draw(st.sets(st.sampled_from(others), min_size=1))
    plain = federation(count, 1)
    plain.policy = SumPolicy(pins={site: plain.keys[site].fingerprint for site in pinned})
    unknown = len(others) - len(pinned)
    for threshold in range(3, count + 1):
        payload = canonical_json(plain.plan(threshold=threshold))
        if len(pinned) >= 2 and 2 * threshold > count + 1 + unknown:
            plain.ask("advertise", own, payload)
        else:
            with pytest.raises((TooFewSites, RunRefused)):
                plain.ask("advertise", own, payload)


def test_a_pinned_peer_under_another_key_is_refused() -> None:
    """A roster that gives a pinned site another key is a lie."""
    carrier = federation(3)
    own, other, third = sites(3)
    carrier.policy = SumPolicy(pins={other: SigningKey.generate().fingerprint, third: carrier.keys[third].fingerprint})
    with pytest.raises(RunRefused):
        carrier.ask("advertise", own, canonical_json(carrier.plan()))


@given(st.integers(3, 6))
@laws
def test_near_repeats_are_refused_and_plain_repeats_are_not(count: int) -> None:
    """On one subject only the answered set itself, or one nested with it and three or more sites apart, is allowed."""
    everyone = sites(6)
    carrier = federation(6, 2)
    first = everyone[:count]
    secure_sum(carrier.plan(first), carrier)
    secure_sum(carrier.plan(first), carrier)
    for other_count in range(3, 7):
        for other in combinations(everyone, other_count):
            payload, old, new = canonical_json(carrier.plan(other)), set(first), set(other)
            if everyone[0] not in other:
                continue
            if old == new or ((old < new or new < old) and len(old ^ new) >= 3):
                carrier.ask("advertise", everyone[0], payload)
            else:
                with pytest.raises(RunRefused):
                    carrier.ask("advertise", everyone[0], payload)
    carrier.ask("advertise", everyone[0], canonical_json(carrier.plan(everyone[:4], subject="another")))


def test_invented_sites_do_not_pad_a_difference() -> None:
    """A sum over three pinned sites refuses one over four and two invented sites, which would show the fourth."""
    known, carrier = sites(4), federation(6, 1)
    carrier.policy = SumPolicy(pins={site: carrier.keys[site].fingerprint for site in known})
    secure_sum(carrier.plan(known[:3]), carrier)
    with pytest.raises((TooFewSites, RunRefused)):
        secure_sum(carrier.plan(sites(6), threshold=5), carrier)
    assert {site for _, site in carrier.refusals} >= set(known[:3])
    assert all(isinstance(carrier.refusals["advertise", site], RunRefused) for site in known[:3])


def test_a_site_that_was_not_asked_to_sign_remembers_too() -> None:
    """A site remembers the roster once it sends its masked vector, since the sum may hold it."""
    carrier, own = federation(5, 1), sites(5)[0]
    carrier.lost = [("mask", site) for site in sites(5)[1:]]
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier)
    assert {stage for stage, _ in carrier.answers} == {"advertise", "share", "mask"}
    carrier.ask("advertise", own, canonical_json(carrier.plan()))
    with pytest.raises(RunRefused):
        carrier.ask("advertise", own, canonical_json(carrier.plan(sites(4))))


def test_a_dropout_that_would_show_one_site_is_refused() -> None:
    """After a sum over all, no site signs a sum over the same roster from which one site 'dropped out'."""
    carrier = federation(6, 2)
    secure_sum(carrier.plan(), carrier)
    carrier.lost = [("mask", sites(6)[5])]
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier)
    assert {stage for stage, _ in carrier.refusals} == {"consistency"}
    assert all(isinstance(error, RunRefused) for error in carrier.refusals.values())


@given(st.sampled_from(STAGES[:4]), st.binary(max_size=60))
@laws
def test_a_damaged_answer_drops_its_site_only(stage: str, rubbish: bytes) -> None:
    """Whatever bytes a site answers with, the others' sum is exact."""
    carrier, bad = federation(6), sites(6)[3]

    def exchange(at: str, requests: dict[SiteId, bytes]) -> dict[SiteId, bytes]:
        answers = dict(carrier(at, requests))
        return answers | {bad: rubbish} if at == stage and bad in answers else answers

    result = secure_sum(carrier.plan(), exchange)  # type: ignore[arg-type] # a plain dict is what the server sends
    assert (result.total == true_sum(carrier.vectors[site] for site in result.survivors)).all()
    assert (bad in result.survivors) == (stage == "consistency")


@given(st.integers(5, 8), st.data())
@laws
def test_the_centre_may_leave_sites_out_of_the_sum(count: int, data: st.DataObject) -> None:
    """Whichever sites are chosen of those that answered, down to the threshold, the sum is exact over these."""
    carrier, chosen = federation(count), set[SiteId]()
    left_out = data.draw(st.sets(st.sampled_from(sites(count)), max_size=count - default_threshold(count)))

    def choose(present: tuple[SiteId, ...]) -> tuple[SiteId, ...]:
        chosen.update(set(present) - left_out)
        return tuple(sorted(chosen))

    result = secure_sum(carrier.plan(), carrier, choose=choose)
    assert set(result.survivors) == chosen
    assert (result.total == true_sum(carrier.vectors[site] for site in chosen)).all()


def test_a_million_words_take_seconds() -> None:
    """Four sites sum a million words each, one dropping out after sharing, within the test's time."""
    words = {site: random_words(1_000_000) for site in sites(4)}
    carrier = Federation(words, lost=[("mask", sites(4)[1])])
    result = secure_sum(carrier.plan(), carrier)
    assert (result.total == true_sum([vector for site, vector in words.items() if site != sites(4)[1]])).all()


def test_an_error_wipes_the_sessions_secrets() -> None:
    """A refused request ends the session: nothing that could unmask is left at the site."""
    carrier = federation(3)
    server = SumServer(carrier.plan())
    server.adverts(carrier("advertise", server.start()))
    session = next(iter(carrier.remembered[sites(3)[0]].states))
    with pytest.raises(RicordError):
        carrier.ask("share", sites(3)[0], canonical_json({"session": session, "adverts": []}))
    assert not carrier.remembered[sites(3)[0]].states
