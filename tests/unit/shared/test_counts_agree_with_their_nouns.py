"""A count reads as English: one study waits, two studies wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.counts import counted, plural

PLURALS = {
    "study": "studies",
    "entry": "entries",
    "box": "boxes",
    "patch": "patches",
    "class": "classes",
    "day": "days",
    "new image": "new images",
    "site": "sites",
}
VERBS = {"waits": "wait", "is": "are", "was": "were", "has": "have", "joins": "join", "goes": "go", "": ""}


@given(st.integers(0, 10**9), st.sampled_from(sorted(PLURALS)), st.sampled_from(sorted(VERBS)))
def test_only_one_is_singular(number: int, noun: str, verb: str) -> None:
    """The number, its noun and the verb, of which both change together, and nothing else."""
    words = (noun, verb) if number == 1 else (PLURALS[noun], VERBS[verb])
    assert counted(number, noun, verb) == " ".join(filter(None, (str(number), *words)))


@pytest.mark.parametrize(("noun", "expected"), PLURALS.items())
def test_a_noun_has_its_plural(noun: str, expected: str) -> None:
    """As a dictionary has it."""
    assert plural(noun) == expected
