"""A word is accepted only if enough patients had it, and nobody and no place here is called so."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.inputs import InvalidArgument
from shared.protocol.loader import load_profile
from shared.protocol.words import unmarked
from site_node.deidentify.identifiers import IdentifyingValue, find_identifiers, normal
from site_node.home.ledger import Ledger
from site_node.pseudonyms.names import KeyedNames
from site_node.review import words as decisions
from site_node.study import DroppedWord, Identity, StudyTexts

NAMES = KeyedNames(b"s" * 32)
VOCABULARY = load_profile().vocabulary
ENOUGH = VOCABULARY.rules.public.patients
WORD = "spätvenös"
PERSON = "A. Miller"
letters = st.text(st.sampled_from("aäbcdeéfghijklmnøoöprsßtuvwxyz"), min_size=4, max_size=12)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", durable=False)
    yield ledger
    ledger.close()


def drop_from_texts(ledger: Ledger, word: str, patients: range, names: frozenset[str] = frozenset()) -> None:
    dropped = frozenset({DroppedWord(unmarked(word), normal(word))})
    for patient in patients:
        ledger.words(NAMES).keep(StudyTexts(Identity(issuer="", patient_id=f"P{patient}"), names, dropped))


def refusal(ledger: Ledger, word: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        decisions.accept(ledger, NAMES, VOCABULARY, word, actor=PERSON)
    assert unmarked(word) not in re.findall(r"\w+", caught.value.public.casefold())
    assert not ledger.words(NAMES).accepted().words
    assert ledger.events() == ()
    return caught.value.public


def test_a_word_of_enough_patients_is_accepted_in_any_spelling(ledger: Ledger) -> None:
    drop_from_texts(ledger, WORD, range(ENOUGH))
    accepted = decisions.accept(ledger, NAMES, VOCABULARY, f" {WORD.upper()} ", actor=PERSON, reason="late  phase")
    assert accepted.words == {unmarked(WORD)}
    (acceptance,) = ledger.words(NAMES).acceptances()
    assert (acceptance.word, acceptance.actor, acceptance.reason) == (unmarked(WORD), PERSON, "late phase")
    assert ledger.words(NAMES).proposals(ENOUGH) == ()
    dropped = decisions.drop(ledger, NAMES, WORD, actor=PERSON)
    assert dropped == ledger.words(NAMES).accepted()
    assert not dropped.words
    with pytest.raises(InvalidArgument, match="not on the list"):
        decisions.drop(ledger, NAMES, WORD, actor=PERSON)


def test_a_word_is_accepted_once_and_a_full_list_takes_none(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not twice, and not beyond the most that a list may hold, which is as many as a study may name."""
    words = ("spätvenös", "frühvenös", "spätarteriell")
    for word in words:
        drop_from_texts(ledger, word, range(ENOUGH))
    monkeypatch.setattr(decisions, "MOST_ACCEPTED", 2)
    decisions.accept(ledger, NAMES, VOCABULARY, words[0], actor=PERSON)
    with pytest.raises(InvalidArgument, match="accepted already"):
        decisions.accept(ledger, NAMES, VOCABULARY, words[0], actor=PERSON)
    decisions.accept(ledger, NAMES, VOCABULARY, words[1], actor=PERSON)
    with pytest.raises(InvalidArgument, match="holds 2 words already"):
        decisions.accept(ledger, NAMES, VOCABULARY, words[2], actor=PERSON)
    assert ledger.words(NAMES).accepted().words == {unmarked(word) for word in words[:2]}


def test_one_patient_too_few_is_not_enough(ledger: Ledger) -> None:
    """The same patient twice counts once."""
    drop_from_texts(ledger, WORD, range(ENOUGH - 1))
    drop_from_texts(ledger, WORD, range(ENOUGH - 1))
    assert f"at least {ENOUGH} patients" in refusal(ledger, WORD)


@given(name=letters, first=st.booleans(), cut=st.integers(4, 12))
def test_a_word_that_stood_in_a_removed_name_is_never_accepted(name: str, first: bool, cut: int) -> None:
    """Nor its beginning, whether the name came before the word or after, however it is spelled and capitalised."""
    person = IdentifyingValue(0x00100010, ("utf8",), f"{name.title()}^Anna".encode())
    removed = find_identifiers([person], []).names
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", durable=False)
        if not first:
            drop_from_texts(ledger, name[:cut], range(ENOUGH))
        ledger.words(NAMES).keep(StudyTexts(Identity(issuer="", patient_id="P"), removed, frozenset()))
        if first:
            drop_from_texts(ledger, name[:cut], range(ENOUGH))
        assert ledger.words(NAMES).proposals(1) == ()
        refusal(ledger, name[:cut])
        ledger.close()


@given(st.sampled_from(sorted(VOCABULARY.surnames)))
def test_a_common_surname_is_never_accepted(surname: str) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", durable=False)
        drop_from_texts(ledger, surname, range(ENOUGH))
        refusal(ledger, surname)
        ledger.close()


@pytest.mark.parametrize("text", ["", "ab", "two words", "B12", "a-b-c", "x" * 41, "naïve7"])
def test_what_is_no_single_word_is_never_accepted(ledger: Ledger, text: str) -> None:
    drop_from_texts(ledger, text, range(ENOUGH))
    with pytest.raises(InvalidArgument, match="one word"):
        decisions.accept(ledger, NAMES, VOCABULARY, text, actor=PERSON)


class Killed(BaseException):
    """Simulates SIGKILL: the open transaction is never committed."""


@pytest.mark.parametrize("decide", [decisions.accept, decisions.drop])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_leaves_a_decision_made_or_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decide: object, after: bool
) -> None:
    """The list and the audit agree, and the command can be repeated."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    drop_from_texts(ledger, WORD, range(ENOUGH))
    if decide is decisions.drop:
        decisions.accept(ledger, NAMES, VOCABULARY, WORD, actor=PERSON)
    before, audit = ledger.words(NAMES).accepted(), Ledger.audit

    def killed(self: Ledger, *arguments: str) -> int:
        if after:
            audit(self, *arguments)  # type: ignore[arg-type] # as it is called
        raise Killed

    def act(ledger: Ledger) -> None:
        if decide is decisions.drop:
            decisions.drop(ledger, NAMES, WORD, actor=PERSON)
        else:
            decisions.accept(ledger, NAMES, VOCABULARY, WORD, actor=PERSON)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "audit", killed)
        with pytest.raises(Killed):
            act(ledger)
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.words(NAMES).accepted() == before
    assert len(again.events()) == len(before.words)
    act(again)
    assert again.words(NAMES).accepted().words != before.words
    again.close()
