"""The centre's side of a secure sum: it passes sealed parcels on, and finally unmasks the sum only.

An answer that is damaged, foreign or missing drops its site; the sum goes on over the rest as long as the threshold
holds, and stops with `TooFewSites` below it.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import SecureSumRefused, TooFewSites, WrongShares
from shared.federation.exchange import Exchange
from shared.federation.secure_sum import masks, shamir, vectors
from shared.federation.secure_sum.messages import (
    STAGES,
    Parcels,
    ShareDigests,
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
    view_of,
)
from shared.federation.secure_sum.policy import MINIMUM
from shared.federation.secure_sum.vectors import Words
from shared.ids import SiteId

Requests = dict[SiteId, bytes]
Answers = Mapping[SiteId, bytes]
Read = TypeVar("Read")
_Kind = TypeVar("_Kind", Parcels, SignatureAnswer, Unmasking)

Refuse = Callable[[SiteId, str], None]  # is called with a site that lies or errs, and how
Choose = Callable[[tuple[SiteId, ...]], tuple[SiteId, ...]]

_log = logging.getLogger(__name__)


def _log_refusal(site: SiteId, reason: str) -> None:
    _log.warning("site %s in a secure sum: %s", site, reason)


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


def secure_sum(
    signed: SignedPlan,
    exchange: Exchange,
    *,
    refuse: Refuse = _log_refusal,
    choose: Choose = lambda present: present,
    without: Collection[SiteId] = (),
) -> Sum:
    """Run one session over `exchange`, not asking the sites in `without`; `refuse` hears of each liar.

    `choose` says of the sites whose masked vectors came which ones to sum.

    Raises `TooFewSites`, `WrongShares` or `SecureSumRefused`; then there is no result.
    """
    server = SumServer(signed, refuse, choose)
    steps: dict[str, Callable[[Answers], Requests]] = {
        "advertise": server.adverts,
        "share": server.parcels,
        "mask": server.masked,
        "consistency": server.signatures,
    }
    requests = {site: request for site, request in server.start().items() if site not in without}
    for stage, step in steps.items():
        requests = step(exchange(stage, requests))
    return server.total(exchange(STAGES[-1], requests))


def sum_without_liars(
    plan: SumPlan,
    key: SigningKey,
    exchange: Exchange,
    *,
    refuse: Refuse = _log_refusal,
    choose: Choose = lambda present: present,
) -> Sum:
    """Sign `plan` and sum; where shares are wrong, once more without those that gave them. Raises as `secure_sum`."""
    try:
        return secure_sum(SignedPlan.of(plan, key), exchange, refuse=refuse, choose=choose)
    except WrongShares as error:
        again = plan.model_copy(update={"session": secrets.token_hex(16)})
        liars = [SiteId(site) for site in error.fields["sites"].split(", ")]
        return secure_sum(SignedPlan.of(again, key), exchange, refuse=refuse, choose=choose, without=liars)


class SumServer:
    """One session's state. Each method accepts one stage's answers and returns the next stage's requests."""

    def __init__(
        self, signed: SignedPlan, refuse: Refuse = _log_refusal, choose: Choose = lambda present: present
    ) -> None:
        self._signed = signed
        self._plan = signed.plan
        self._refuse = refuse
        self._choose = choose
        self._adverts: dict[SiteId, SignedAdvert] = {}
        self._digests: dict[SiteId, dict[SiteId, ShareDigests]] = {}  # by sharer and holder
        self._accused: dict[SiteId, set[SiteId]] = {}  # by sharer: who has no share of it
        self._survivors: tuple[SiteId, ...] = ()
        self._total: Words = np.zeros(signed.plan.length, dtype=np.uint64)

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
        """Accept parcels of shares and what they commit to; requests of `mask`, to each site what is for it."""

        def read(site: SiteId, payload: bytes) -> Parcels:
            parcels = self._of_session(parse(payload, Parcels, "share"))
            if set(parcels.parcels) != set(self._adverts) - {site} or set(parcels.digests) != set(self._adverts):
                raise SecureSumRefused(problem="shares are missing or too many")
            for holder, digests in parcels.digests.items():
                digests.verify(view, (site, holder), self._plan.key_of(site))
            return parcels

        view = view_of(tuple(self._adverts.values()))
        shared = self._accept(answers, read, self._adverts)
        self._digests = {site: parcels.digests for site, parcels in shared.items()}
        return {
            site: Parcels(
                session=self._plan.session,
                parcels={sender: parcels.parcels[site] for sender, parcels in shared.items() if sender != site},
                digests={sender: parcels.digests[site] for sender, parcels in shared.items() if sender != site},
            )
            .model_dump_json()
            .encode()
            for site in shared
        }

    def masked(self, answers: Answers) -> Requests:
        """Accept masked vectors; requests of `consistency`.

        Raises `WrongShares` for a sharer whose shares too few sites hold: its masks could not be removed.
        """
        masked = self._accept(answers, lambda _, payload: vectors.unpack_masked(payload, self._plan), self._digests)
        self._accused = {site: {peer for peer in masked if site in masked[peer].accused} for site in self._digests}
        for site, accusers in self._accused.items():
            if accusers:
                self._refuse(site, f"{', '.join(accusers)} say that its shares are not what it committed to")
        self._survivors = self._choose(tuple(masked))
        self._check_enough(self._survivors)
        unheld = len(self._survivors) - self._plan.threshold  # how many survivors may be without a share of a site
        liars = [site for site, accusers in self._accused.items() if len(accusers & set(self._survivors)) > unheld]
        if liars:
            raise WrongShares(sites=", ".join(liars))
        for site in self._survivors:
            self._total += masked[site].words
        request = SurvivorsRequest(session=self._plan.session, survivors=self._survivors)
        return dict.fromkeys(self._survivors, request.model_dump_json().encode())

    def signatures(self, answers: Answers) -> Requests:
        """Accept signatures on the list of survivors; requests of `unmask`."""
        signed = survivors_bytes(self._plan, tuple(self._adverts.values()), self._digests, self._survivors)

        def read(site: SiteId, payload: bytes) -> str:
            answer = self._of_session(parse(payload, SignatureAnswer, "consistency"))
            self._plan.key_of(site).verify(signed, answer.signature, what="the list of survivors")
            return answer.signature

        signatures = self._accept(answers, read, self._survivors)
        request = UnmaskRequest(session=self._plan.session, signatures=signatures)
        return dict.fromkeys(signatures, request.model_dump_json().encode())

    def total(self, answers: Answers) -> Sum:
        """Accept the shares that unmask, without those of a site that gives a wrong one; the sum.

        Raises `SecureSumRefused` for a site whose shares, as it committed to them, do not give its secret: the
        survivors have signed, so no session without it may follow.
        """
        dropped = [site for site in self._digests if site not in self._survivors]

        def read(holder: SiteId, payload: bytes) -> Unmasking:
            answer = self._of_session(parse(payload, Unmasking, "unmask"))
            held = {site for site in self._digests if holder not in self._accused[site]}
            if set(answer.seeds) != held & set(self._survivors) or set(answer.keys) != held & set(dropped):
                raise SecureSumRefused(problem="shares are missing or too many")
            for site, share in (*answer.seeds.items(), *answer.keys.items()):
                use: Literal["seed", "key"] = "seed" if site in answer.seeds else "key"
                if not self._digests[site][holder].fits(use, share, (site, holder)):
                    raise SecureSumRefused(problem=f"its share of site {site} is not the one it was given")
            return answer

        parts = self._accept(answers, read, self._survivors)
        for site in self._survivors:
            seed = self._rebuilt(site, {peer: part.seeds[site] for peer, part in parts.items() if site in part.seeds})
            if masks.commitment(seed, self._plan.session, site) != self._adverts[site].advert.commitment:
                raise self._inconsistent(site)
            vectors.add_mask(self._total, masks.self_key(seed, self._plan.session, site), subtract=True)
        for site in dropped:
            key = self._rebuilt(site, {peer: part.keys[site] for peer, part in parts.items() if site in part.keys})
            if masks.public_of(key).hex() != self._adverts[site].advert.mask:
                raise self._inconsistent(site)
            self._remove_pairs(site, key)
        return Sum(plan=self._plan, total=self._total, survivors=self._survivors)

    def _remove_pairs(self, dropped: SiteId, key: bytes) -> None:
        """Take the masks of a dropped site out of the survivors' vectors."""
        for site in self._survivors:
            public = bytes.fromhex(self._adverts[site].advert.mask)
            pair = masks.pair_key(key, public, self._plan.session, (site, dropped))
            vectors.add_mask(self._total, pair, subtract=site < dropped)

    def _rebuilt(self, site: SiteId, shares: Mapping[SiteId, str]) -> bytes:
        """The secret of `site`, from shares that are what it committed to."""
        if len(shares) < self._plan.threshold:
            raise TooFewSites(present=str(len(shares)), minimum=str(self._plan.threshold))
        try:
            return shamir.combine(
                {
                    self._plan.place_of(peer): bytes.fromhex(shares[peer])
                    for peer in list(shares)[: self._plan.threshold]
                }
            )
        except ValueError:
            raise self._inconsistent(site) from None

    def _inconsistent(self, site: SiteId) -> SecureSumRefused:
        problem = "the shares that it committed to do not give its secret"
        self._refuse(site, problem)
        return SecureSumRefused(problem=f"site {site}: {problem}")

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
                self._refuse(site, error.public)
        self._check_enough(accepted)
        return accepted

    def _check_enough(self, sites: Collection[SiteId]) -> None:
        minimum = max(self._plan.threshold, MINIMUM)
        if len(sites) < minimum:
            raise TooFewSites(present=str(len(sites)), minimum=str(minimum))
