"""The rows of submissions and of unfinished uploads; see `interface.Work`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, and_, bindparam, cast, delete, distinct, func, or_, select

from coordinator.store import tables
from coordinator.store.records import ListedSubmission, SequenceFault, SiteTally, Submission, SubmissionTally, Upload
from coordinator.store.rows import Rows
from coordinator.store.statements import selecting
from shared.ids import AgreementId, Sha256, SiteId, Uid

_UPLOADS_OF_SITE = selecting(tables.uploads, "site_id").order_by(tables.uploads.c.name)
_DELETE_UPLOAD = delete(tables.uploads).where(tables.uploads.c.name == bindparam("upload"))


class SubmissionRows(Rows):
    """What a transaction reads and writes of submissions and unfinished uploads."""

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

    def submission_tally(self) -> Sequence[SubmissionTally]:
        """From an index alone."""
        row = tables.submissions.c
        sums = select(row.site_id, row.state, func.count(), func.sum(row.ciphertext_size))
        counted = self._connection.execute(sums.group_by(row.site_id, row.state).order_by(row.site_id, row.state))
        return [SubmissionTally(site, state, count, int(size)) for site, state, count, size in counted]

    def received_between(self, since: datetime, until: datetime) -> Sequence[SiteTally]:
        """From an index alone."""
        row = tables.submissions.c
        sums = select(row.site_id, func.count(), func.sum(row.ciphertext_size))
        between = sums.where(row.received_at >= since, row.received_at < until)
        counted = self._connection.execute(between.group_by(row.site_id).order_by(row.site_id))
        return [SiteTally(site, count, int(size)) for site, count, size in counted]

    def missing_numbers(self) -> Mapping[str, int]:
        """From an index alone."""
        row = tables.submissions.c
        missing = func.max(row.sequence) - func.count(distinct(row.sequence))
        counted = self._connection.execute(select(row.site_id, missing).group_by(row.site_id))
        return {site_id: int(count) for site_id, count in counted}

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

    def uploads(self, site_id: SiteId | None = None, *, before: datetime | None = None) -> Sequence[Upload]:
        """By name."""
        row, conditions = tables.uploads.c, list[ColumnElement[bool]]()
        if site_id is not None and before is None:
            return self._every(Upload, _UPLOADS_OF_SITE, site_id=str(site_id))
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
