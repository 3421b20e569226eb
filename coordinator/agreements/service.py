"""What coordinators do with agreements, from the draft to the end."""

from collections.abc import Sequence
from datetime import datetime

from coordinator.agreements.drafting import Draft, terms_from
from coordinator.agreements.lifecycle import amended, as_of, state_at, transition
from coordinator.agreements.lookup import agreement_of, named_agreement, site_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Store, Work
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement, AgreementVersion, Amendment
from coordinator.trust import tokens
from coordinator.trust.tokens import IssuedToken
from shared.agreement import (
    Execution,
    State,
)
from shared.crypto.pki import Role
from shared.errors.agreements import AgreementTransitionInvalid
from shared.errors.inputs import InvalidArgument
from shared.ids import RESERVED_SITE_IDS, AgreementId, Sha256, SiteId
from shared.manifest import canonical_json
from shared.signed import Signed
from shared.token import TokenKind

PAGE = 5  # agreements, each with its terms four times over while it is amended
BRIEF_PAGE = 500  # without them
_ENDED = frozenset({State.TERMINATED, State.EXPIRED})
_AMENDABLE = frozenset({State.EXECUTED, State.SUSPENDED, State.EXPIRED})


class AgreementService:
    """The coordinators' side of agreements; each method is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def draft(self, draft: Draft, *, actor: str) -> Agreement:
        """Write the terms for an invited site; a draft that nobody signed may be rewritten as the next version.

        Raises `NotFound` for the site, `AgreementTransitionInvalid`, and what `terms_from` raises.
        """
        with self._store.begin() as work:
            agreement, now = named_agreement(work, draft.reference), self._now()
            terms = terms_from(work, self._identity, draft, agreement, now)
            drafted = transition(
                agreement,
                State.DRAFTED,
                now,
                version=terms.version,
                terms=canonical_json(terms).decode(),
                curator=terms.curator.name,
                expires_at=terms.expires_at,
            )
            return self._save(work, drafted, actor, "agreement drafted")

    def amend(self, draft: Draft, *, reinstate: bool = False, actor: str) -> tuple[Agreement, IssuedToken | None]:
        """Write the next version of an agreement that is or was in force; that one stays as it is until both signed.

        With `reinstate`, of one that has ended; the site, whose certificate may be no good, signs it with the
        invitation token. An amendment that was offered before is replaced, and its signature with it. Raises what
        `draft` raises.
        """
        with self._store.begin() as work:
            agreement, now, token = named_agreement(work, draft.reference), self._now(), None
            state = state_at(agreement, now)
            amendable = _ENDED if reinstate else _AMENDABLE
            if agreement.execution is None or state not in amendable:
                raise AgreementTransitionInvalid(state=state, wanted="reinstated" if reinstate else "amended")
            terms = terms_from(work, self._identity, draft, agreement, now)
            amendment = Amendment(version=terms.version, terms=canonical_json(terms).decode())
            offered = agreement.model_copy(update={"amendment": amendment, "changed_at": now})
            if reinstate:
                invited, kind = agreement.site_name, TokenKind.INVITATION
                token = tokens.issue(work, self._identity, kind=kind, role=Role.SITE, subject=invited, now=now)
            return self._save(work, offered, actor, "agreement amendment drafted"), token

    def attach(self, reference: str, digest: Sha256, *, actor: str) -> Agreement:
        """Note the SHA-256 of a document that the parties signed besides; the document itself is kept elsewhere.

        Raises `NotFound`, and `AgreementTransitionInvalid` where the site has not signed yet.
        """
        with self._store.begin() as work:
            agreement, now = named_agreement(work, reference), self._now()
            if agreement.consent is None:
                raise AgreementTransitionInvalid(state=state_at(agreement, now), wanted=State.SIGNED)
            attached = agreement.model_copy(update={"attachment": digest, "changed_at": now})
            return self._save(work, attached, actor, f"document attached, SHA-256 {digest}")

    def execute(self, reference: str, *, actor: str) -> tuple[Agreement, IssuedToken | None]:
        """Countersign what the site signed: issues the SITEID and a join token.

        A signed amendment replaces the version before; its site keeps SITEID and certificate, and there is a token only
        if it was terminated. A suspended agreement without one is put in force again. Raises `NotFound`,
        `AgreementTransitionInvalid`, `AgreementNotBegun`.
        """
        with self._store.begin() as work:
            agreement = named_agreement(work, reference)
            if agreement.amendment is not None and agreement.amendment.consent is not None:
                return self._execute_amendment(work, agreement, actor)
            if state_at(agreement, self._now()) is State.SUSPENDED:
                resumed = transition(agreement, State.EXECUTED, self._now())
                return self._save(work, resumed, actor, "agreement resumed"), None
            if agreement.amendment is not None:
                raise AgreementTransitionInvalid(state=State.DRAFTED, wanted=State.EXECUTED)
            return self._execute(work, agreement, actor)

    def suspend(self, reference: str, *, actor: str) -> Agreement:
        """Take an agreement out of force until it is executed again."""
        with self._store.begin() as work:
            suspended = transition(named_agreement(work, reference), State.SUSPENDED, self._now())
            return self._save(work, suspended, actor, "agreement suspended")

    def terminate(self, reference: str, *, actor: str) -> Agreement:
        """End an agreement for good; the site's certificates are revoked and its tokens cancelled with it."""
        with self._store.begin() as work:
            terminated = transition(named_agreement(work, reference), State.TERMINATED, self._now(), amendment=None)
            site = site_of(work, terminated.site_name)
            work.cancel_tokens(Role.SITE, site.name, self._now())
            if site.site_id:
                work.revoke(Role.SITE, site.site_id, self._now())
            return self._save(work, terminated, actor, "agreement terminated")

    def agreements(
        self, *, sealed_to: str | None = None, after: str, limit: int, brief: bool = False
    ) -> tuple[Sequence[Agreement], bool]:
        """Agreements as they stand now, of sites named after `after`, at most `limit`; whether there are more.

        A page is larger where they are shown in `brief`. With `sealed_to`, those that were executed and by whose terms
        sites seal to that curator.
        """
        with self._store.read() as reading:
            rows, more = read_page(
                lambda limit: reading.agreements(sealed_to=sealed_to, after=after, limit=limit),
                limit,
                BRIEF_PAGE if brief else PAGE,
            )
        return [as_of(agreement, self._now()) for agreement in rows], more

    def sealed_to(self, curator: str, *, after: str, limit: int) -> tuple[Sequence[Agreement], str]:
        """A curator's at most `limit` agreements after an id, which names no hospital; the next `after`.

        Raises `NotFound`.
        """
        with self._store.read() as reading:
            name = agreement_of(reading, after).site_name if after else ""
        rows, more = self.agreements(sealed_to=curator, after=name, limit=limit)
        return rows, rows[-1].id if more else ""

    def agreement(self, reference: str) -> Agreement:
        """One agreement as it stands now; raises `NotFound`."""
        with self._store.read() as reading:
            return as_of(named_agreement(reading, reference), self._now())

    def agreement_with_versions(self, reference: str) -> tuple[Agreement, Sequence[AgreementVersion]]:
        """One agreement as it stands now, and the versions that were replaced, the oldest first; raises `NotFound`."""
        with self._store.read() as reading:
            agreement = named_agreement(reading, reference)
            former = [reading.agreement_version(agreement.id, number) for number in range(1, agreement.version)]
        return as_of(agreement, self._now()), [version for version in former if version is not None]

    def site_ids(self, *agreements: Agreement) -> dict[str, SiteId]:
        """SITEIDs by site name, of the agreements' sites that have one."""
        with self._store.read() as reading:
            few = len(agreements) <= PAGE
            sites = [site_of(reading, each.site_name) for each in agreements] if few else reading.sites()
        return {site.name: site.site_id for site in sites if site.site_id}

    def _execute(self, work: Work, agreement: Agreement, actor: str) -> tuple[Agreement, IssuedToken]:
        now = self._now()
        site = site_of(work, agreement.site_name)
        executed = transition(agreement, State.EXECUTED, now)
        site_id = site.site_id or new_site_id(work)
        work.put_site(site.model_copy(update={"site_id": site_id}))
        token = tokens.issue(work, self._identity, kind=TokenKind.JOIN, role=Role.SITE, subject=site.name, now=now)
        countersigned = self._countersigned(executed, site_id, now)
        return self._save(work, countersigned, actor, f"agreement executed for site {site_id}"), token

    def _execute_amendment(self, work: Work, before: Agreement, actor: str) -> tuple[Agreement, IssuedToken | None]:
        now, token = self._now(), None
        site = site_of(work, before.site_name)
        site_id, terms = site.site_id, before.terms
        if site_id is None or terms is None or before.execution is None:
            raise AgreementTransitionInvalid(state=before.state, wanted=State.EXECUTED)
        countersigned = self._countersigned(amended(before, now), site_id, now)
        work.add_agreement_version(
            AgreementVersion(
                agreement=before.id,
                version=before.version,
                terms=terms,
                consent=_consent(before),
                execution=before.execution,
                attachment=before.attachment,
            )
        )
        if before.state is State.TERMINATED:  # its certificates were revoked
            token = tokens.issue(work, self._identity, kind=TokenKind.JOIN, role=Role.SITE, subject=site.name, now=now)
        action = f"version {countersigned.version} executed for site {site_id}"
        return self._save(work, countersigned, actor, action), token

    def _countersigned(self, agreement: Agreement, site_id: SiteId, now: datetime) -> Agreement:
        execution = Execution(
            agreement=agreement.id,
            version=agreement.version,
            consent_sha256=_consent(agreement).digest,
            site_id=site_id,
            executed_at=now,
        )
        return agreement.model_copy(update={"execution": Signed.by(self._identity.signing_key, execution)})

    def _save(self, work: Work, agreement: Agreement, actor: str, action: str) -> Agreement:
        work.put_agreement(agreement)
        work.append_event(at=agreement.changed_at, actor=actor, action=action, about=agreement.id)
        return agreement


def new_site_id(work: Work) -> SiteId:
    """A SITEID that was never issued here and is not reserved."""
    while True:
        drawn = SiteId.random()
        if drawn not in RESERVED_SITE_IDS and work.reserve_site_id(drawn):
            return drawn


def new_agreement(site_name: str, now: datetime) -> Agreement:
    """The agreement of a site that showed interest; it has no terms yet."""
    return Agreement(id=AgreementId.random(), site_name=site_name, state=State.INTERESTED, changed_at=now)


def _consent(agreement: Agreement) -> Signed:
    if agreement.consent is None:
        raise InvalidArgument(name="The agreement", problem="the site has not signed it")
    return agreement.consent
