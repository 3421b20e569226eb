"""Sessions: who is signed in, by a cookie of which only the SHA-256 is kept.

Their time is counted by the machine since it was started (`CLOCK_BOOTTIME`), which no change of the wall clock moves; a
new start of the machine ends every session.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from shared.token import new_secret, secret_digest
from shared.web.people import Person
from shared.web.store import Store

IDLE_SECONDS, MOST_SECONDS = 30 * 60.0, 12 * 3600.0
_NOTED_SECONDS = 30.0  # of activity that are not written down
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """A time since the machine's start, and which start that was."""

    boot: str
    seconds: float


def machine_time() -> Moment:
    """Now, whatever the wall clock says."""
    return Moment(_BOOT_FILE.read_text(encoding="ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME))


def csrf_of(token: str) -> str:
    """What a form of the cookie's bearer holds; the cookie cannot be made from it."""
    return hmac.new(token.encode(), b"ricord console form", hashlib.sha256).hexdigest()


class Sessions:
    """The sessions of one console."""

    def __init__(self, store: Store, now: Callable[[], Moment] = machine_time) -> None:
        self._store = store
        self._now = now

    def begin(self, person: Person) -> str:
        """A new session; returns what the cookie holds. Ended ones are forgotten."""
        token, now = new_secret(), self._now()
        with self._store.changing() as db:
            db.execute(
                "delete from sessions where boot != ? or seen < ? or began < ?",
                (now.boot, now.seconds - IDLE_SECONDS, now.seconds - MOST_SECONDS),
            )
            row = (secret_digest(token), person.number, now.boot, now.seconds, now.seconds)
            db.execute("insert into sessions values (?, ?, ?, ?, ?)", row)
        return token

    def person_of(self, token: str, *, is_active: bool = True) -> Person | None:
        """Who is signed in by a cookie; `is_active` if a person asked and no page by itself."""
        now, digest = self._now(), secret_digest(token)
        with self._store.reading() as db:
            row = db.execute(
                "select number, name, role, since, boot, began, seen from sessions join people on number = person"
                " where digest = ?",
                (digest,),
            ).fetchone()
        if row is None:
            return None
        number, name, role, since, boot, began, seen = row
        is_open = boot == now.boot and 0 <= now.seconds - seen < IDLE_SECONDS and now.seconds - began < MOST_SECONDS
        if not is_open:
            self.end(token)
            return None
        if is_active and now.seconds - seen > _NOTED_SECONDS:
            with self._store.changing() as db:
                db.execute("update sessions set seen = ? where digest = ?", (now.seconds, digest))
        return Person(number=number, name=name, role=role, since=datetime.fromisoformat(since), has_joined=True)

    def end(self, token: str) -> None:
        """End a session."""
        with self._store.changing() as db:
            db.execute("delete from sessions where digest = ?", (secret_digest(token),))
