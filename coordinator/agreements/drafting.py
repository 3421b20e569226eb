"""A draft of an agreement: what a coordinator fills in, how it is checked, and the terms that follow from it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field, ValidationError

from coordinator.agreements.text import agreement_text, text_digest
from coordinator.home.identity import Identity
from coordinator.store.interface import Reading, Work
from coordinator.store.records import Agreement
from shared.agreement import AgreementTerms, CuratorKeys, Line, Mode, Moment, OptionalLine, Scope
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.editions import EditionRange
from shared.errors.inputs import InvalidArgument, NotFound
from shared.frozen import Frozen
from shared.ids import SiteId
from shared.modalities import Modality

_FARTHEST = timedelta(days=36525)  # a first or last day a century away is a slip


class CheckedScope(Scope):
    """A scope as it may be drafted; one that was signed is read as it is."""

    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=100)


class Draft(Frozen):
    """What a coordinator fills in; the rest of the terms follows from the site, the curator and the coordinator."""

    reference: str  # the site's name, or the agreement's id
    curator: str
    modes: tuple[Mode, ...] = Field(min_length=1)
    scope: CheckedScope
    licence: Line
    ethics_reference: OptionalLine = ""
    earlier_site_ids: tuple[SiteId, ...] = Field(default=(), max_length=100)
    starts_at: Moment | None = None
    expires_at: Moment | None = None
    editions: str = ""  # the protocol's first and last, as `2026.11-2027.12`; empty: only the one installed


def terms_from(work: Work, identity: Identity, draft: Draft, agreement: Agreement, now: datetime) -> AgreementTerms:
    """The terms that a draft gives the next version of an agreement.

    Raises `NotFound` for the curator, and `InvalidArgument` for days that cannot be meant, editions that are none, or
    an earlier SITEID that is another site's.
    """
    _check_days(draft, now)
    _reserve_earlier(work, draft.earlier_site_ids, agreement.site_name)
    latest = agreement if agreement.amendment is None else agreement.amendment
    return AgreementTerms(
        id=agreement.id,
        version=latest.version + 1,
        federation=identity.federation,
        site_name=agreement.site_name,
        text_sha256=text_digest(agreement_text()),
        scope=draft.scope,
        modes=tuple(sorted(set(draft.modes))),
        curator=_curator_keys(work, draft.curator),
        coordinator_fingerprint=identity.signing_key.fingerprint,
        licence=draft.licence,
        protocol=identity.protocol.protocol,
        protocol_digest=identity.protocol_digest,
        ethics_reference=draft.ethics_reference,
        earlier_site_ids=draft.earlier_site_ids,
        starts_at=draft.starts_at,
        expires_at=draft.expires_at,
        editions=_editions(draft.editions, identity.protocol.edition),
    )


def _editions(text: str, installed: str) -> EditionRange:
    """The range that a draft names around the edition installed; raises `InvalidArgument`."""
    first, _, last = (text or f"{installed}-{installed}").partition("-")
    try:
        return EditionRange(first=first, signed=installed, last=last)
    except ValidationError:
        problem = f"they are two like 2026.11-2027.12, around {installed}, which is installed here"
        raise InvalidArgument(name="The editions", problem=problem) from None


def _check_days(draft: Draft, now: datetime) -> None:
    """Raise `InvalidArgument` for a first or last day that cannot be meant."""
    first, last = draft.starts_at, draft.expires_at
    for name, day in (("The first day", first), ("The last day", last)):
        if day is not None and abs(day - now) > _FARTHEST:
            raise InvalidArgument(name=name, problem="it is more than a hundred years away")
    if last is not None and last <= now:
        raise InvalidArgument(name="The last day", problem="it is over already")
    if first is not None and last is not None and first >= last:
        raise InvalidArgument(name="The first day", problem="it is not before the last day")


def _reserve_earlier(work: Work, site_ids: Sequence[SiteId], site_name: str) -> None:
    """See that nobody else ever has them; raises `InvalidArgument` when another site has one now."""
    for site_id in site_ids:
        holder = work.site(site_id)
        if holder is not None and holder.name != site_name:
            raise InvalidArgument(name="An earlier SITEID", problem=f"{site_id} is another site's")
        work.reserve_site_id(site_id)


def _curator_keys(reading: Reading, name: str) -> CuratorKeys:
    member = reading.member(Role.CURATOR, name)
    if member is None or member.recipient is None:
        raise NotFound("a curator must enrol before an agreement can name it", kind="enrolled curator", name=name)
    if member.statement is None:
        raise NotFound("it must enrol again to state its recipient", kind="curator with a signed recipient", name=name)
    return CuratorKeys(
        name=name,
        recipient=member.recipient,
        fingerprint=VerifyKey.parse(member.verify_key).fingerprint,
        verify_key=member.verify_key,
        statement=member.statement,
    )
