"""What readers and adjudicators are shown and send: studies by names of their own, films, reads and decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from coordinator.curation.reading.desk import Desk, Disputed, ReadingStudy
from coordinator.curation.reading.films import as_png, film_facts, film_values, packed
from coordinator.curation.reading.readers import Reader, ReaderRole
from coordinator.curation.reading.reads import Draft, FilmRead
from shared.errors.inputs import FilmUnreadable, InvalidArgument, NotFound, ReadingRefused
from shared.protocol.annotation import APPEARANCE, GRADE, ZONES
from shared.web.console import Page
from shared.web.visit import Answer, Content, Form, Redirect, Shown, Visit

_GROUPS = (APPEARANCE, ZONES, GRADE, "quality", "devices")
_MOST_NOTE = 500


@dataclass(frozen=True)
class ShownFilm:
    """A film on a page: where its values and its picture are, and how it is shown, or why it cannot be."""

    address: str
    facts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class ReadingPages:
    """What is answered. Every page asks the desk anew whose studies are whose."""

    desk: Desk

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/", self._home),
            Page("GET", "/studies/{study}", self._study),
            Page("POST", "/studies/{study}", self._submit),
            Page("POST", "/studies/{study}/draft", self._draft),
            Page("GET", "/studies/{study}/films/{film}/values", self._film(self._own_films, _values)),
            Page("GET", "/studies/{study}/films/{film}/picture", self._film(self._own_films, _picture)),
            Page("GET", "/disputes/{study}", self._dispute),
            Page("POST", "/disputes/{study}", self._decide),
            Page("GET", "/disputes/{study}/films/{film}/values", self._film(self._disputed_films, _values)),
            Page("GET", "/disputes/{study}/films/{film}/picture", self._film(self._disputed_films, _picture)),
        )

    def _home(self, visit: Visit) -> Answer:
        reader = self._reader(visit)
        if reader.role is ReaderRole.ADJUDICATOR:
            return Shown("disputes.html", {"disputes": self.desk.disputed(reader)})
        return Shown("studies.html", {"left": self.desk.left(reader), "submitted": self.desk.submitted(reader)})

    # reading

    def _study(self, visit: Visit) -> Answer:
        reader = self._reader(visit)
        study = self.desk.study(reader, visit.values["study"])
        return self._asked(reader, study, study.read or study.draft or Draft())

    def _asked(
        self, reader: Reader, study: ReadingStudy, answers: FilmRead | Draft, *, problem: str = "", status: int = 200
    ) -> Shown:
        left = [name for name in self.desk.left(reader) if name != study.name]
        values = {
            "study": study,
            "answers": answers,
            "films": _shown(study.films, f"/studies/{study.name}"),
            "groups": [self.desk.definition.group(name) for name in _GROUPS],
            "ungraded": self.desk.definition.ungraded,
            "count": len(left) + (study.read is None),
            "following": left[0] if left else "",
            "problem": problem,
        }
        return Shown("reading.html", values, status)

    def _draft(self, visit: Visit) -> Answer:
        self.desk.keep_draft(self._reader(visit), visit.values["study"], _draft_of(visit.form))
        return Content(b"", "text/plain")

    def _submit(self, visit: Visit) -> Answer:
        reader, name = self._reader(visit), visit.values["study"]
        draft, reason = _draft_of(visit.form), visit.form.optional("reason", most=_MOST_NOTE)
        try:
            self.desk.submit(reader, name, draft.complete(), reason)
        except (ReadingRefused, InvalidArgument) as error:
            return self._asked(reader, self.desk.study(reader, name), draft, problem=error.public, status=409)
        left = self.desk.left(reader)
        return Redirect(f"/studies/{left[0]}" if left else "/", "read")

    # adjudicating

    def _dispute(self, visit: Visit) -> Answer:
        return self._disputed(self.desk.dispute(self._reader(visit), visit.values["study"]))

    def _disputed(self, dispute: Disputed, *, problem: str = "", status: int = 200) -> Shown:
        definition = self.desk.definition
        values = {
            "dispute": dispute,
            "films": _shown(dispute.films, f"/disputes/{dispute.name}"),
            "groups": [definition.group(name) for name in dispute.result.undecided],
            "shown": [definition.group(name) for name in (APPEARANCE, GRADE)],
            "all_groups": [definition.group(name) for name in _GROUPS],
            "problem": problem,
        }
        return Shown("adjudication.html", values, status)

    def _decide(self, visit: Visit) -> Answer:
        reader, name = self._reader(visit), visit.values["study"]
        appearance, grade = (visit.form.optional(group) or None for group in (APPEARANCE, GRADE))
        try:
            self.desk.adjudicate(reader, name, appearance=appearance, grade=grade)
        except ReadingRefused as error:
            return self._disputed(self.desk.dispute(reader, name), problem=error.public, status=409)
        left = self.desk.disputed(reader)
        return Redirect(f"/disputes/{left[0]}" if left else "/", "decided")

    # both

    def _reader(self, visit: Visit) -> Reader:
        """Who is signed in, as they are now; raises `NotFound` for somebody who reads no more."""
        reader = self.desk.reader(visit.person.name)
        if reader.role != visit.person.role:
            raise NotFound(kind="reader of that name", name="here")
        return reader

    def _own_films(self, visit: Visit) -> Sequence[Path]:
        return self.desk.study(self._reader(visit), visit.values["study"]).films

    def _disputed_films(self, visit: Visit) -> Sequence[Path]:
        return self.desk.dispute(self._reader(visit), visit.values["study"]).films

    def _film(
        self, films: Callable[[Visit], Sequence[Path]], shown: Callable[[Path], Answer]
    ) -> Callable[[Visit], Answer]:
        def show(visit: Visit) -> Answer:
            number, files = visit.values["film"], films(visit)
            if not (number.isascii() and number.isdecimal() and 1 <= int(number[:6]) <= len(files)):
                raise NotFound(kind="film", name="of that number")
            return shown(files[int(number[:6]) - 1])

        return show


def _values(file: Path) -> Answer:
    return Content(packed(film_values(file)), "application/octet-stream", encoding="gzip")


def _picture(file: Path) -> Answer:
    return Content(as_png(film_values(file), film_facts(file)), "image/png")


def _shown(films: Sequence[Path], address: str) -> list[ShownFilm]:
    return [_shown_film(file, f"{address}/films/{number}") for number, file in enumerate(films, start=1)]


def _shown_film(file: Path, address: str) -> ShownFilm:
    try:
        facts = film_facts(file).model_dump(mode="json")
    except FilmUnreadable as error:
        return ShownFilm(address=address, problem=error.public)
    return ShownFilm(address=address, facts={name: "" if each is None else str(each) for name, each in facts.items()})


def _draft_of(form: Form) -> Draft:
    """What a form says so far; raises `InvalidArgument` for what no page of ours sends."""
    many = {name: form.texts(name) for name in (ZONES, "quality", "devices")}
    several = {name: form.optional(name) or None for name in (APPEARANCE, GRADE)}
    try:
        note = form.optional("note", most=2 * _MOST_NOTE).replace("\r\n", "\n")  # a form sends a line's end as two
        return Draft(**several, **many, note=note)
    except ValidationError as error:
        raise InvalidArgument(name="The read", problem="a page sends it otherwise") from error
