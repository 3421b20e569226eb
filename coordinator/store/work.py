"""One transaction of the store, as statements of SQLAlchemy Core that SQLite and PostgreSQL both understand."""

import operator
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    bindparam,
    func,
    insert,
    null,
    or_,
    select,
    union,
    update,
)

from coordinator.store import audit_chain, audit_tree, tables
from coordinator.store.audit_chain import AuditEvent
from coordinator.store.federation_rows import FederationRows, asked_by
from coordinator.store.records import (
    Agreement,
    AgreementVersion,
    Certificate,
    Edition,
    Member,
    Presence,
    Rotation,
    Site,
    TokenRow,
)
from coordinator.store.references import NAMES, Kind, begins
from coordinator.store.statements import replacing, selecting
from coordinator.store.submission_rows import SubmissionRows
from coordinator.store.withdrawal_rows import WithdrawalRows
from shared.errors.trust import AuditBroken
from shared.ids import AgreementId, Sha256, SiteId
from shared.merkle import Subtree
from shared.references import MOST

_REFERENCE: BindParameter[str] = bindparam("reference")
_SITE = select(tables.sites).where(or_(tables.sites.c.name == _REFERENCE, tables.sites.c.site_id == _REFERENCE))
_LAST_EVENT = select(tables.events).order_by(tables.events.c.number.desc()).limit(1)
_CERTIFICATES = selecting(tables.certificates, "role", "name").order_by(tables.certificates.c.ends_at.desc())


class SqlWork(FederationRows, SubmissionRows, WithdrawalRows):
    """One transaction; see `interface.Work` for what each method promises."""

    _last_event: AuditEvent | None = None  # that this transaction appended

    def named(
        self, kind: Kind, reference: str, *, curator: str | None = None, asker: str | None = None
    ) -> tuple[str | None, int]:
        """Whole, else by the beginning."""
        sealed_to = () if curator is None else (tables.submissions.c.curator == curator,)
        for is_meant in (operator.eq, begins) if reference else ():
            keys = [
                select(key).where(is_meant(name, reference), *sealed_to, *asked_by(asker, key))
                for key, name in NAMES[kind]
            ]
            some = union(*keys).limit(MOST + 1).subquery()
            least, count = self._connection.execute(select(func.min(some.c[0]), func.count()).select_from(some)).one()
            if count:
                return least, count
        return None, 0

    def site(self, reference: str) -> Site | None:
        """By name or SITEID."""
        return self._first(Site, _SITE, reference=str(reference))

    def sites(self, *, after: str = "", limit: int | None = None) -> Sequence[Site]:
        """By name."""
        name = tables.sites.c.name
        return self._all(Site, tables.sites, name > after, order=name, limit=limit)

    def put_site(self, site: Site) -> None:
        """Add or replace."""
        self._put(tables.sites, site)
        self._count_membership()

    def reserve_site_id(self, site_id: SiteId) -> bool:
        """Mark as issued."""
        issued = select(tables.issued_site_ids).where(tables.issued_site_ids.c.site_id == str(site_id))
        if self._connection.execute(issued).first() is not None:
            return False
        self._connection.execute(insert(tables.issued_site_ids).values(site_id=str(site_id)))
        return True

    def agreement(self, agreement_id: AgreementId) -> Agreement | None:
        """By id."""
        return self._get(Agreement, tables.agreements, id=agreement_id)

    def agreement_version(self, agreement_id: AgreementId, version: int) -> AgreementVersion | None:
        """By agreement and number."""
        return self._get(AgreementVersion, tables.agreement_versions, agreement=agreement_id, version=version)

    def agreements(
        self, *, sealed_to: str | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[Agreement]:
        """By site name."""
        row = tables.agreements.c
        conditions = [row.curator == sealed_to, row.execution.is_not(null())] if sealed_to is not None else []
        return self._all(
            Agreement, tables.agreements, *conditions, row.site_name > after, order=row.site_name, limit=limit
        )

    def put_agreement(self, agreement: Agreement) -> None:
        """Add or replace."""
        self._put(tables.agreements, agreement)
        self._count_membership()

    def token(self, digest: Sha256) -> TokenRow | None:
        """By digest."""
        return self._get(TokenRow, tables.tokens, digest=digest)

    def add_agreement_version(self, version: AgreementVersion) -> None:
        """Add it."""
        self._add(tables.agreement_versions, version)

    def tokens(self, *, subject: str | None = None, after: str = "", limit: int | None = None) -> Sequence[TokenRow]:
        """By digest."""
        row = tables.tokens.c
        conditions = [row.digest > after, *([row.subject == subject] if subject is not None else [])]
        return self._all(TokenRow, tables.tokens, *conditions, order=row.digest, limit=limit)

    def add_token(self, token: TokenRow) -> None:
        """Add it."""
        self._add(tables.tokens, token)

    def use_token(self, digest: Sha256, at: datetime) -> bool:
        """One statement, so that of two users at once only one succeeds."""
        row = tables.tokens.c
        unused = update(tables.tokens).where(row.digest == str(digest), row.used_at.is_(None))
        return self._connection.execute(unused.values(used_at=at)).rowcount == 1

    def cancel_tokens(self, role: str, subject: str, at: datetime) -> int:
        """Those of a member that are good."""
        row = tables.tokens.c
        return self._cancel(at, row.role == role, row.subject == subject)

    def cancel_token(self, digest: Sha256, at: datetime) -> bool:
        """By digest."""
        return self._cancel(at, tables.tokens.c.digest == str(digest)) == 1

    def _cancel(self, at: datetime, *which: ColumnElement[bool]) -> int:
        row = tables.tokens.c
        good = update(tables.tokens).where(*which, row.used_at.is_(None), row.expires_at > at)
        return self._connection.execute(good.values(expires_at=at, revoked_at=at)).rowcount

    def certificate(self, serial: str) -> Certificate | None:
        """By serial."""
        return self._get(Certificate, tables.certificates, serial=serial)

    def certificates(self, role: str, name: str) -> Sequence[Certificate]:
        """The one that ends last first."""
        return self._every(Certificate, _CERTIFICATES, role=str(role), name=str(name))

    def certificates_end(self, role: str) -> Mapping[str, datetime]:
        """By name."""
        row = tables.certificates.c
        last = select(row.name, func.max(row.ends_at).label("ends")).where(row.role == role, row.revoked_at.is_(None))
        return {each.name: each.ends for each in self._connection.execute(last.group_by(row.name))}

    def add_certificate(self, certificate: Certificate) -> None:
        """Add it."""
        self._add(tables.certificates, certificate)
        self._count_membership()

    def revoke(self, role: str, name: str, at: datetime) -> int:
        """Every good one of a member."""
        row = tables.certificates.c
        good = update(tables.certificates).where(row.role == role, row.name == name, row.revoked_at.is_(None))
        self._count_membership()
        return self._connection.execute(good.values(revoked_at=at)).rowcount

    def member(self, role: str, name: str) -> Member | None:
        """By role and name."""
        return self._get(Member, tables.members, role=role, name=name)

    def put_member(self, member: Member) -> None:
        """Add or replace."""
        self._put(tables.members, member)

    def is_curators(self, recipient: str) -> bool:
        """Of members and of rotations."""
        held = select(tables.members.c.name).where(tables.members.c.recipient == recipient)
        given_up = select(tables.rotations.c.name).where(tables.rotations.c.recipient == recipient)
        return self._connection.execute(union(held, given_up).limit(1)).first() is not None

    def rotations(self, name: str) -> Sequence[Rotation]:
        """By their time."""
        row = tables.rotations.c
        return self._all(Rotation, tables.rotations, row.name == name, order=row.rotated_at)

    def add_rotation(self, rotation: Rotation) -> None:
        """Add it."""
        self._add(tables.rotations, rotation)

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEvent]:
        """In order."""
        number = tables.events.c.number
        query = select(tables.events).where(number > after).order_by(number).limit(limit)
        return [_event(dict(row)) for row in self._connection.execute(query).mappings()]

    def append_event(self, *, at: datetime, actor: str, action: str, about: str, result: str = "done") -> AuditEvent:
        """The next link."""
        last = self._last_event or self._first(AuditEvent, _LAST_EVENT)
        linked = audit_chain.link(last, at=at, actor=actor, action=action, about=about, result=result)
        self._add(tables.events, linked)
        if last is not None:
            audit_tree.add_leaf(self._connection, linked, last)
        self._last_event = linked
        return linked

    def log_size(self) -> int:
        """The last number."""
        return audit_tree.log_size(self._connection)

    def tree_hashes(self, subtrees: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        """Of events and kept subtrees."""
        return audit_tree.tree_hashes(self._connection, subtrees)

    def note_refusal(self, caller: str, method: str, hour: datetime) -> bool:
        """One row for each caller and method."""
        row = tables.refusals.c
        same = (row.caller == caller, row.method == method)
        before = self._connection.execute(select(row.hour).where(*same)).scalar()
        noted = {"caller": caller, "method": method, "hour": hour}
        self._connection.execute(replacing(tables.refusals, self._connection.dialect.name), noted)
        return before != hour

    def presence(self, site_id: SiteId) -> Presence | None:
        """By SITEID."""
        return self._get(Presence, tables.presences, site_id=site_id)

    def put_presence(self, presence: Presence) -> None:
        """Add or replace."""
        self._put(tables.presences, presence)

    def editions(self) -> Sequence[Edition]:
        """In the order of their noting."""
        return self._all(Edition, tables.editions, order=tables.editions.c.noted_at)

    def edition(self, digest: Sha256) -> Edition | None:
        """By digest."""
        return self._get(Edition, tables.editions, digest=digest)

    def put_edition(self, edition: Edition) -> None:
        """Add or replace."""
        self._put(tables.editions, edition)


def _event(row: dict[str, Any]) -> AuditEvent:
    """An event; raises `AuditBroken` for a row that was changed into none."""
    try:
        return AuditEvent.model_validate(row)
    except ValidationError as error:
        raise AuditBroken("a row that is no event", number=str(row["number"])) from error
