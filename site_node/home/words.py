"""The ledger's tables of words: those that left texts here, names that were removed, words that persons accepted.

A word that left is sealed; who bore it and what was removed are keyed digests, which outlive the originals. Only an
accepted word stands as it is: it may leave the hospital.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from shared.ids import StudyKey
from shared.protocol.accepted import AcceptedList
from site_node.home.database import transaction
from site_node.study import StudyTexts

if TYPE_CHECKING:
    from site_node.pseudonyms.names import KeyedNames

NO_STUDY = StudyKey("0" * 32)  # in the audit, of an act that is about no study
_ACCEPT, _DROP = "word-accept", "word-drop"
_PROGRAM = "ricord-site"  # in the audit, where no person decides
_LATEST = (1 << 63) - 1


class Proposal(NamedTuple):
    """A word that left texts of so many patients. PHI."""

    word: str
    patients: int


class Acceptance(NamedTuple):
    """A word of the list, who accepted it, when, and why; `number` is that of the decision."""

    word: str
    number: int
    at: str
    actor: str
    reason: str


class SiteWords:
    """The tables, on the ledger's own connection.

    Args:
        db: the ledger.
        names: hold the site's secret.
        audit: appends an event to the ledger and returns its number.
    """

    def __init__(
        self, db: sqlite3.Connection, names: "KeyedNames", audit: Callable[[str, str, StudyKey, str], int]
    ) -> None:
        self._db = db
        self._names = names
        self._audit = audit

    def keep(self, texts: StudyTexts) -> None:
        """Keep what left a study's texts, in one transaction; a repetition changes nothing.

        A word that is a form of a removed name is no longer kept, nor on the list.
        """
        removed = [self._names.word_token(form) for form in texts.names]
        words = [(self._names.word_token(each.word), self._names.word_token(each.form), each) for each in texts.dropped]
        with transaction(self._db):
            for form in removed:
                if self._db.execute("insert or ignore into removed_names values (?)", (form,)).rowcount:
                    self._forget(form)
            for token, form, dropped in words:
                if not self._is_removed(form):
                    row = (token, form, self._names.words.seal(token, dropped.word))
                    self._db.execute("insert or ignore into dropped_words values (?, ?, ?)", row)
                    bearer = self._names.bearer_token(token, texts.identity)
                    self._db.execute("insert or ignore into bearers values (?, ?)", (token, bearer))

    def proposals(self, patients: int) -> tuple[Proposal, ...]:
        """The words that left texts of at least so many patients and are not accepted, the most frequent first."""
        rows = self._db.execute(
            "select dropped_words.token, dropped_words.word, count(*) from dropped_words"
            " join bearers on bearers.word = dropped_words.token"
            " group by dropped_words.token having count(*) >= ? order by count(*) desc",
            (patients,),
        )
        proposals = (Proposal(self._names.words.open(token, word), count) for token, word, count in rows)
        accepted = self.accepted().words
        return tuple(each for each in proposals if each.word not in accepted)

    def patients(self, word: str) -> int:
        """The number of patients whose texts the word left."""
        token = self._names.word_token(word)
        return int(self._db.execute("select count(*) from bearers where word = ?", (token,)).fetchone()[0])

    def is_removed(self, form: str) -> bool:
        """Whether a name, place or institution that was removed here ever had that form."""
        return self._is_removed(self._names.word_token(form))

    def accepted(self, version: int = _LATEST) -> AcceptedList:
        """The list as it is, or as it stood at a version."""
        (number,) = self._db.execute(
            "select coalesce(max(number), 0) from (select since as number from accepted_words union"
            " select until from accepted_words) where number <= ?",
            (version,),
        ).fetchone()
        rows = self._db.execute(
            "select word from accepted_words where since <= ? and (until is null or until > ?)", (version, version)
        )
        return AcceptedList(version=number, words=frozenset(row[0] for row in rows))

    def acceptances(self) -> tuple[Acceptance, ...]:
        """The words of the list, in order, each with its decision."""
        rows = self._db.execute(
            "select word, number, at, actor, detail from accepted_words join events on number = since"
            " where until is null order by word"
        )
        return tuple(
            Acceptance(word, number, at, actor, detail.partition(": ")[2]) for word, number, at, actor, detail in rows
        )

    def accept(self, word: str, form: str, *, actor: str, reason: str) -> None:
        """Put a word on the list."""
        with transaction(self._db):
            number = self._audit(actor, _ACCEPT, NO_STUDY, _detail(word, reason))
            row = (word, self._names.word_token(form), number)
            self._db.execute("insert into accepted_words values (?, ?, ?, null)", row)

    def drop(self, word: str, *, actor: str, reason: str) -> None:
        """Take a word from the list."""
        with transaction(self._db):
            number = self._audit(actor, _DROP, NO_STUDY, _detail(word, reason))
            self._db.execute("update accepted_words set until = ? where word = ? and until is null", (number, word))

    def _is_removed(self, form: bytes) -> bool:
        return self._db.execute("select 1 from removed_names where form = ?", (form,)).fetchone() is not None

    def _forget(self, form: bytes) -> None:
        """Keep no longer what turned out to be a form of a name."""
        self._db.execute("delete from bearers where word in (select token from dropped_words where form = ?)", (form,))
        self._db.execute("delete from dropped_words where form = ?", (form,))
        rows = self._db.execute("select word from accepted_words where form = ? and until is null", (form,)).fetchall()
        for (word,) in rows:
            self.drop(word, actor=_PROGRAM, reason="a name that was removed has this form")


def _detail(word: str, reason: str) -> str:
    return f"{word}: {reason}" if reason else word
