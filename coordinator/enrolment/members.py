"""What coordinators do with sites and people: record who is interested, invite, let join again, look up, revoke."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from coordinator.agreements.lifecycle import Act, check_permitted, state_at, transition
from coordinator.agreements.lookup import agreement_of, folded, known_names, named_site, site_of
from coordinator.agreements.service import new_agreement
from coordinator.federation.proposals import end_runs_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.presence.service import Contact, contact_of
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement, Site
from coordinator.trust import tokens
from coordinator.trust.tokens import IssuedToken
from shared.agreement import State
from shared.counts import counted
from shared.crypto.pki import Role, parse_spiffe
from shared.errors.agreements import AgreementTransitionInvalid
from shared.errors.inputs import InvalidArgument, InvalidIdentifier, NotFound
from shared.frozen import Frozen
from shared.survey import SurveyAnswer
from shared.token import TokenKind

PAGE = 500  # sites
_LONGEST_NAME = 100
_INVITABLE = frozenset({State.INTERESTED, State.INVITED, State.DRAFTED})  # a lost token is replaced
_ENDED = frozenset({State.TERMINATED, State.EXPIRED})


class SiteView(Frozen):
    """A site as coordinators see it."""

    site: Site
    state: State
    certificate_ends_at: datetime | None
    contact: Contact | None


class Imported(NamedTuple):
    """How many hospitals were recorded for the first time, and how many answers were replaced."""

    recorded: int
    replaced: int


class Revoked(NamedTuple):
    """How many certificates and tokens of a member were good until they were revoked."""

    certificates: int
    tokens: int


class MemberService:
    """Sites and people; each change is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def import_survey(self, answers: Sequence[tuple[str, SurveyAnswer]], *, actor: str) -> Imported:
        """Record what hospitals, by name, answered to the open call: every answer or none.

        A hospital that was not known is interested from now on. Raises `InvalidArgument`, naming the answer, for a name
        that `invite` would not accept, or that stands there twice.
        """
        now = self._now()
        with self._store.begin() as work:
            names, recorded, seen = known_names(work), 0, set[str]()
            for number, (text, answer) in enumerate(answers, start=1):
                try:
                    name = _checked_name(text, names)
                except InvalidArgument as error:
                    raise InvalidArgument(name=f"Answer {number}", problem=error.fields["problem"]) from error
                if name in seen:
                    raise InvalidArgument(name=f"Answer {number}", problem=f"`{name}` answers twice")
                seen.add(name)
                names[folded(name)] = name
                site = work.site(name)
                recorded += site is None
                work.put_site((site or self._record(work, name, now)).model_copy(update={"survey": answer}))
            work.append_event(at=now, actor=actor, action="survey imported", about=f"{len(answers)} answers")
            return Imported(recorded, len(answers) - recorded)

    def invite(self, site_name: str, *, actor: str) -> tuple[SiteView, IssuedToken]:
        """Record a site, or an invited one again, and issue its invitation token.

        One whose agreement ended before it was ever in force begins anew; with another that ended, the token lets it
        sign the next version, once that is offered. Raises `InvalidArgument` for a name that is empty, too long, a
        number that could pass for a SITEID, or but for its case another site's; `AgreementTransitionInvalid` for a site
        that has signed, and one to which no next version is offered.
        """
        now = self._now()
        with self._store.begin() as work:
            name = _checked_name(site_name, known_names(work))
            site = work.site(name) or self._record(work, name, now)
            work.put_agreement(_invited(agreement_of(work, name), now))
            token = tokens.issue(work, self._identity, kind=TokenKind.INVITATION, role=Role.SITE, subject=name, now=now)
            work.append_event(at=now, actor=actor, action="site invited", about=name)
            return self._view_now(work, site), token

    def join_token(self, role: Role, name: str, *, actor: str) -> IssuedToken:
        """A join token for a curator or researcher, or for a site that must enrol again.

        Raises `NotFound` for an unknown site, `AgreementNotExecuted` for one that could not enrol with it,
        `InvalidArgument` for a role that does not join or a name that cannot appear in a certificate.
        """
        now = self._now()
        with self._store.begin() as work:
            if role is Role.COORDINATOR:
                raise InvalidArgument(name="role", problem="coordinators do not join by token")
            subject = site_of(work, name).name if role is Role.SITE else _checked_person(role, name)
            if role is Role.SITE:
                check_permitted(agreement_of(work, subject), Act.SUBMIT, now)
            token = tokens.issue(work, self._identity, kind=TokenKind.JOIN, role=role, subject=subject, now=now)
            work.append_event(at=now, actor=actor, action=f"join token issued to {role}", about=subject)
            return token

    def sites(self, *, after: str, limit: int) -> tuple[Sequence[SiteView], bool]:
        """Sites by name, after a name, at most `limit` (0: a whole page); whether there are more."""
        with self._store.read() as reading:
            rows, more = read_page(lambda limit: reading.sites(after=after, limit=limit), limit, PAGE)
            agreements = {agreement.id: agreement for agreement in reading.agreements()}
            ends = reading.certificates_end(Role.SITE)
            return [self._view(reading, site, agreements[site.agreement], ends) for site in rows], more

    def site(self, reference: str) -> SiteView:
        """One site by name, SITEID or a beginning; raises `NotFound`, `AmbiguousReference`."""
        with self._store.read() as reading:
            return self._view_now(reading, named_site(reading, reference))

    def whole_name(self, role: Role, reference: str) -> str:
        """The name of a site that is named as people do, or a person's as it is; raises as `site` does."""
        return self.site(reference).site.name if role is Role.SITE else reference

    def revoke(self, role: Role, name: str, *, actor: str) -> Revoked:
        """Revoke every certificate of a member and cancel its tokens; the next use of one is refused.

        A site's node key is deleted with them; a site that enrols again registers a new one. What a researcher asked
        for ends. Raises `NotFound` for a member that nobody knows.
        """
        with self._store.begin() as work:
            subject, now = name, self._now()
            if role is Role.SITE:
                site = site_of(work, name)
                subject, name = site.name, site.site_id or site.name
                work.delete_node(name)
            revoked = Revoked(work.revoke(role, name, now), work.cancel_tokens(role, subject, now))
            if role is not Role.SITE and not any(revoked) and work.member(role, name) is None:
                raise NotFound(kind=role, name=name)
            if role is Role.RESEARCHER:
                end_runs_of(work, name, self._now)
            action = (
                f"{counted(revoked.certificates, 'certificate')} revoked, {counted(revoked.tokens, 'token')} cancelled"
            )
            work.append_event(at=now, actor=actor, action=action, about=f"{role}/{name}")
            return revoked

    def _record(self, work: Work, name: str, now: datetime) -> Site:
        """A site that showed interest, with its agreement."""
        agreement = new_agreement(name, now)
        work.put_agreement(agreement)
        site = Site(name=name, agreement=agreement.id, recorded_at=now)
        work.put_site(site)
        return site

    def _view_now(self, reading: Reading, site: Site) -> SiteView:
        certificates = reading.certificates(Role.SITE, site.site_id) if site.site_id else ()
        ends = {each.name: each.ends_at for each in reversed(certificates) if each.revoked_at is None}
        return self._view(reading, site, agreement_of(reading, site.name), ends)

    def _view(self, reading: Reading, site: Site, agreement: Agreement, ends: Mapping[str, datetime]) -> SiteView:
        contact = contact_of(reading, site.site_id, self._now()) if site.site_id else None
        ends_at = ends.get(site.site_id) if site.site_id else None
        state = state_at(agreement, self._now())
        return SiteView(site=site, state=state, certificate_ends_at=ends_at, contact=contact)


def _invited(agreement: Agreement, now: datetime) -> Agreement:
    state = state_at(agreement, now)
    if state is State.INTERESTED:
        return transition(agreement, State.INVITED, now)
    if state in _ENDED and agreement.execution is None:
        terms = {"terms": None, "consent": None, "curator": None, "expires_at": None, "attachment": None}
        return transition(agreement, State.INVITED, now, **terms)
    if state in _ENDED and agreement.amendment is None:
        following = "offer its next version (`ricord-coordinator agreement reinstate`), which prints the token to send"
        raise AgreementTransitionInvalid(state=state, wanted=State.INVITED, next=following)
    if state not in _INVITABLE | _ENDED:
        raise AgreementTransitionInvalid(state=state, wanted=State.INVITED)
    return agreement


def _checked_name(name: str, known: Mapping[str, str]) -> str:
    """The name without needless spaces; `known` are those of other sites, as `known_names` gives them."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if not name or len(name) > _LONGEST_NAME or name.isdigit() or not name.isprintable():
        raise InvalidArgument(
            name="The site's name",
            problem=f"it needs 1 to {_LONGEST_NAME} printable characters, and one that is no digit",
        )
    if (spelling := known.get(folded(name), name)) != name:
        raise InvalidArgument(name="The site's name", problem=f"there is a hospital `{spelling}`; write it like that")
    return name


def _checked_person(role: Role, name: str) -> str:
    try:
        return parse_spiffe(f"spiffe://federation/{role}/{name}").name
    except InvalidIdentifier:
        problem = "it needs letters, digits, dots, hyphens or underscores, at most 63, and no spaces"
        raise InvalidArgument(name="The name", problem=problem) from None
