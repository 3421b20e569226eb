"""A site's side of a secure sum: five answers, each given once, each after checks that the server cannot bypass.

The client keeps nothing in its own memory: between stages its secrets lie in a `SessionMemory`, so that a stage may
run in a fresh process. Whatever goes wrong ends the session here and wipes its secrets.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from pydantic import Field

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import SecureSumRefused
from shared.errors.trust import SignatureInvalid
from shared.federation.secure_sum import masks, shamir, vectors
from shared.federation.secure_sum.memory import SessionMemory
from shared.federation.secure_sum.messages import (
    Advert,
    Answered,
    Hex32,
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
from shared.federation.secure_sum.policy import SumPolicy, refuse_near_repeat
from shared.federation.secure_sum.vectors import Words
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json

_Request = ShareRequest | Parcels | SurvivorsRequest | UnmaskRequest
_REQUESTS: MappingProxyType[str, type[_Request]] = MappingProxyType(
    {"share": ShareRequest, "mask": Parcels, "consistency": SurvivorsRequest, "unmask": UnmaskRequest}
)


class Contribution(Protocol):
    """A site's contribution to a sum."""

    def approve(self, plan: SumPlan) -> None:
        """Return when the site takes part in this plan; else raise, for example `RunRefused`."""
        ...

    def vector(self, plan: SumPlan) -> Words:
        """The site's `plan.length` words, shape (length,); negative numbers modulo 2^64."""
        ...


class _State(Frozen):
    """A session's secrets between two stages."""

    plan: SumPlan
    channel: Hex32 = Field(repr=False)
    mask: Hex32 = Field(repr=False)
    seed: Hex32 = Field(repr=False)
    adverts: tuple[SignedAdvert, ...] = ()
    shares: dict[SiteId, tuple[str, str]] = Field(default={}, repr=False)  # by sharer: of its seed, of its mask key
    accused: tuple[SiteId, ...] = ()  # sharers whose shares are not what they committed to
    survivors: tuple[SiteId, ...] = ()

    @property
    def signed_by_all(self) -> bytes:
        return survivors_bytes(self.plan, self.adverts, self.sharers, self.survivors)

    @property
    def sharers(self) -> tuple[SiteId, ...]:
        return *self.shares, *self.accused

    @property
    def view(self) -> Sha256:  # reads every advert: once for an answer, not for each peer
        return view_of(self.adverts)

    def advert_of(self, site: SiteId) -> Advert:
        for signed in self.adverts:
            if signed.advert.site_id == site:
                return signed.advert
        raise SecureSumRefused(problem=f"site {site} showed no round keys")


@dataclass(frozen=True)
class SumClient:
    """One site, its keys and its terms. `coordinator` is the key that plans must be signed with."""

    site_id: SiteId
    key: SigningKey
    coordinator: VerifyKey
    policy: SumPolicy
    memory: SessionMemory

    def answer(self, stage: str, payload: bytes, contribution: Contribution) -> bytes:
        """Answer one request of the server.

        Raises `SecureSumRefused`, `SignatureInvalid`, `TooFewSites`, `RunRefused` or what `contribution` raises; then
        the session is over at this site.
        """
        if stage == "advertise":
            return canonical_json(self._advertise(parse(payload, SignedPlan, stage), contribution))
        if stage not in _REQUESTS:
            raise SecureSumRefused(problem="there is no such stage")
        request = parse(payload, _REQUESTS[stage], stage)
        state = parse(self.memory.load(request.session), _State, stage)
        self.memory.claim(request.session, stage)
        try:
            return self._answer(state, request, contribution)
        except BaseException:
            self.memory.wipe(request.session)
            raise

    def _answer(self, state: _State, request: _Request, contribution: Contribution) -> bytes:
        match request:
            case ShareRequest():
                return canonical_json(self._share(state, request))
            case Parcels():
                return self._mask(state, request, contribution)
            case SurvivorsRequest():
                return canonical_json(self._consistency(state, request))
            case UnmaskRequest():
                return canonical_json(self._unmask(state, request))

    def _advertise(self, signed: SignedPlan, contribution: Contribution) -> SignedAdvert:
        """Agree to the plan, or not; make this session's keys."""
        plan = signed.verified(self.coordinator)
        if plan.key_of(self.site_id) != self.key.public:
            raise SecureSumRefused(problem="the roster gives this site another key")
        self.policy.check_plan(plan, self.site_id)
        refuse_near_repeat(self.memory.answered(plan.subject), plan.sites, None, self.policy, self.site_id)
        contribution.approve(plan)
        self.memory.claim(plan.session, "advertise")
        channel, mask, seed = masks.new_secret(), masks.new_secret(), masks.new_secret()
        self._save(_State(plan=plan, channel=channel.hex(), mask=mask.hex(), seed=seed.hex()))
        advert = Advert(
            plan=plan.digest,
            site_id=self.site_id,
            channel=masks.public_of(channel).hex(),
            mask=masks.public_of(mask).hex(),
            commitment=masks.commitment(seed, plan.session, self.site_id),
            answered=self.memory.answered(plan.subject),
        )
        return SignedAdvert(advert=advert, signature=self.key.sign(canonical_json(advert)))

    def _share(self, state: _State, request: ShareRequest) -> Parcels:
        """Split seed and mask key among those whose signed round keys came."""
        plan, adverts = state.plan, [signed.verified(state.plan) for signed in request.adverts]
        sites = self._checked(plan, [advert.site_id for advert in adverts])
        refuse_near_repeat(_answered(request.adverts), plan.sites, None, self.policy, self.site_id)
        places = [plan.place_of(site) for site in sites]
        seeds = shamir.split(bytes.fromhex(state.seed), plan.threshold, places)
        keys = shamir.split(bytes.fromhex(state.mask), plan.threshold, places)
        shares = {site: (seeds[place].hex(), keys[place].hex()) for site, place in zip(sites, places, strict=True)}
        own = {self.site_id: shares[self.site_id]}
        state = state.model_copy(update={"adverts": request.adverts, "shares": own})
        self._save(state)
        view = state.view
        parcels, digests = dict[SiteId, str](), dict[SiteId, ShareDigests]()
        for site, (seed, key) in shares.items():
            route = (self.site_id, site)
            digests[site] = ShareDigests.of((seed, key), view, route, self.key)
            if site != self.site_id:
                plain = bytes.fromhex(seed + key)
                parcels[site] = masks.seal_parcel(_channel(state, site), route, view.encode(), plain).hex()
        return Parcels(session=plan.session, parcels=parcels, digests=digests)

    def _mask(self, state: _State, request: Parcels, contribution: Contribution) -> bytes:
        """Keep the peers' shares; add this site's own mask and one mask with each peer that shared.

        A peer whose share is not what it committed to is accused; its mask is there all the same, and the sum stays
        whole as long as enough others hold a share of it.
        """
        plan = state.plan
        self._checked(plan, [self.site_id, *request.parcels])
        view = state.view
        opened = {sender: self._opened(state, view, sender, request) for sender in request.parcels}
        shares = {**state.shares, **{sender: pair for sender, pair in opened.items() if pair is not None}}
        accused = tuple(sender for sender in request.parcels if sender not in shares)
        if len(shares) < plan.threshold:
            raise SecureSumRefused(problem=f"the shares from {', '.join(accused)} are not for this site and session")
        self._save(state.model_copy(update={"shares": shares, "accused": accused}))
        self._remember(state, ())  # here, since others can complete the sum without asking this site again
        words = contribution.vector(plan)
        if words.shape != (plan.length,) or words.dtype != np.uint64:
            raise SecureSumRefused(problem="the vector has another length or kind than the plan")
        total = words.copy()
        vectors.add_mask(total, masks.self_key(bytes.fromhex(state.seed), plan.session, self.site_id))
        for peer in request.parcels:
            public = bytes.fromhex(state.advert_of(peer).mask)
            key = masks.pair_key(bytes.fromhex(state.mask), public, plan.session, (self.site_id, peer))
            vectors.add_mask(total, key, subtract=self.site_id > peer)
        return vectors.pack_masked(plan, vectors.Masked(total, accused))

    def _consistency(self, state: _State, request: SurvivorsRequest) -> SignatureAnswer:
        """Sign the only list of survivors that this site will unmask."""
        plan, survivors = state.plan, self._checked(state.plan, request.survivors)
        if not set(survivors) <= set(state.sharers):
            raise SecureSumRefused(problem="a site is named as a survivor that never gave shares")
        self._remember(state, survivors)
        state = state.model_copy(update={"survivors": survivors})
        self._save(state)
        return SignatureAnswer(session=plan.session, signature=self.key.sign(state.signed_by_all))

    def _unmask(self, state: _State, request: UnmaskRequest) -> Unmasking:
        """Give seed shares of the survivors and key shares of the dropped, once enough survivors signed one list."""
        plan, signers = state.plan, set(request.signatures)
        if not signers <= set(state.survivors) or len(signers) < plan.threshold:
            raise SecureSumRefused(problem="too few survivors signed the list of survivors")
        signed = state.signed_by_all
        for site, signature in request.signatures.items():
            plan.key_of(site).verify(signed, signature, what="the list of survivors")
        self.memory.wipe(plan.session)
        dropped = set(state.shares) - set(state.survivors)
        return Unmasking(
            session=plan.session,
            seeds={site: state.shares[site][0] for site in state.survivors if site in state.shares},
            keys={site: state.shares[site][1] for site in sorted(dropped)},
        )

    def _remember(self, state: _State, survivors: tuple[SiteId, ...]) -> None:
        """Remember this answer and whatever the others have answered, unless one of them forbids it."""
        plan, heard = state.plan, _answered(state.adverts)

        def allow(previous: Sequence[Answered]) -> None:
            refuse_near_repeat([*previous, *heard], plan.sites, survivors, self.policy, self.site_id)

        self.memory.remember(plan.subject, [Answered(roster=plan.sites, survivors=survivors), *heard], allow)

    def _checked(self, plan: SumPlan, sites: Collection[SiteId]) -> tuple[SiteId, ...]:
        """`sites`, ascending: each once, this one among them, enough of them; whoever shared is of the roster."""
        if len(set(sites)) != len(sites) or self.site_id not in sites:
            raise SecureSumRefused(problem="a site is named twice, or this one is not among those named")
        self.policy.check_survivors(plan, self.site_id, sites)
        return tuple(sorted(sites))

    def _opened(self, state: _State, view: Sha256, sender: SiteId, request: Parcels) -> tuple[str, str] | None:
        """The sender's two shares; `None` when they are not for this site and session, or not what it committed to."""
        route, sealed, digests = (sender, self.site_id), request.parcels[sender], request.digests.get(sender)
        channel = _channel(state, sender)
        try:
            plain = masks.open_parcel(channel, route, view.encode(), bytes.fromhex(sealed)).hex()
            shares = plain[: 2 * shamir.SHARE_BYTES], plain[2 * shamir.SHARE_BYTES :]
            if digests is None or not digests.fit(shares, route):
                return None
            digests.verify(view, route, state.plan.key_of(sender))
        except (SecureSumRefused, SignatureInvalid):
            return None
        return shares

    def _save(self, state: _State) -> None:
        self.memory.save(state.plan.session, state.model_dump_json().encode())


def _answered(adverts: Iterable[SignedAdvert]) -> tuple[Answered, ...]:
    """What any of the sites answered on the subject, each once."""
    return tuple(dict.fromkeys(answer for signed in adverts for answer in signed.advert.answered))


def _channel(state: _State, peer: SiteId) -> masks.Channel:
    return masks.Channel(bytes.fromhex(state.channel), bytes.fromhex(state.advert_of(peer).channel), state.plan.session)
