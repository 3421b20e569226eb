"""What travels in a secure-sum session as canonical JSON; vectors are beside it, in `vectors`.

Everything signed carries a `format` and the plan's digest, so that no signature or message of one session fits
another. Sites stand in the plan's roster in ascending order of SITEID; a site's place there, from 1, is where its
Shamir shares lie.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import SecureSumRefused
from shared.federation.secure_sum import masks
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json

STAGES = ("advertise", "share", "mask", "consistency", "unmask")

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", max_length=1024)]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Session = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Message = TypeVar("Message", bound=Frozen)


class Peer(Frozen):
    """A site of the roster and its registered Ed25519 key, as one OpenSSH line."""

    site_id: SiteId
    verify_key: str

    @property
    def key(self) -> VerifyKey:
        """The parsed key; raises `InvalidIdentifier`."""
        return VerifyKey.parse(self.verify_key)


class SumPlan(Frozen):
    """What one session sums, over which sites, and how many of them must stay; signed by the coordinator."""

    format: Literal["ricord-secure-sum/1"] = "ricord-secure-sum/1"
    session: Session
    subject: str = Field(min_length=1, max_length=200)  # what is summed; a site remembers whom it answered on it
    protocol_digest: Sha256
    length: int = Field(ge=1, le=2**27)  # 64-bit words
    roster: tuple[Peer, ...]
    threshold: int = Field(ge=1)
    inputs: str = Field(default="", max_length=200)  # what else each site must have been given, by digest: all alike
    cells: str = Field(default="", max_length=63)  # the policy by which small cells of the sum are hidden, if any are

    @model_validator(mode="after")
    def _roster_is_a_set(self) -> Self:
        if list(self.sites) != sorted(set(self.sites)):
            raise ValueError("the roster is not in ascending order or names a site twice")
        if len({peer.verify_key for peer in self.roster}) != len(self.roster):
            raise ValueError("two sites of the roster have one key")
        if self.threshold > len(self.roster):
            raise ValueError("the threshold is above the number of sites")
        return self

    @property
    def sites(self) -> tuple[SiteId, ...]:
        """The roster's SITEIDs, ascending."""
        return tuple(peer.site_id for peer in self.roster)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON: the session's name in everything signed."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())

    def key_of(self, site: SiteId) -> VerifyKey:
        """The registered key of a site of the roster; raises `SecureSumRefused` for any other."""
        for peer in self.roster:
            if peer.site_id == site:
                return peer.key
        raise SecureSumRefused(problem=f"site {site} is not in the roster")

    def place_of(self, site: SiteId) -> int:
        """Where a site's Shamir shares lie, from 1."""
        return self.sites.index(site) + 1


class SignedPlan(Frozen):
    """Request of `advertise`: the plan and the coordinator's signature over its canonical JSON."""

    plan: SumPlan
    signature: str

    @classmethod
    def of(cls, plan: SumPlan, key: SigningKey) -> Self:
        """Sign `plan`."""
        return cls(plan=plan, signature=key.sign(canonical_json(plan)))

    def verified(self, key: VerifyKey) -> SumPlan:
        """The plan, once its signature is verified as `key`'s; raises `SignatureInvalid`."""
        key.verify(canonical_json(self.plan), self.signature, what="the plan of the secure sum")
        return self.plan


class Answered(Frozen):
    """The sites of one answered session on one subject: the planned roster and the survivors.

    No survivors: the site sent its masked vector and was not asked, or not yet, to sign the list of survivors.
    """

    roster: tuple[SiteId, ...]
    survivors: tuple[SiteId, ...] = ()


class Advert(Frozen):
    """A site's round keys (X25519, hexadecimal), the commitment to its self-mask's seed, and what it answered before.

    `answered` are the answers on the plan's subject that the site gave or heard of.
    """

    format: Literal["ricord-secure-sum-advert/1"] = "ricord-secure-sum-advert/1"
    plan: Sha256
    site_id: SiteId
    channel: Hex32  # seals the parcels of shares
    mask: Hex32  # makes the pair masks; its private half is what the key shares give
    commitment: Hex32
    answered: tuple[Answered, ...] = Field(default=(), max_length=10_000)


class SignedAdvert(Frozen):
    """Answer of `advertise`."""

    advert: Advert
    signature: str

    def verified(self, plan: SumPlan) -> Advert:
        """The advert, once it is of this plan and signed by its site's registered key."""
        if self.advert.plan != plan.digest:
            raise SecureSumRefused(problem="a round key belongs to another session")
        key = plan.key_of(self.advert.site_id)
        key.verify(canonical_json(self.advert), self.signature, what=f"the round keys of site {self.advert.site_id}")
        return self.advert


class ShareRequest(Frozen):
    """Request of `share`: everybody's round keys."""

    session: Session
    adverts: tuple[SignedAdvert, ...]


class ShareDigests(Frozen):
    """What a sharer commits to about the two shares of one holder: their digests, signed with its registered key.

    So a holder knows a wrong share when it comes, and the server one that a holder gives back: both name the liar.
    """

    seed: Hex32
    key: Hex32
    signature: str

    @classmethod
    def of(cls, shares: tuple[str, str], view: Sha256, route: tuple[SiteId, SiteId], key: SigningKey) -> Self:
        """Commit to the shares (of the seed, of the mask key) that `route[0]` gives to `route[1]`."""
        seed, mask = (masks.share_digest(share, route, use) for share, use in zip(shares, ("seed", "key"), strict=True))
        return cls(seed=seed, key=mask, signature=key.sign(_share_bytes(view, route, seed, mask)))

    def fit(self, shares: tuple[str, str], route: tuple[SiteId, SiteId]) -> bool:
        """Whether these are the shares that `route[0]` committed to."""
        return self.fits("seed", shares[0], route) and self.fits("key", shares[1], route)

    def fits(self, use: Literal["seed", "key"], share: str, route: tuple[SiteId, SiteId]) -> bool:
        """Whether this is the share of that secret."""
        return masks.share_digest(share, route, use) == (self.seed if use == "seed" else self.key)

    def verify(self, view: Sha256, route: tuple[SiteId, SiteId], key: VerifyKey) -> None:
        """Return when the sharer `route[0]` signed this in the session of that view; else raise `SignatureInvalid`."""
        key.verify(_share_bytes(view, route, self.seed, self.key), self.signature, what=f"the shares of {route[0]}")


def _share_bytes(view: Sha256, route: tuple[SiteId, SiteId], seed: str, key: str) -> bytes:
    return canonical_json(
        {"format": "ricord-secure-sum-share/1", "view": view, "route": route, "seed": seed, "key": key}
    )


class Parcels(Frozen):
    """Answer of `share`, by receiver, with digests of the site's own shares, too; request of `mask`, by sender."""

    session: Session
    parcels: dict[SiteId, Hex]
    digests: dict[SiteId, ShareDigests]


class SurvivorsRequest(Frozen):
    """Request of `consistency`: the sites whose masked vectors arrived."""

    session: Session
    survivors: tuple[SiteId, ...]


class Survivors(Frozen):
    """What a survivor signs: its view of the session and the sites left in it."""

    format: Literal["ricord-secure-sum-survivors/1"] = "ricord-secure-sum-survivors/1"
    plan: Sha256
    view: Sha256  # of all adverts
    sharers: tuple[SiteId, ...]  # whose shares were handed out
    survivors: tuple[SiteId, ...]


class SignatureAnswer(Frozen):
    """Answer of `consistency`."""

    session: Session
    signature: str


class UnmaskRequest(Frozen):
    """Request of `unmask`: the survivors' signatures on one list of them."""

    session: Session
    signatures: dict[SiteId, str]


class Unmasking(Frozen):
    """Answer of `unmask`: for each survivor a share of its seed, for each dropped site one of its mask key.

    Those that the site accused in `mask` are left out: it has no share of theirs.
    """

    session: Session
    seeds: dict[SiteId, Hex]
    keys: dict[SiteId, Hex]


def view_of(adverts: tuple[SignedAdvert, ...]) -> Sha256:
    """SHA-256 of all adverts in the roster's order: two sites that were shown different keys have different views."""
    ordered = sorted(adverts, key=lambda signed: signed.advert.site_id)
    return Sha256(hashlib.sha256(canonical_json([signed.model_dump(mode="json") for signed in ordered])).hexdigest())


def survivors_bytes(
    plan: SumPlan, adverts: tuple[SignedAdvert, ...], sharers: Iterable[SiteId], survivors: Iterable[SiteId]
) -> bytes:
    """What each survivor signs: canonical JSON of `Survivors`."""
    return canonical_json(
        Survivors(
            plan=plan.digest,
            view=view_of(adverts),
            sharers=tuple(sorted(sharers)),
            survivors=tuple(sorted(survivors)),
        )
    )


def parse(payload: bytes, kind: type[Message], stage: str) -> Message:
    """Read a message; raises `SecureSumRefused` when it is not one of its kind. Its content is never quoted."""
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        raise SecureSumRefused(problem=f"a message of stage {stage} is damaged or of another kind") from error
