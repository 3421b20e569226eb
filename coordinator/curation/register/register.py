"""The register's file: studies, their states and the log, each act with its event in one transaction."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from coordinator.curation.opening import MANIFEST_NAME, OpenedStudy, read_opened
from coordinator.curation.register.acts import PROGRAM, RULES, Act, Actor, CaseState
from coordinator.curation.register.tables import STEPS
from coordinator.store.audit_chain import AuditEvent, ChainReport, link, verify
from shared.errors.inputs import ActRefused, NotFound
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId, Uid
from shared.references import named
from shared.sqlite_file import SqliteFile

_CASES = "select number, submission, site_id, study, modalities, state from cases"
_EVENTS = "select number, at, actor, action, object, result, digest from events"
_FILMS = frozenset({"CR", "DX"})


class Case(Frozen):
    """A study that was opened, as one submission brought it."""

    number: int
    submission: Sha256
    site_id: SiteId
    study: Uid
    modalities: tuple[str, ...]
    state: CaseState

    @property
    def is_film(self) -> bool:
        """Whether it has films and nothing else."""
        return set(self.modalities) <= _FILMS


class Register:
    """The open register. Several processes may change it, one at a time; raises what `SqliteFile` raises."""

    def __init__(self, file: Path) -> None:
        self.file = SqliteFile(file, STEPS)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @contextmanager
    def reading(self) -> Iterator["Reading"]:
        """What stands in it at one moment."""
        with self.file.reading() as db:
            yield Reading(db)

    @contextmanager
    def changing(self) -> Iterator["Change"]:
        """One change, whole or not at all."""
        with self.file.changing() as db:
            yield Change(db)

    def follow(self, opened: Iterable[OpenedStudy], purged: Collection[Sha256]) -> None:
        """Enter what was opened since; what was purged, or is open in a later submission, is withdrawn.

        A study whose folder is not here keeps its state: a disk may be away, or a home just restored.
        """
        by_submission = {study.submission: study for study in opened}
        open_studies = {(study.contents.site_id, study.contents.study) for study in by_submission.values()}
        with self.changing() as change:
            known = {case.submission: case for case in change.cases()}
            for submission, case in known.items():
                ended = submission in purged or (case.site_id, case.study) in open_studies
                if ended and submission not in by_submission and case.state is not CaseState.WITHDRAWN:
                    change.act(case, Act.WITHDRAW, PROGRAM)
            for submission, study in by_submission.items():
                if (known_case := known.get(submission)) is None:
                    change.enter(study)
                elif known_case.state is CaseState.WITHDRAWN:
                    change.act(known_case, Act.OPEN, PROGRAM)


class Reading:
    """The rows, as they stand in one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def cases(self, state: CaseState | None = None) -> tuple[Case, ...]:
        """All studies, or those of a state, in the order in which they were opened."""
        return self.cases_where("? in ('', state)", state or "")

    def cases_where(self, condition: str, *values: str | int) -> tuple[Case, ...]:
        """The studies of whose rows a condition of ours holds, in the order in which they were opened."""
        return tuple(map(_case, self.db.execute(f"{_CASES} where {condition} order by number", values)))

    def case(self, number: int) -> Case:
        """The study of that number; raises `NotFound`."""
        row = self.db.execute(f"{_CASES} where number = ?", (number,)).fetchone()
        if row is None:
            raise NotFound(kind="study", name=str(number))
        return _case(row)

    def named(self, reference: str) -> Case:
        """The study of a submission's id, or of its first digits; raises `NotFound`, `AmbiguousReference`."""
        case = named(self.cases(), reference, lambda case: (case.submission,), kind="opened submission")
        if case is None:
            raise NotFound(kind="opened submission", name=reference)
        return case

    def events(self) -> Iterator[AuditEvent]:
        """The log from its first event."""
        return (_event(row) for row in self.db.execute(f"{_EVENTS} order by number"))

    def verified(self) -> ChainReport:
        """Recompute the log."""
        return verify(self.events())


class Change(Reading):
    """What is done in one transaction."""

    def enter(self, study: OpenedStudy) -> Case:
        """Enter a study that was opened."""
        contents = study.contents
        row = self.db.execute(
            "insert into cases (submission, site_id, study, modalities, state) values (?, ?, ?, ?, ?) returning number",
            (study.submission, contents.site_id, contents.study, " ".join(contents.modalities), CaseState.OPENED),
        ).fetchone()
        self.note(PROGRAM, Act.OPEN, study.submission)
        return self.case(row[0])

    def act(self, case: Case, act: Act, by: Actor, *, result: str = "done") -> Case:
        """Do what the table lets that person do in the state in which the study is now; raises `ActRefused`."""
        rule, case = RULES[act], self.case(case.number)
        if by.role is not rule.role:
            raise ActRefused(act=act, problem=f"it is not for a {by.role}")
        if case.state not in rule.states:
            raise ActRefused(act=act, problem=f"it is {case.state}")
        if rule.never_after_own and self.has_acted(case, rule.never_after_own, by):
            raise ActRefused(act=act, problem=f"another person does it than did `{rule.never_after_own}`")
        self.db.execute(
            "insert into acts (case_number, act, role, name) values (?, ?, ?, ?)", (case.number, act, by.role, by.name)
        )
        self.db.execute("update cases set state = ? where number = ?", (rule.to, case.number))
        self.note(by, act, case.submission, result)
        return case.model_copy(update={"state": rule.to})

    def has_acted(self, case: Case, act: Act, by: Actor) -> bool:
        """Whether the person of that name did this to a study before, in whatever role."""
        query = "select 1 from acts where case_number = ? and act = ? and name = ? collate nocase"
        return self.db.execute(query, (case.number, act, by.name)).fetchone() is not None

    def note(self, by: Actor, action: str, about: str, result: str = "done") -> None:
        """Append an event to the log."""
        row = self.db.execute(f"{_EVENTS} order by number desc limit 1").fetchone()
        last = _event(row) if row else None
        event = link(last, at=datetime.now(UTC), actor=by.text, action=action, about=about, result=result)
        values = event.model_dump(mode="json")
        self.db.execute("insert into events values (?, ?, ?, ?, ?, ?, ?)", tuple(values[name] for name in _COLUMNS))


_COLUMNS = ("number", "at", "actor", "action", "object", "result", "digest")


def opened_study(out: Path, case: Case) -> OpenedStudy:
    """The study as it lies opened in `out`; raises `NotFound` for one that is away or was replaced."""
    folder = out / case.site_id / case.study
    if (folder / MANIFEST_NAME).exists() and (study := read_opened(folder)).submission == case.submission:
        return study
    raise NotFound(kind="opened study", name="of this case")


def _case(row: tuple[int, str, str, str, str, str]) -> Case:
    number, submission, site_id, study, modalities, state = row
    return Case(
        number=number,
        submission=Sha256(submission),
        site_id=SiteId(site_id),
        study=Uid(study),
        modalities=tuple(modalities.split()),
        state=CaseState(state),
    )


def _event(row: tuple[int, str, str, str, str, str, str]) -> AuditEvent:
    return AuditEvent.model_validate(dict(zip(_COLUMNS, row, strict=True)), strict=False)
