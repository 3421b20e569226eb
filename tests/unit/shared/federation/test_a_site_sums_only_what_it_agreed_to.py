"""A site answers each stage only to what it agreed to; every other request ends the session there."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import RunRefused, SecureSumRefused, TooFewSites
from shared.errors.trust import SignatureInvalid
from shared.federation.secure_sum.client import _State
from shared.federation.secure_sum.messages import Peer, SignedPlan, SumPlan
from shared.federation.secure_sum.server import SumServer, secure_sum
from shared.federation.secure_sum.vectors import Words, unpack_masked
from shared.ids import SiteId
from shared.manifest import canonical_json
from tests.factories.summing import Approving, Federation, federation, sites

OWN = sites(1)[0]
Message = dict[str, Any]


class Refusing(Approving):
    """A contribution whose site takes part in nothing."""

    def approve(self, plan: SumPlan) -> None:
        """Refuse."""
        raise RunRefused(problem="not this")


def begun(carrier: Federation, stage: str, signed: SignedPlan | None = None) -> Message:
    """The request of `stage` to the first site, after the stages before."""
    server = SumServer(signed or carrier.plan())
    requests = server.start()
    for at, step in (("advertise", server.adverts), ("share", server.parcels), ("mask", server.masked),
                     ("consistency", server.signatures)):  # fmt: skip
        if at == stage:
            break
        requests = step(carrier(at, requests))
    message: Message = json.loads(requests[OWN])
    return message


def refused(carrier: Federation, stage: str, message: Message, error: type[RicordError] = SecureSumRefused) -> None:
    """The first site refuses, and has no secrets left by which it could answer later."""
    with pytest.raises(error):
        carrier.ask(stage, OWN, canonical_json(message))
    assert not carrier.remembered[OWN].states


def test_a_site_joins_only_what_it_approves() -> None:
    """A refusal leaves no trace: the same session may be asked for again."""
    carrier = federation(3)
    payload = canonical_json(carrier.plan())
    with pytest.raises(RunRefused):
        carrier.client(OWN).answer("advertise", payload, Refusing(carrier.vectors[OWN]))
    assert not carrier.remembered[OWN].states
    assert carrier.ask("advertise", OWN, payload)


def test_a_plan_is_the_coordinators_and_gives_the_site_its_own_key() -> None:
    """Signed by another key, changed after it was signed, or with another key for this site, it is refused."""
    carrier = federation(3)
    signed = carrier.plan()
    other = tuple(
        peer if peer.site_id != OWN else Peer(site_id=OWN, verify_key=SigningKey.generate().public.text)
        for peer in signed.plan.roster
    )
    for plan, error in (
        (SignedPlan.of(signed.plan, SigningKey.generate()), SignatureInvalid),
        (signed.model_copy(update={"plan": signed.plan.model_copy(update={"length": 2})}), SignatureInvalid),
        (SignedPlan.of(signed.plan.model_copy(update={"roster": other}), carrier.coordinator), SecureSumRefused),
    ):
        with pytest.raises(error):
            carrier.ask("advertise", OWN, canonical_json(plan))
    strangers = carrier.plan(sites(3)[1:], threshold=2)
    with pytest.raises(SecureSumRefused, match="roster"):
        carrier.ask("advertise", OWN, canonical_json(strangers))


@pytest.mark.parametrize("stage", ["", "unknown", "state"])
def test_only_five_stages_are_answered(stage: str) -> None:
    """Any other name is refused, whatever it carries."""
    carrier = federation(3)
    with pytest.raises(SecureSumRefused):
        carrier.ask(stage, OWN, canonical_json(begun(carrier, "share")))


@pytest.mark.parametrize("stage", ["share", "mask", "consistency", "unmask"])
def test_a_stage_is_answered_in_a_session_that_was_begun(stage: str) -> None:
    """Not in one that nobody knows, and not by what is no request of the stage."""
    carrier = federation(3)
    message = begun(carrier, stage)
    for wrong in (message | {"session": "f" * 32}, {"session": message["session"]}, message | {"more": 1}):
        with pytest.raises(SecureSumRefused):
            carrier.ask(stage, OWN, canonical_json(wrong))
    assert carrier.ask(stage, OWN, canonical_json(message))


@pytest.mark.parametrize("stage", ["share", "mask", "consistency", "unmask"])
def test_a_stage_is_answered_once(stage: str) -> None:
    """Also while the session goes on: a second vector under other masks would show the first."""
    carrier = federation(3)
    payload = canonical_json(begun(carrier, stage))
    carrier.ask(stage, OWN, payload)
    with pytest.raises(SecureSumRefused):
        carrier.ask(stage, OWN, payload)


def drop(name: str, site: SiteId) -> Callable[[Message], Message]:
    """The message without a site's entry."""

    def without(message: Message) -> Message:
        entries = message[name]
        if isinstance(entries, dict):
            return message | {name: {key: value for key, value in entries.items() if key != site}}
        kept = [entry for entry in entries if (entry if isinstance(entry, str) else entry["advert"]["site_id"]) != site]
        return message | {name: kept}

    return without


@pytest.mark.parametrize(
    ("stage", "name"), [("share", "adverts"), ("consistency", "survivors")], ids=["round keys", "survivors"]
)
def test_the_sites_named_are_of_the_roster_with_this_site_once_each(stage: str, name: str) -> None:
    """One twice, one too many, the site itself left out, or too few: refused."""
    changes: list[tuple[Callable[[Message], Message], type[RicordError]]] = [
        (drop(name, OWN), SecureSumRefused),
        (lambda message: message | {name: [*message[name], message[name][1]]}, SecureSumRefused),
        (lambda message: message | {name: message[name][:2]}, TooFewSites),
    ]
    if name == "survivors":
        changes.append((lambda message: message | {name: [*message[name], "999999"]}, SecureSumRefused))
    for change, error in changes:
        carrier = federation(4)
        refused(carrier, stage, change(begun(carrier, stage)), error)


@pytest.mark.parametrize(("at", "name"), [("share", "channel"), ("mask", "mask")])
def test_a_round_key_that_gives_no_secret_is_refused(at: str, name: str) -> None:
    """A point of low order, with which every exchange gives the same: also where its site signed it."""
    carrier, liar = federation(4), sites(4)[1]

    def exchange(stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        answers = dict(carrier(stage, requests))
        if stage == "advertise":
            advert = json.loads(answers[liar])["advert"] | {name: "00" * 32}
            answers[liar] = canonical_json(
                {"advert": advert, "signature": carrier.keys[liar].sign(canonical_json(advert))}
            )
        return answers

    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), exchange)
    for site in set(sites(4)) - {liar}:
        assert "cannot be used" in carrier.refusals[at, site].public
        assert not carrier.remembered[site].states


def test_a_share_without_its_digest_accuses_its_sharer() -> None:
    """As a wrong one does; the vector goes out all the same, and names the sharer."""
    carrier, sharer = federation(6), sites(6)[3]
    message, signed = begun(carrier, "mask"), carrier.plan()
    digests = {site: digest for site, digest in message["digests"].items() if site != sharer}
    answer = carrier.ask("mask", OWN, canonical_json(message | {"digests": digests}))
    plan = signed.plan.model_copy(update={"session": message["session"]})
    assert unpack_masked(answer, plan).accused == (sharer,)


def test_no_survivor_is_named_that_never_shared() -> None:
    """Its masks could never be removed, and its share of the seed is nobody's."""
    silent = sites(5)[4]
    carrier = federation(5, lost=[("share", silent)])
    message = begun(carrier, "consistency")
    assert silent not in message["survivors"]
    refused(carrier, "consistency", message | {"survivors": [*message["survivors"], silent]})


def test_shares_are_kept_only_of_enough_peers_that_gave_right_ones() -> None:
    """Below the threshold of right shares, and with those of a stranger, the site sends no vector."""
    carrier = federation(5)
    message = begun(carrier, "mask")
    peers = sorted(message["parcels"])
    spoiled = {peer: message["parcels"][peer][::-1] for peer in peers[:3]}
    refused(carrier, "mask", message | {"parcels": message["parcels"] | spoiled})
    carrier = federation(5)
    message = begun(carrier, "mask")
    stranger = {"999999": message["parcels"][peers[0]]}
    refused(carrier, "mask", message | {"parcels": message["parcels"] | stranger})
    for few in (2, 1):
        carrier = federation(5)
        message = begun(carrier, "mask")
        refused(carrier, "mask", message | {"parcels": {peer: message["parcels"][peer] for peer in peers[:few]}},
                TooFewSites)  # fmt: skip


@pytest.mark.parametrize(
    "vector",
    [np.zeros(2, np.uint64), np.zeros(4, np.uint64), np.zeros((3, 1), np.uint64), np.zeros(3, np.int64), np.zeros(3)],
    ids=["short", "long", "matrix", "signed", "real"],
)
def test_a_vector_is_as_long_as_the_plan_and_of_its_words(vector: Words) -> None:
    """Any other is a fault of the site's own task, and nothing of it leaves."""
    carrier = federation(3)
    message = begun(carrier, "mask")
    with pytest.raises(SecureSumRefused):
        carrier.client(OWN).answer("mask", canonical_json(message), Approving(vector))
    assert not carrier.remembered[OWN].states


def test_the_sites_own_vector_stays_as_it_is() -> None:
    """It is masked in a copy."""
    carrier = federation(3)
    before = carrier.vectors[OWN].copy()
    carrier.ask("mask", OWN, canonical_json(begun(carrier, "mask")))
    assert (carrier.vectors[OWN] == before).all()


def test_nothing_is_unmasked_before_enough_survivors_signed_one_list() -> None:
    """Fewer signatures than the threshold, one of a site that is no survivor, or one over another list: refused."""
    dropped = sites(6)[5]

    def survived() -> tuple[Federation, Message]:
        carrier = federation(6, lost=[("mask", dropped)])
        return carrier, begun(carrier, "unmask")

    carrier, message = survived()
    signatures = message["signatures"]
    threshold = json.loads(carrier.requests["advertise", OWN])["plan"]["threshold"]
    few = dict(list(signatures.items())[: threshold - 1])
    refused(carrier, "unmask", message | {"signatures": few})
    changes: list[Callable[[Message], Message]] = [
        lambda signatures: signatures | {dropped: signatures[OWN]},
        lambda signatures: signatures | {OWN: signatures[sites(6)[1]]},
        lambda signatures: signatures | {OWN: "AAAA"},
    ]
    for change in changes:
        carrier, message = survived()
        refused(carrier, "unmask", message | {"signatures": change(message["signatures"])},
                SecureSumRefused if dropped in change(message["signatures"]) else SignatureInvalid)  # fmt: skip
    carrier, message = survived()
    enough = dict(list(message["signatures"].items())[:threshold])
    answer = json.loads(carrier.ask("unmask", OWN, canonical_json(message | {"signatures": enough})))
    assert (set(answer["keys"]), set(answer["seeds"])) == ({dropped}, set(sites(6)) - {dropped})


def test_what_a_site_keeps_between_stages_is_not_printed() -> None:
    """A traceback that shows the state shows no secret of it."""
    carrier = federation(3)
    begun(carrier, "mask")
    [state] = [_State.model_validate_json(kept) for kept in carrier.remembered[OWN].states.values()]
    shares = [share for pair in state.shares.values() for share in pair]
    assert shares
    for secret in (state.channel, state.mask, state.seed, *shares):
        assert secret not in repr(state)
