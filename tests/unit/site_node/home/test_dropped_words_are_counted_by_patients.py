"""Words that left texts are counted by patients, sealed, and forgotten as soon as a removed name has their form."""

import sqlite3
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.inputs import LinkageInvalid
from site_node.home.ledger import Ledger
from site_node.home.words import NO_STUDY, SiteWords
from site_node.pseudonyms.names import KeyedNames
from site_node.study import DroppedWord, Identity, StudyTexts

NAMES = KeyedNames(b"s" * 32)
words = st.sampled_from(["kranzwort", "venenphase", "hilus", "spaetphase"])
studies = st.lists(st.builds(lambda *parts: parts, st.integers(0, 3), st.frozensets(words), st.frozensets(words)))


def texts(patient: int, dropped: frozenset[str], names: frozenset[str] = frozenset()) -> StudyTexts:
    identity = Identity(issuer="HOSP", patient_id=f"MRN-{patient}")
    return StudyTexts(identity, names, frozenset(DroppedWord(word, word) for word in dropped))


@given(studies)
def test_a_word_counts_each_patient_once_unless_a_name_has_its_form(
    kept: list[tuple[int, frozenset[str], frozenset[str]]],
) -> None:
    """Whatever the order: a study that is processed again, or a second study of a patient, changes no number."""
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", durable=False)
        site_words = ledger.words(NAMES)
        for patient, dropped, names in (*kept, *kept):
            site_words.keep(texts(patient, dropped, names))
        bearers: dict[str, set[int]] = defaultdict(set)
        for patient, dropped, _ in kept:
            for word in dropped:
                bearers[word].add(patient)
        removed = frozenset().union(*(names for _, _, names in kept))
        expected = {word: len(patients) for word, patients in bearers.items() if word not in removed}
        for least in (1, 2, 4):
            proposed = {word: count for word, count in expected.items() if count >= least}
            assert dict(site_words.proposals(least)) == proposed
        assert all(site_words.is_removed(name) for name in removed)
        ledger.close()


def test_no_word_name_or_patient_can_be_read_in_the_ledger(tmp_path: Path) -> None:
    """The file holds sealed words and keyed digests; with another secret nothing opens, and nothing is known."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.words(NAMES).keep(texts(7, frozenset({"venenphase"}), frozenset({"kowalczyk"})))
    other = ledger.words(KeyedNames(b"o" * 32))
    assert not other.is_removed("kowalczyk")
    with pytest.raises(LinkageInvalid):
        other.proposals(1)
    ledger.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [text for text in (b"venenphase", b"kowalczyk", b"MRN-7") if text in content]


def test_two_words_of_a_patient_cannot_be_joined_by_the_rows(tmp_path: Path) -> None:
    """Who has the file and not the secret learns not which words one patient bore."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.words(NAMES).keep(texts(7, frozenset({"venenphase", "hilus"})))
    ledger.close()
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    assert len(set(db.execute("select token from bearers"))) == 2
    db.close()


@given(st.lists(st.tuples(st.sampled_from(["accept", "drop"]), words), max_size=12))
def test_the_list_is_known_as_it_stood_at_each_version(acts: list[tuple[str, str]]) -> None:
    """Versions are the numbers of decisions; a list of before is the one that its studies are judged by."""
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", durable=False)
        site_words = ledger.words(NAMES)
        history = [site_words.accepted()]
        for act, word in acts:
            if (act == "accept") != (word in history[-1].words):
                decide = site_words.accept if act == "accept" else site_words.drop
                decide(word, *([word] if act == "accept" else []), actor="A. Miller", reason="")
                ledger.audit("A. Miller", "release", NO_STUDY, "another decision")
                history.append(site_words.accepted())
        assert [site_words.accepted(each.version) for each in history] == history
        assert len({each.version for each in history}) == len(history)
        assert {each.word for each in site_words.acceptances()} == history[-1].words
        ledger.close()


def test_a_name_that_comes_later_takes_the_word_from_the_list(tmp_path: Path) -> None:
    """Nobody has to notice: the list has a new version, and the audit says why."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    site_words: SiteWords = ledger.words(NAMES)
    site_words.accept("hilus", "hilus", actor="A. Miller", reason="hilum")
    before = site_words.accepted()
    site_words.keep(texts(7, frozenset(), frozenset({"hilus"})))
    assert before.words == {"hilus"}
    assert not site_words.accepted().words
    assert [(event.actor, event.action) for event in ledger.events()] == [
        ("A. Miller", "word-accept"),
        ("ricord-site", "word-drop"),
    ]
    ledger.close()
