"""Who may sign in to a console: invited by a link that is used once, listed and removed.

Of a link's secret and of a passphrase nothing is kept from which either could be read.
"""

import sqlite3
from datetime import UTC, datetime, timedelta

from shared.errors.console import InvitationInvalid, PersonExists, SignInRefused
from shared.errors.inputs import InvalidArgument, NotFound
from shared.frozen import Frozen
from shared.token import new_secret, secret_digest
from shared.web.passphrases import Throttle, is_kept, keep
from shared.web.store import Store

INVITATION_DAYS = 3
_MOST_CHARACTERS = 100
_EVERYBODY = "select number, name, role, since, passphrase is not null from people order by name"
_BY_NUMBER = "select number, name, role, since, passphrase is not null from people where number = ?"


class Person(Frozen):
    """A person of the console. `has_joined`: a passphrase is set."""

    number: int
    name: str
    role: str
    since: datetime
    has_joined: bool


class People:
    """The people of one console. Roles are texts here; the console's own enum closes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._throttle = Throttle()

    def invite(self, name: str, role: str) -> str:
        """Enter a person, and return the secret of their link; an earlier link of one who has not joined ends.

        Raises `PersonExists`, and `InvalidArgument` for a name that is not one line.
        """
        name, secret = _checked(name), new_secret()
        expires = datetime.now(UTC) + timedelta(days=INVITATION_DAYS)
        with self._store.changing() as db:
            db.execute("delete from invitations where expires_at <= ?", (datetime.now(UTC).isoformat(),))
            if db.execute("select 1 from people where name = ? and passphrase is not null", (name,)).fetchone():
                raise PersonExists
            db.execute("delete from people where name = ?", (name,))
            row = db.execute(
                "insert into people (name, role, since) values (?, ?, ?) returning number",
                (name, role, datetime.now(UTC).isoformat()),
            ).fetchone()
            db.execute("insert into invitations values (?, ?, ?)", (secret_digest(secret), row[0], expires.isoformat()))
        return secret

    def invited(self, secret: str) -> Person:
        """Whom a link is for; it stays unused. Raises `InvitationInvalid`."""
        with self._store.reading() as db:
            return _invited(db, secret)

    def join(self, secret: str, passphrase: str | None) -> Person:
        """Use a link up, and set the passphrase; without one, whoever has the link is that person, once.

        Raises `InvitationInvalid`, and `InvalidArgument` for a passphrase that is too short.
        """
        kept = None if passphrase is None else keep(passphrase)
        with self._store.changing() as db:
            person = _invited(db, secret)
            db.execute("delete from invitations where digest = ?", (secret_digest(secret),))
            db.execute("update people set passphrase = ? where number = ?", (kept, person.number))
            return _person(db, person.number)

    def sign_in(self, name: str, passphrase: str) -> Person:
        """The person of that name and passphrase; raises `SignInRefused`, `SignInThrottled`."""
        known = name.strip().casefold()[:_MOST_CHARACTERS]
        self._throttle.check(known)
        with self._store.reading() as db:
            row = db.execute("select number, passphrase from people where name = ?", (name.strip(),)).fetchone()
        if not is_kept(passphrase, row[1] if row else None):
            self._throttle.failed(known)
            raise SignInRefused
        self._throttle.succeeded(known)
        with self._store.reading() as db:
            return _person(db, row[0])

    def all(self) -> tuple[Person, ...]:
        """Everybody, by name."""
        with self._store.reading() as db:
            rows = db.execute(_EVERYBODY).fetchall()
        return tuple(map(_of_row, rows))

    def remove(self, name: str) -> None:
        """Remove a person, their link and their sessions, at once; raises `NotFound`."""
        with self._store.changing() as db:
            if not db.execute("delete from people where name = ?", (name.strip(),)).rowcount:
                raise NotFound(kind="person of that name", name="here")


def _invited(db: sqlite3.Connection, secret: str) -> Person:
    row = db.execute(
        "select person from invitations where digest = ? and expires_at > ?",
        (secret_digest(secret), datetime.now(UTC).isoformat()),
    ).fetchone()
    if row is None:
        raise InvitationInvalid
    return _person(db, row[0])


def _person(db: sqlite3.Connection, number: int) -> Person:
    row = db.execute(_BY_NUMBER, (number,)).fetchone()
    if row is None:  # removed meanwhile
        raise SignInRefused
    return _of_row(row)


def _of_row(row: tuple[int, str, str, str, int]) -> Person:
    number, name, role, since, has_joined = row
    joined = bool(has_joined)
    return Person(number=number, name=name, role=role, since=datetime.fromisoformat(since), has_joined=joined)


def _checked(name: str) -> str:
    text = " ".join(name.split())
    if not (text and text.isprintable() and len(text) <= _MOST_CHARACTERS):
        raise InvalidArgument(name="--name", problem=f"a name is one line of at most {_MOST_CHARACTERS} characters")
    return text
