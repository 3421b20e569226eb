"""The centre's side of a secure sum: it passes sealed parcels on, and finally unmasks the sum only.

An answer that is damaged, foreign or missing drops its site; the sum goes on over the rest as long as the threshold
holds, and stops with `TooFewSites` below it.
"""

import itertools
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from shared.errors.base import RicordError
from shared.errors.federation import SecureSumRefused, TooFewSites
from shared.federation.exchange import Exchange
from shared.federation.secure_sum import masks, shamir
from shared.federation.secure_sum.masks import Words
from shared.federation.secure_sum.messages import (
    STAGES,
    Parcels,
    ShareRequest,
    SignatureAnswer,
    SignedAdvert,
    SignedPlan,
    SumPlan,
    SurvivorsRequest,
    Unmasking,
    UnmaskRequest,
    parse,
    survivors_bytes,
    unpack_words,
)
from shared.federation.secure_sum.policy import MINIMUM
from shared.ids import SiteId

Requests = dict[SiteId, bytes]
Answers = Mapping[SiteId, bytes]
Read = TypeVar("Read")
_Kind = TypeVar("_Kind", Parcels, SignatureAnswer, Unmasking)

_log = logging.getLogger(__name__)
_MOST_TRIES = 200  # of sets of shares, when one site's share is wrong


@dataclass(frozen=True)
class Sum:
    """The result: `total` has shape (length,) modulo 2^64; `survivors` are those whose vectors are in it, ascending."""

    plan: SumPlan
    total: Words
    survivors: tuple[SiteId, ...]

    @property
    def signed(self) -> np.typing.NDArray[np.int64]:
        """`total` read as two's complement, for vectors that hold negative numbers."""
        return self.total.view(np.int64)


def secure_sum(signed: SignedPlan, exchange: Exchange) -> Sum:
    """Run one session over `exchange`. Raises `TooFewSites` or `SecureSumRefused`; then there is no result."""
    server = SumServer(signed)
    steps: dict[str, Callable[[Answers], Requests]] = {
        "advertise": server.adverts,
        "share": server.parcels,
        "mask": server.masked,
        "consistency": server.signatures,
    }
    requests = server.start()
    for stage, step in steps.items():
        requests = step(exchange(stage, requests))
    return server.total(exchange(STAGES[-1], requests))


class SumServer:
    """One session's state. Each method accepts one stage's answers and returns the next stage's requests."""

    def __init__(self, signed: SignedPlan) -> None:
        self._signed = signed
        self._plan = signed.plan
        self._adverts: dict[SiteId, SignedAdvert] = {}
        self._sharers: tuple[SiteId, ...] = ()
        self._masked: dict[SiteId, Words] = {}

    def start(self) -> Requests:
        """Requests of `advertise`."""
        payload = self._signed.model_dump_json().encode()
        return dict.fromkeys(self._plan.sites, payload)

    def adverts(self, answers: Answers) -> Requests:
        """Accept round keys; requests of `share`."""

        def read(site: SiteId, payload: bytes) -> SignedAdvert:
            signed = parse(payload, SignedAdvert, "advertise")
            if signed.verified(self._plan).site_id != site:
                raise SecureSumRefused(problem="round keys came from another site than they name")
            return signed

        self._adverts = self._accept(answers, read, self._plan.sites)
        request = ShareRequest(session=self._plan.session, adverts=tuple(self._adverts.values()))
        return dict.fromkeys(self._adverts, request.model_dump_json().encode())

    def parcels(self, answers: Answers) -> Requests:
        """Accept parcels of shares; requests of `mask`, to each site the parcels sealed for it."""

        def read(site: SiteId, payload: bytes) -> Parcels:
            parcels = self._of_session(parse(payload, Parcels, "share"))
            if set(parcels.parcels) != set(self._adverts) - {site}:
                raise SecureSumRefused(problem="shares are missing or too many")
            return parcels

        shared = self._accept(answers, read, self._adverts)
        self._sharers = tuple(shared)
        return {
            site: Parcels(
                session=self._plan.session,
                parcels={sender: parcels.parcels[site] for sender, parcels in shared.items() if sender != site},
            )
            .model_dump_json()
            .encode()
            for site in shared
        }

    def masked(self, answers: Answers) -> Requests:
        """Accept masked vectors; requests of `consistency`."""
        self._masked = self._accept(answers, lambda _, payload: unpack_words(payload, self._plan), self._sharers)
        request = SurvivorsRequest(session=self._plan.session, survivors=tuple(self._masked))
        return dict.fromkeys(self._masked, request.model_dump_json().encode())

    def signatures(self, answers: Answers) -> Requests:
        """Accept signatures on the list of survivors; requests of `unmask`."""
        signed = survivors_bytes(self._plan, tuple(self._adverts.values()), self._sharers, self._masked)

        def read(site: SiteId, payload: bytes) -> str:
            answer = self._of_session(parse(payload, SignatureAnswer, "consistency"))
            self._plan.key_of(site).verify(signed, answer.signature, what="the list of survivors")
            return answer.signature

        signatures = self._accept(answers, read, self._masked)
        request = UnmaskRequest(session=self._plan.session, signatures=signatures)
        return dict.fromkeys(signatures, request.model_dump_json().encode())

    def total(self, answers: Answers) -> Sum:
        """Accept the shares that unmask; the sum. Raises `SecureSumRefused` when they do not fit the commitments."""
        dropped = [site for site in self._sharers if site not in self._masked]

        def read(_: SiteId, payload: bytes) -> Unmasking:
            answer = self._of_session(parse(payload, Unmasking, "unmask"))
            if set(answer.seeds) != set(self._masked) or set(answer.keys) != set(dropped):
                raise SecureSumRefused(problem="shares are missing or too many")
            return answer

        parts = self._accept(answers, read, self._masked)
        total = np.zeros(self._plan.length, dtype=np.uint64)
        for site, words in self._masked.items():
            seed = self._rebuilt(site, {peer: part.seeds[site] for peer, part in parts.items()}, self._seed_fits)
            total += words - masks.self_words(seed, self._plan.session, site, self._plan.length)
        for site in dropped:
            key = self._rebuilt(site, {peer: part.keys[site] for peer, part in parts.items()}, self._key_fits)
            total -= self._masks_with(site, key)
        return Sum(plan=self._plan, total=total, survivors=tuple(self._masked))

    def _masks_with(self, dropped: SiteId, key: bytes) -> Words:
        """The sum of the survivors' masks with a dropped site, as their vectors hold them."""
        total = np.zeros(self._plan.length, dtype=np.uint64)
        for site in self._masked:
            public = bytes.fromhex(self._adverts[site].advert.mask)
            pair = masks.pair_words(key, public, self._plan.session, (site, dropped), self._plan.length)
            total = total + pair if site < dropped else total - pair
        return total

    def _rebuilt(self, site: SiteId, shares: Mapping[SiteId, str], fits: Callable[[SiteId, bytes], bool]) -> bytes:
        """The secret of `site`; another set of shares is tried when one does not fit the commitment."""
        subsets = itertools.islice(itertools.combinations(sorted(shares), self._plan.threshold), _MOST_TRIES)
        for peers in subsets:
            try:
                secret = shamir.combine({self._plan.place_of(peer): bytes.fromhex(shares[peer]) for peer in peers})
            except ValueError:
                continue
            if fits(site, secret):
                return secret
        raise SecureSumRefused(problem=f"the shares of site {site} do not give what it committed to")

    def _seed_fits(self, site: SiteId, seed: bytes) -> bool:
        return masks.commitment(seed, self._plan.session, site) == self._adverts[site].advert.commitment

    def _key_fits(self, site: SiteId, key: bytes) -> bool:
        return masks.public_of(key).hex() == self._adverts[site].advert.mask

    def _of_session(self, message: _Kind) -> _Kind:
        if message.session != self._plan.session:
            raise SecureSumRefused(problem="a message is of another session")
        return message

    def _accept(
        self, answers: Answers, read: Callable[[SiteId, bytes], Read], expected: Collection[SiteId]
    ) -> dict[SiteId, Read]:
        """The readable answers by site, ascending; raises `TooFewSites` when fewer sites are left than must stay."""
        accepted: dict[SiteId, Read] = {}
        for site in sorted(set(answers) & set(expected)):
            try:
                accepted[site] = read(site, answers[site])
            except RicordError as error:
                _log.warning("site %s drops out of secure sum %s: %s", site, self._plan.session, error.public)
        minimum = max(self._plan.threshold, MINIMUM)
        if len(accepted) < minimum:
            raise TooFewSites(present=str(len(accepted)), minimum=str(minimum))
        return accepted
