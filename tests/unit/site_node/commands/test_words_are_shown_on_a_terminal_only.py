"""`words`: what was dropped is shown to a person at a terminal and written nowhere; what is accepted says by whom."""

import json
import sys
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.node.open import Node
from site_node.study import DroppedWord, Identity, StudyTexts
from tests.unit.site_node.commands.conftest import Run

WORD, RARE, NAME = "spaetvenoes", "hilusblick", "hathersage"


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    """A home in which a word left the texts of 20 patients, and another of 19; it is not enrolled."""
    home = init_home(tmp_path / "home", name="General")
    ledger = Ledger(home.ledger)
    words = ledger.words(Node(home, home.load(), ledger, None).stages.names)
    for patient in range(20):
        dropped = frozenset(DroppedWord(word, word) for word in (WORD, RARE)[: 2 if patient else 1])
        words.keep(StudyTexts(Identity(issuer="", patient_id=f"P{patient}"), frozenset({NAME}), dropped))
    ledger.close()
    return home


def test_proposals_go_to_a_terminal_only(run: Run, home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a script gets their number; a terminal the words of at least 20 patients."""
    code, shown, error = run("--home", home.folder, "words", "propose")
    assert (code, error, WORD in shown) == (0, "", False)
    assert "1 word was" in shown
    assert json.loads(run("--home", home.folder, "words", "propose", "--json")[1]) == {"proposed": 1}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = run("--home", home.folder, "words", "propose")[1]
    assert all(text in shown for text in (WORD, "20"))
    assert RARE not in shown
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert [path for path in files if WORD.encode() in path.read_bytes()] == []


def test_an_accepted_word_says_who_when_and_why(run: Run, home: SiteHome) -> None:
    """With the version and digest that reports name; the audit keeps what was taken back."""
    empty = json.loads(run("--home", home.folder, "words", "show", "--json")[1])
    assert (empty["version"], empty["words"]) == (0, [])
    code, shown, _ = run("--home", home.folder, "words", "accept", WORD.upper(), "--reason", "late phase", "--json")
    listed = json.loads(shown)
    assert (code, listed["words"]) == (0, 1)
    content = json.loads(run("--home", home.folder, "words", "show", "--json")[1])
    assert (content["version"], content["digest"]) == (listed["version"], listed["digest"])
    (entry,) = content["words"]
    assert (entry["word"], entry["by"], entry["reason"]) == (WORD, "A. Miller", "late phase")
    text = run("--home", home.folder, "words", "show")[1]
    assert all(part in text for part in (WORD, "A. Miller", "late phase", listed["digest"]))
    assert run("--home", home.folder, "words", "drop", WORD, "--reason", "a nickname")[0] == 0
    assert json.loads(run("--home", home.folder, "words", "show", "--json")[1])["digest"] == empty["digest"]
    audit = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert [(event["action"], event["detail"]) for event in audit] == [
        ("word-accept", f"{WORD}: late phase"),
        ("word-drop", f"{WORD}: a nickname"),
    ]


@pytest.mark.parametrize(
    ("word", "why"), [(RARE, "20 patients"), (NAME, "removed here"), ("kowalczyk", "surname"), ("B12", "one word")]
)
def test_a_refusal_is_one_sentence_that_does_not_quote_the_word(run: Run, home: SiteHome, word: str, why: str) -> None:
    code, shown, error = run("--home", home.folder, "words", "accept", word)
    assert (code, shown, error.count("\n")) == (ExitCode.USAGE, "", 1)
    assert why in error
    assert word not in error
