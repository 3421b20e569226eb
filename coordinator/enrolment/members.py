"""What coordinators do with sites and people: invite, let join again, look up, revoke."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from coordinator.agreements.lifecycle import state_at, transition
from coordinator.agreements.lookup import agreement_of, named_site, site_of
from coordinator.agreements.service import new_agreement
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.presence.service import Contact, contact_of
from coordinator.store.interface import Reading, Store
from coordinator.store.paging import read_page
from coordinator.store.records import Site
from coordinator.trust import tokens
from coordinator.trust.tokens import IssuedToken
from shared.agreement import State
from shared.crypto.pki import Role, parse_spiffe
from shared.errors import AgreementTransitionInvalid, InvalidArgument, InvalidIdentifier, NotFound
from shared.frozen import Frozen
from shared.token import TokenKind

PAGE = 500  # sites
_LONGEST_NAME = 100
_INVITABLE = frozenset({State.INTERESTED, State.INVITED, State.DRAFTED})  # a lost token is replaced


class SiteView(Frozen):
    """A site as coordinators see it."""

    site: Site
    state: State
    certificate_ends_at: datetime | None
    contact: Contact | None


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

    def invite(self, site_name: str, *, actor: str) -> tuple[SiteView, IssuedToken]:
        """Record a site, or an invited one again, and issue its invitation token.

        Raises `InvalidArgument` for a name that is empty, too long, or a number that could pass for a SITEID;
        `AgreementTransitionInvalid` when the site's agreement is past its draft.
        """
        name, now = _checked_name(site_name), self._now()
        with self._store.begin() as work:
            site = work.site(name)
            if site is None:
                agreement = new_agreement(name, now)
                site = Site(name=name, agreement=agreement.id, recorded_at=now)
                work.put_site(site)
            else:
                agreement = agreement_of(work, name)
            if agreement.state not in _INVITABLE:
                raise AgreementTransitionInvalid(state=agreement.state, wanted=State.INVITED)
            if agreement.state is State.INTERESTED:
                agreement = transition(agreement, State.INVITED, now)
            work.put_agreement(agreement)
            token = tokens.issue(work, self._identity, kind=TokenKind.INVITATION, role=Role.SITE, subject=name, now=now)
            work.append_event(at=now, actor=actor, action="site invited", about=name)
            return self._view(work, site), token

    def join_token(self, role: Role, name: str, *, actor: str) -> IssuedToken:
        """A join token for a curator or researcher, or for a site that must enrol again.

        Raises `NotFound` for an unknown site, `InvalidArgument` for a role that does not join or a name that cannot
        appear in a certificate.
        """
        now = self._now()
        with self._store.begin() as work:
            if role is Role.COORDINATOR:
                raise InvalidArgument(name="role", problem="coordinators do not join by token")
            subject = site_of(work, name).name if role is Role.SITE else _checked_person(role, name)
            token = tokens.issue(work, self._identity, kind=TokenKind.JOIN, role=role, subject=subject, now=now)
            work.append_event(at=now, actor=actor, action=f"join token issued to {role}", about=subject)
            return token

    def sites(self, *, after: str, limit: int) -> tuple[Sequence[SiteView], bool]:
        """Sites by name, after a name, at most `limit` (0: a whole page); whether there are more."""
        with self._store.read() as reading:
            rows, more = read_page(lambda limit: reading.sites(after=after, limit=limit), limit, PAGE)
            return [self._view(reading, site) for site in rows], more

    def site(self, reference: str) -> SiteView:
        """One site by name, SITEID or a beginning; raises `NotFound`, `AmbiguousReference`."""
        with self._store.read() as reading:
            return self._view(reading, named_site(reading, reference))

    def whole_name(self, role: Role, reference: str) -> str:
        """The name of a site that is named as people do, or a person's as it is; raises as `site` does."""
        return self.site(reference).site.name if role is Role.SITE else reference

    def revoke(self, role: Role, name: str, *, actor: str) -> Revoked:
        """Revoke every certificate of a member and cancel its tokens; the next use of one is refused.

        A site's node key is deleted with them; a site that enrols again registers a new one. Raises `NotFound` for a
        member that nobody knows.
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
            action = f"{revoked.certificates} certificates revoked, {revoked.tokens} tokens cancelled"
            work.append_event(at=now, actor=actor, action=action, about=f"{role}/{name}")
            return revoked

    def _view(self, reading: Reading, site: Site) -> SiteView:
        certificates = reading.certificates(Role.SITE, site.site_id) if site.site_id else ()
        ends = [certificate.ends_at for certificate in certificates if certificate.revoked_at is None]
        state = state_at(agreement_of(reading, site.name), self._now())
        contact = contact_of(reading, site.site_id, self._now()) if site.site_id else None
        return SiteView(site=site, state=state, certificate_ends_at=ends[0] if ends else None, contact=contact)


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > _LONGEST_NAME or name.isdigit() or not name.isprintable():
        raise InvalidArgument(
            name="The site's name",
            problem=f"it needs 1 to {_LONGEST_NAME} printable characters, and one that is no digit",
        )
    return name


def _checked_person(role: Role, name: str) -> str:
    try:
        return parse_spiffe(f"spiffe://federation/{role}/{name}").name
    except InvalidIdentifier:
        problem = "it needs letters, digits, dots, hyphens or underscores, at most 63, and no spaces"
        raise InvalidArgument(name="The name", problem=problem) from None
