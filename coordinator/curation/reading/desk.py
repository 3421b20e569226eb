"""The desk at which films are read and adjudicated: all that a reader's pages ask for and write.

What a reader gets depends on their own reads and on which films are theirs, on nobody else's reads, and names neither
site nor patient. A read is in the register when `submit` returns, whole or not at all.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from coordinator.curation.reading.consensus import Consensus, adjudicate
from coordinator.curation.reading.labels import label_of, reads_of
from coordinator.curation.reading.readers import Reader, ReaderRole, assign, reader_named
from coordinator.curation.reading.reads import Draft, FilmRead, blind_name
from coordinator.curation.register.acts import PROGRAM, Act, CaseState
from coordinator.curation.register.register import Case, Change, Reading, Register, opened_study
from shared.errors.inputs import InvalidArgument, NotFound, ReadingRefused
from shared.frozen import Frozen
from shared.manifest import canonical_json
from shared.protocol.annotation import AnnotationDefinition

_READABLE = (CaseState.ACCEPTED, CaseState.LABELLED)
_MOST_REASON = 200


class ReadingStudy(Frozen):
    """A study as its reader has it: a name of their own, its films, and what they wrote."""

    name: str
    films: tuple[Path, ...]
    draft: Draft | None
    read: FilmRead | None


class Disputed(Frozen):
    """A study that reads leave undecided, as an adjudicator has it; the reads are in no order of their readers."""

    name: str
    films: tuple[Path, ...]
    reads: tuple[FilmRead, ...]
    result: Consensus


class Desk:
    """The reading of the films that are opened into the folder `opened`."""

    def __init__(self, register: Register, opened: Path, definition: AnnotationDefinition) -> None:
        self._register = register
        self._opened = opened
        self.definition = definition

    def reader(self, name: str) -> Reader:
        """Who signed in by that name; raises `NotFound` for somebody who was removed."""
        with self._register.reading() as reading:
            return reader_named(reading, name)

    # reading

    def left(self, reader: Reader) -> tuple[str, ...]:
        """The names of the studies that are theirs and not read yet, in their own order."""
        with self._register.changing() as change:
            assign(change, self.definition.vote.readers)
            return _names(reader, _assigned(change, reader, is_read=False))

    def submitted(self, reader: Reader) -> tuple[str, ...]:
        """The names of those that they have read."""
        with self._register.reading() as reading:
            return _names(reader, _assigned(reading, reader, is_read=True))

    def study(self, reader: Reader, name: str) -> ReadingStudy:
        """One of their studies; raises `NotFound`, also for one that was withdrawn meanwhile."""
        with self._register.reading() as reading:
            case = _theirs(reading, reader, name)
            query = "select draft from assignments where case_number = ? and reader = ?"
            (draft,) = reading.db.execute(query, (case.number, reader.number)).fetchone()
            read = reads_of(reading, case).by_reader.get(reader.pseudonym)
        return ReadingStudy(
            name=name,
            films=self._films(case),
            draft=Draft.model_validate_json(draft) if draft else None,
            read=read,
        )

    def keep_draft(self, reader: Reader, name: str, draft: Draft) -> None:
        """Keep what they have written so far; the last draft counts. Raises `NotFound`."""
        with self._register.changing() as change:
            case = _theirs(change, reader, name)
            statement = "update assignments set draft = ? where case_number = ? and reader = ?"
            change.db.execute(statement, (draft.model_dump_json(), case.number, reader.number))

    def submit(self, reader: Reader, name: str, read: FilmRead, reason: str = "") -> None:
        """Record a read, which is final; another of the same study corrects it, and needs a `reason` of one line.

        The same read again changes nothing. Raises `ReadingRefused`, `NotFound`, `InvalidArgument`.
        """
        checked, reason = read.checked(self.definition), _line(reason)
        with self._register.changing() as change:
            case = _theirs(change, reader, name)
            before = reads_of(change, case).by_reader.get(reader.pseudonym)
            if checked == before:
                return
            if before is not None and not reason:
                raise ReadingRefused(
                    what="The read", problem="it was submitted before, and a correction needs a reason"
                )
            answers = canonical_json(checked).decode()
            digest = hashlib.sha256(answers.encode()).hexdigest()
            change.act(case, Act.READ, reader.actor, result=f"{'corrected' if before else 'done'}: {digest}")
            change.db.execute(
                "insert into reads values (null, ?, ?, ?, ?, ?)", (case.number, reader.number, answers, reason, _now())
            )
            statement = "update assignments set draft = null where case_number = ? and reader = ?"
            change.db.execute(statement, (case.number, reader.number))
            self._label(change, case)

    # adjudicating

    def disputed(self, adjudicator: Reader) -> tuple[str, ...]:
        """The names of the studies that reads leave undecided and that this person did not read, in an own order."""
        with self._register.reading() as reading:
            return _names(adjudicator, self._disputed(reading, adjudicator))

    def dispute(self, adjudicator: Reader, name: str) -> Disputed:
        """One of them; raises `NotFound`, also for one that was decided or withdrawn meanwhile."""
        with self._register.reading() as reading:
            case = _of_name(self._disputed(reading, adjudicator), adjudicator, name)
            reads = reads_of(reading, case)
        result = reads.vote(self.definition)
        if result is None:
            raise NotFound(kind="undecided study", name=name)
        ordered = sorted(reads.by_reader.items(), key=lambda item: blind_name(item[0], adjudicator.seed + name))
        return Disputed(name=name, films=self._films(case), reads=tuple(read for _, read in ordered), result=result)

    def adjudicate(self, adjudicator: Reader, name: str, *, appearance: str | None, grade: str | None) -> None:
        """Decide what is undecided, and nothing else; raises `ReadingRefused`, `NotFound`."""
        with self._register.changing() as change:
            case = _of_name(self._disputed(change, adjudicator), adjudicator, name)
            reads = reads_of(change, case)
            result = reads.vote(self.definition)
            if result is None:
                raise NotFound(kind="undecided study", name=name)
            decided = adjudicate(
                result,
                self.definition,
                by=adjudicator.pseudonym,
                readers=reads.by_reader,
                appearance=appearance,
                grade=grade,
            )
            terms = f"appearance {decided.appearance.term}, grade {decided.grade.term}"
            change.act(case, Act.ADJUDICATE, adjudicator.actor, result=terms)
            change.db.execute(
                "insert into adjudications values (null, ?, ?, ?, ?, ?, ?)",
                (case.number, adjudicator.number, json.dumps(reads.numbers), appearance, grade, _now()),
            )
            self._label(change, case)

    def _disputed(self, reading: Reading, adjudicator: Reader) -> list[Case]:
        """Accepted films that are read and not decided: a film that is decided is accepted no longer."""
        if adjudicator.role is not ReaderRole.ADJUDICATOR:
            raise InvalidArgument(name="The adjudication", problem="it is an adjudicator's")
        read = ((case, reads_of(reading, case)) for case in reading.cases(CaseState.ACCEPTED) if case.is_film)
        return [
            case
            for case, reads in read
            if reads.vote(self.definition) is not None and adjudicator.pseudonym not in reads.by_reader
        ]

    def _label(self, change: Change, case: Case) -> None:
        if label := label_of(change, case, self.definition):
            result = f"{label.result.policy} by {label.definition}"
            change.act(case, Act.LABEL, PROGRAM, result=result)

    def _films(self, case: Case) -> tuple[Path, ...]:
        return opened_study(self._opened, case).instances


def _assigned(reading: Reading, reader: Reader, *, is_read: bool) -> tuple[Case, ...]:
    """A reader's films that can be read now, of which there is a read of theirs or none."""
    condition = (
        "number in (select case_number from assignments where reader = ?1) and state in (?2, ?3)"
        " and exists (select 1 from reads where case_number = cases.number and reader = ?1) = ?4"
    )
    return reading.cases_where(condition, reader.number, *_READABLE, is_read)


def _theirs(reading: Reading, reader: Reader, name: str) -> Case:
    cases = [case for is_read in (False, True) for case in _assigned(reading, reader, is_read=is_read)]
    return _of_name(cases, reader, name)


def _of_name(cases: Sequence[Case], reader: Reader, name: str) -> Case:
    for case in cases:
        if blind_name(case.submission, reader.seed) == name:
            return case
    raise NotFound(kind="study of that name", name="here")


def _names(reader: Reader, cases: Sequence[Case]) -> tuple[str, ...]:
    return tuple(sorted(blind_name(case.submission, reader.seed) for case in cases))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _line(reason: str) -> str:
    text = reason.strip()
    if not (text.isprintable() and len(text) <= _MOST_REASON):
        raise InvalidArgument(name="The reason", problem=f"it is one line of at most {_MOST_REASON} characters")
    return text
