"""What coordinators do with agreements, from the draft to the end."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from coordinator.agreements.lifecycle import state_at, transition
from coordinator.agreements.lookup import named_agreement, site_of
from coordinator.agreements.text import agreement_text, text_digest
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement
from coordinator.trust import tokens
from coordinator.trust.tokens import IssuedToken
from shared.agreement import (
    AgreementTerms,
    CuratorKeys,
    Execution,
    Line,
    Mode,
    Moment,
    OptionalLine,
    Scope,
    State,
)
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors import InvalidArgument, NotFound
from shared.frozen import Frozen
from shared.ids import RESERVED_SITE_IDS, AgreementId, SiteId
from shared.manifest import canonical_json
from shared.signed import Signed
from shared.token import TokenKind

PAGE = 100  # agreements, each with its terms three times over


class Draft(Frozen):
    """What a coordinator fills in; the rest of the terms follows from the site, the curator and the coordinator."""

    reference: str  # the site's name, or the agreement's id
    curator: str
    modes: tuple[Mode, ...] = Field(min_length=1)
    scope: Scope
    licence: Line
    ethics_reference: OptionalLine = ""
    earlier_site_ids: tuple[SiteId, ...] = ()
    expires_at: Moment | None = None


class AgreementService:
    """The coordinators' side of agreements; each method is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def draft(self, draft: Draft, *, actor: str) -> Agreement:
        """Write the terms for an invited site; a draft that nobody signed may be rewritten as the next version.

        Raises `NotFound` for the site or the curator, `AgreementTransitionInvalid`, and `InvalidArgument` for an end
        that is over, or an earlier SITEID that is another site's.
        """
        if draft.expires_at is not None and draft.expires_at <= self._now():
            raise InvalidArgument(name="The last day", problem="it is over already")
        with self._store.begin() as work:
            agreement = named_agreement(work, draft.reference)
            _reserve_earlier(work, draft.earlier_site_ids, agreement.site_name)
            terms = self._terms(work, draft, agreement)
            drafted = transition(
                agreement,
                State.DRAFTED,
                self._now(),
                version=terms.version,
                terms=canonical_json(terms).decode(),
                expires_at=terms.expires_at,
            )
            return self._save(work, drafted, actor, "agreement drafted")

    def execute(self, reference: str, *, actor: str) -> tuple[Agreement, IssuedToken | None]:
        """Countersign what the site signed: issues the SITEID and a join token.

        A suspended agreement is put in force again; it keeps its SITEID and there is no token. Raises `NotFound`,
        `AgreementTransitionInvalid`, `SignatureInvalid`.
        """
        with self._store.begin() as work:
            agreement = named_agreement(work, reference)
            if state_at(agreement, self._now()) is State.SUSPENDED:
                resumed = transition(agreement, State.EXECUTED, self._now())
                return self._save(work, resumed, actor, "agreement resumed"), None
            return self._execute(work, agreement, actor)

    def suspend(self, reference: str, *, actor: str) -> Agreement:
        """Take an agreement out of force until it is executed again."""
        with self._store.begin() as work:
            suspended = transition(named_agreement(work, reference), State.SUSPENDED, self._now())
            return self._save(work, suspended, actor, "agreement suspended")

    def terminate(self, reference: str, *, actor: str) -> Agreement:
        """End an agreement for good; the site's certificates are revoked and its tokens cancelled with it."""
        with self._store.begin() as work:
            terminated = transition(named_agreement(work, reference), State.TERMINATED, self._now())
            site = site_of(work, terminated.site_name)
            work.cancel_tokens(Role.SITE, site.name, self._now())
            if site.site_id:
                work.revoke(Role.SITE, site.site_id, self._now())
            return self._save(work, terminated, actor, "agreement terminated")

    def agreements(self, *, after: str, limit: int) -> tuple[Sequence[Agreement], bool]:
        """Agreements as they stand now, of sites named after `after`, at most `limit`; whether there are more."""
        with self._store.read() as reading:
            rows, more = read_page(lambda limit: reading.agreements(after=after, limit=limit), limit, PAGE)
        return [self._as_of_now(agreement) for agreement in rows], more

    def agreement(self, reference: str) -> Agreement:
        """One agreement as it stands now; raises `NotFound`."""
        with self._store.read() as reading:
            return self._as_of_now(named_agreement(reading, reference))

    def site_ids(self, *agreements: Agreement) -> dict[str, SiteId]:
        """SITEIDs by site name, of the agreements' sites that have one."""
        with self._store.read() as reading:
            sites = [site_of(reading, agreement.site_name) for agreement in agreements]
        return {site.name: site.site_id for site in sites if site.site_id}

    def _terms(self, reading: Reading, draft: Draft, agreement: Agreement) -> AgreementTerms:
        return AgreementTerms(
            id=agreement.id,
            version=agreement.version + 1,
            federation=self._identity.federation,
            site_name=agreement.site_name,
            text_sha256=text_digest(agreement_text()),
            scope=draft.scope,
            modes=tuple(sorted(set(draft.modes))),
            curator=_curator_keys(reading, draft.curator),
            coordinator_fingerprint=self._identity.signing_key.fingerprint,
            licence=draft.licence,
            protocol=self._identity.protocol,
            protocol_digest=self._identity.protocol_digest,
            ethics_reference=draft.ethics_reference,
            earlier_site_ids=draft.earlier_site_ids,
            expires_at=draft.expires_at,
        )

    def _execute(self, work: Work, agreement: Agreement, actor: str) -> tuple[Agreement, IssuedToken]:
        now = self._now()
        site = site_of(work, agreement.site_name)
        executed = transition(agreement, State.EXECUTED, now)
        site_id = site.site_id or new_site_id(work)
        execution = Execution(
            agreement=agreement.id,
            version=agreement.version,
            consent_sha256=_consent(agreement).digest,
            site_id=site_id,
            executed_at=now,
        )
        executed = executed.model_copy(update={"execution": Signed.by(self._identity.signing_key, execution)})
        work.put_site(site.model_copy(update={"site_id": site_id}))
        token = tokens.issue(work, self._identity, kind=TokenKind.JOIN, role=Role.SITE, subject=site.name, now=now)
        return self._save(work, executed, actor, f"agreement executed for site {site_id}"), token

    def _save(self, work: Work, agreement: Agreement, actor: str, action: str) -> Agreement:
        work.put_agreement(agreement)
        work.append_event(at=agreement.changed_at, actor=actor, action=action, about=agreement.id)
        return agreement

    def _as_of_now(self, agreement: Agreement) -> Agreement:
        return agreement.model_copy(update={"state": state_at(agreement, self._now())})


def new_site_id(work: Work) -> SiteId:
    """A SITEID that was never issued here and is not reserved."""
    while True:
        drawn = SiteId.random()
        if drawn not in RESERVED_SITE_IDS and work.reserve_site_id(drawn):
            return drawn


def _reserve_earlier(work: Work, site_ids: Sequence[SiteId], site_name: str) -> None:
    """See that nobody else ever has them; raises `InvalidArgument` when another site has one now."""
    for site_id in site_ids:
        holder = work.site(site_id)
        if holder is not None and holder.name != site_name:
            raise InvalidArgument(name="An earlier SITEID", problem=f"{site_id} is another site's")
        work.reserve_site_id(site_id)


def new_agreement(site_name: str, now: datetime) -> Agreement:
    """The agreement of a site that showed interest; it has no terms yet."""
    return Agreement(id=AgreementId.random(), site_name=site_name, state=State.INTERESTED, changed_at=now)


def _consent(agreement: Agreement) -> Signed:
    if agreement.consent is None:
        raise InvalidArgument(name="The agreement", problem="the site has not signed it")
    return agreement.consent


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
