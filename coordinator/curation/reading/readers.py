"""Who reads films and who adjudicates, and which films are whose."""

import secrets
import unicodedata
from enum import StrEnum

from coordinator.curation.reading.reads import blind_name
from coordinator.curation.register.acts import PROGRAM, Actor, CaseState, Role
from coordinator.curation.register.register import Change, Reading
from shared.errors.inputs import InvalidArgument, NotFound
from shared.frozen import Frozen

_READERS = "select number, name, pseudonym, role, seed from readers"
_MOST_CHARACTERS = 100


class ReaderRole(StrEnum):
    """What a reader does."""

    READER = "reader"  # reads films, blind to all other reads
    ADJUDICATOR = "adjudicator"  # decides what the reads leave undecided


class Reader(Frozen):
    """A person who reads, by the name under which they sign in and the pseudonym under which reads are released."""

    number: int
    name: str
    pseudonym: str
    role: ReaderRole
    seed: str  # of the order and the names of their studies

    @property
    def actor(self) -> Actor:
        """As they act in the register."""
        return Actor(role=Role(self.role), name=self.pseudonym)


def all_readers(reading: Reading) -> tuple[Reader, ...]:
    """Those who read now, by name."""
    return tuple(map(_reader, reading.db.execute(f"{_READERS} where is_active order by name")))


def reader_named(reading: Reading, name: str) -> Reader:
    """The reader who signs in by that name; raises `NotFound`."""
    row = reading.db.execute(f"{_READERS} where is_active and name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(kind="reader of that name", name="here")
    return _reader(row)


def add_reader(change: Change, name: str, role: ReaderRole) -> Reader:
    """Enter a reader, or again one who was removed or has another role; raises `InvalidArgument`.

    However a name is capitalised or its accents are encoded it is the same person's, who adjudicates nothing they read.
    """
    text = " ".join(name.split())
    if not (text and text.isprintable() and len(text) <= _MOST_CHARACTERS):
        raise InvalidArgument(name="NAME", problem=f"a name is one line of at most {_MOST_CHARACTERS} characters")
    everybody = map(_reader, change.db.execute(_READERS).fetchall())
    known = next((reader for reader in everybody if _folded(reader.name) == _folded(text)), None)
    if known is not None and known.role is role and known in all_readers(change):
        return known
    text = known.name if known else text
    change.db.execute(
        "insert into readers (name, pseudonym, role, seed, is_active) values (?, ?, ?, ?, 1)"
        " on conflict (name) do update set role = excluded.role, is_active = 1",
        (text, f"R-{secrets.token_hex(4)}", role, secrets.token_hex(32)),
    )
    reader = reader_named(change, text)
    _release_unread(change, reader)
    change.note(PROGRAM, "reader.add", reader.pseudonym, role)
    return reader


def remove_reader(change: Change, name: str) -> Reader:
    """Let a reader read no more: what they read stays, what they did not goes to others. Raises `NotFound`."""
    reader = reader_named(change, name)
    change.db.execute("update readers set is_active = 0 where number = ?", (reader.number,))
    _release_unread(change, reader)
    change.note(PROGRAM, "reader.remove", reader.pseudonym)
    return reader


def assign(change: Change, each: int) -> None:
    """Give every accepted film that has fewer than `each` readers more of them, by chance.

    What a read says decides nothing. A film that a removed reader had not read needs another reader, and so appears in
    the list of somebody else.
    """
    readers = [reader for reader in all_readers(change) if reader.role is ReaderRole.READER]
    rows = change.db.execute(
        "select cases.number, count(assignments.reader) from cases"
        " left join assignments on assignments.case_number = cases.number"
        " where state = ? group by cases.number having count(assignments.reader) < ?",
        (CaseState.ACCEPTED, each),
    ).fetchall()
    for number, count in rows:
        case = change.case(number)
        if not case.is_film:
            continue
        query = "select reader from assignments where case_number = ?"
        assigned = {reader for (reader,) in change.db.execute(query, (number,))}
        free = [reader for reader in readers if reader.number not in assigned]
        by_chance = sorted(free, key=lambda reader: blind_name(case.submission, reader.seed))
        for reader in by_chance[: each - count]:
            change.db.execute("insert into assignments values (?, ?, null)", (number, reader.number))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _release_unread(change: Change, reader: Reader) -> None:
    change.db.execute(
        "delete from assignments where reader = ?1 and not exists"
        " (select 1 from reads where reads.case_number = assignments.case_number and reads.reader = ?1)",
        (reader.number,),
    )


def _reader(row: tuple[int, str, str, str, str]) -> Reader:
    number, name, pseudonym, role, seed = row
    return Reader(number=number, name=name, pseudonym=pseudonym, role=ReaderRole(role), seed=seed)
