"""One transaction of the store, as statements of SQLAlchemy Core that SQLite and PostgreSQL both understand."""

import operator
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    distinct,
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
from coordinator.store.records import (
    Agreement,
    AgreementVersion,
    Certificate,
    Cohort,
    Edition,
    ListedSubmission,
    Member,
    Node,
    Presence,
    Rotation,
    Run,
    RunState,
    SequenceFault,
    Site,
    Submission,
    TokenRow,
    Upload,
)
from coordinator.store.references import NAMES, Kind, begins
from coordinator.store.statements import replacing
from coordinator.store.withdrawal_rows import WithdrawalRows
from shared.errors.trust import AuditBroken
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.merkle import Subtree
from shared.references import MOST

_REFERENCE: BindParameter[str] = bindparam("reference")
_SITE = select(tables.sites).where(or_(tables.sites.c.name == _REFERENCE, tables.sites.c.site_id == _REFERENCE))
_LAST_EVENT = select(tables.events).order_by(tables.events.c.number.desc()).limit(1)
_DELETE_UPLOAD = delete(tables.uploads).where(tables.uploads.c.name == bindparam("upload"))


class SqlWork(WithdrawalRows):
    """One transaction; see `interface.Work` for what each method promises."""

    def named(self, kind: Kind, reference: str, *, curator: str | None = None) -> tuple[str | None, int]:
        """Whole, else by the beginning."""
        sealed_to = () if curator is None else (tables.submissions.c.curator == curator,)
        for is_meant in (operator.eq, begins) if reference else ():
            keys = [select(key).where(is_meant(name, reference), *sealed_to) for key, name in NAMES[kind]]
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
        row = tables.certificates.c
        return self._all(Certificate, tables.certificates, row.role == role, row.name == name, order=row.ends_at.desc())

    def add_certificate(self, certificate: Certificate) -> None:
        """Add it."""
        self._add(tables.certificates, certificate)

    def revoke(self, role: str, name: str, at: datetime) -> int:
        """Every good one of a member."""
        row = tables.certificates.c
        good = update(tables.certificates).where(row.role == role, row.name == name, row.revoked_at.is_(None))
        return self._connection.execute(good.values(revoked_at=at)).rowcount

    def member(self, role: str, name: str) -> Member | None:
        """By role and name."""
        return self._get(Member, tables.members, role=role, name=name)

    def put_member(self, member: Member) -> None:
        """Add or replace."""
        self._put(tables.members, member)

    def rotations(self, name: str) -> Sequence[Rotation]:
        """By their time."""
        row = tables.rotations.c
        return self._all(Rotation, tables.rotations, row.name == name, order=row.rotated_at)

    def add_rotation(self, rotation: Rotation) -> None:
        """Add it."""
        self._add(tables.rotations, rotation)

    def submission(self, submission_id: Sha256) -> Submission | None:
        """By id."""
        return self._get(Submission, tables.submissions, id=submission_id)

    def submissions(
        self, site_id: SiteId | None = None, *, after: int = 0, limit: int | None = None
    ) -> Sequence[Submission]:
        """By number."""
        conditions = _of_page(site_id, None, after)
        return self._all(Submission, tables.submissions, *conditions, order=tables.submissions.c.number, limit=limit)

    def listed_submissions(
        self, *, site_id: SiteId | None, curator: str | None, after: int, limit: int, by_change: bool = False
    ) -> Sequence[ListedSubmission]:
        """JSON as its text."""
        row = tables.submissions.c
        order = row.changed if by_change else row.number
        columns = [row[name] for name in ListedSubmission._fields[:-2]]
        documents = cast(row.manifest, Text), cast(row.decision, Text)
        query = select(*columns, *documents).where(*_of_page(site_id, curator, after, order))
        page = self._connection.execute(query.order_by(order).limit(limit))
        return [ListedSubmission._make(entry) for entry in page]

    def sequence_faults(self, site_id: SiteId | None, *, after: tuple[str, int], limit: int) -> Sequence[SequenceFault]:
        """One pass over an index."""
        row = tables.submissions.c
        previous = func.lag(row.sequence).over(partition_by=row.site_id, order_by=row.sequence)
        numbers = (
            select(row.site_id, row.sequence, func.count().label("times"), func.coalesce(previous, 0).label("previous"))
            .where(*_of_page(site_id, None, 0))
            .group_by(row.site_id, row.sequence)
            .subquery()
            .c
        )
        is_fault = or_(numbers.times > 1, numbers.sequence - numbers.previous > 1)
        is_after = or_(numbers.site_id > after[0], and_(numbers.site_id == after[0], numbers.sequence > after[1]))
        page = select(*numbers).where(is_fault, is_after).order_by(numbers.site_id, numbers.sequence).limit(limit)
        return [SequenceFault._make(entry) for entry in self._connection.execute(page)]

    def has_study(self, agreement: AgreementId, study: Uid) -> bool:
        """By an index."""
        row = tables.submissions.c
        query = select(row.id).where(row.agreement == str(agreement), row.study == str(study)).limit(1)
        return self._connection.execute(query).first() is not None

    def study_count(self, agreement: AgreementId) -> int:
        """From the same index alone."""
        row = tables.submissions.c
        query = select(func.count(distinct(row.study))).where(row.agreement == str(agreement))
        return int(self._connection.execute(query).scalar_one())

    def add_submission(self, submission: Submission) -> bool:
        """Once per id."""
        return self._add_once(tables.submissions, submission)

    def put_submission(self, submission: Submission) -> None:
        """By id."""
        self._put(tables.submissions, submission)

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEvent]:
        """In order."""
        number = tables.events.c.number
        query = select(tables.events).where(number > after).order_by(number).limit(limit)
        return [_event(dict(row)) for row in self._connection.execute(query).mappings()]

    def append_event(self, *, at: datetime, actor: str, action: str, about: str, result: str = "done") -> AuditEvent:
        """The next link."""
        last = self._first(AuditEvent, _LAST_EVENT)
        linked = audit_chain.link(last, at=at, actor=actor, action=action, about=about, result=result)
        self._add(tables.events, linked)
        audit_tree.add_leaf(self._connection, linked.number - 1, linked.digest)
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

    def uploads(self, site_id: SiteId | None = None, *, before: datetime | None = None) -> Sequence[Upload]:
        """By name."""
        row, conditions = tables.uploads.c, list[ColumnElement[bool]]()
        if site_id is not None:
            conditions.append(row.site_id == str(site_id))
        if before is not None:
            conditions.append(row.continued_at < before)
        return self._all(Upload, tables.uploads, *conditions, order=row.name)

    def put_upload(self, upload: Upload) -> None:
        """Add or replace."""
        self._put(tables.uploads, upload)

    def delete_upload(self, name: Sha256) -> None:
        """By name."""
        self._connection.execute(_DELETE_UPLOAD, {"upload": str(name)})

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

    def nodes(self) -> Sequence[Node]:
        """By SITEID."""
        return self._all(Node, tables.nodes, order=tables.nodes.c.site_id)

    def node_with(self, public_key: str) -> Node | None:
        """By key."""
        return self._get(Node, tables.nodes, public_key=public_key)

    def put_node(self, node: Node) -> None:
        """Add or replace."""
        self._put(tables.nodes, node)

    def delete_node(self, site_id: str) -> None:
        """By SITEID."""
        self._connection.execute(delete(tables.nodes).where(tables.nodes.c.site_id == str(site_id)))

    def run(self, run_id: str) -> Run | None:
        """By id."""
        return self._get(Run, tables.runs, id=run_id)

    def runs(self, *states: RunState, after: Run | None = None, limit: int | None = None) -> Sequence[Run]:
        """By state."""
        row, conditions = tables.runs.c, list[ColumnElement[bool]]()
        if states:
            conditions.append(row.state.in_(states))
        if after is not None:
            at_once = and_(row.created_at == after.created_at, row.id > str(after.id))
            conditions.append(or_(row.created_at > after.created_at, at_once))
        return self._all(Run, tables.runs, *conditions, order=(row.created_at, row.id), limit=limit)

    def put_run(self, run: Run) -> None:
        """Add or replace."""
        self._put(tables.runs, run)

    def cohort(self, run_id: str) -> Cohort | None:
        """By id."""
        return self._get(Cohort, tables.cohorts, id=run_id)

    def cohorts(self) -> Sequence[Cohort]:
        """The oldest first."""
        row = tables.cohorts.c
        return self._all(Cohort, tables.cohorts, order=(row.computed_at, row.id))

    def add_cohort(self, cohort: Cohort) -> None:
        """Add it."""
        self._add(tables.cohorts, cohort)


def _event(row: dict[str, Any]) -> AuditEvent:
    """An event; raises `AuditBroken` for a row that was changed into none."""
    try:
        return AuditEvent.model_validate(row)
    except ValidationError as error:
        raise AuditBroken("a row that is no event", number=str(row["number"])) from error


def _of_page(
    site_id: SiteId | None, curator: str | None, after: int, order: Column[Any] = tables.submissions.c.number
) -> Sequence[ColumnElement[bool]]:
    """The submissions of a site, a curator, and after a number, where they are named."""
    row = tables.submissions.c
    conditions = list[ColumnElement[bool]]()
    if site_id is not None:
        conditions.append(row.site_id == str(site_id))
    if curator is not None:
        conditions.append(row.curator == curator)
    if after:
        conditions.append(order > after)
    return conditions
