"""Which texts are markers that may stay, and which of them may be a name or a number as well."""

import re
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from site_node.pixels.allow import is_doubtful, is_marker
from site_node.pixels.rules import load_rules

ALLOWED = load_rules().allowed
WORDS = st.sampled_from(sorted(ALLOWED.words))
LETTERS = st.sampled_from(sorted(ALLOWED.letters))
MEASURES = st.builds(
    lambda number, space, unit: f"{number}{space}{unit}",
    st.sampled_from(["7", "90", "180", "7.5", "110,25"]),
    st.sampled_from(["", " "]),
    st.sampled_from(sorted(ALLOWED.units)),
)


@pytest.mark.parametrize(
    "text", ["L", "R", "AP", "PA", "L AP", "PORTABLE", "AP PORTABLE", "SUPINE", "LAP", "90 CM", "80KV"]
)
def test_side_projection_position_and_one_measure_pass(text: str) -> None:
    assert is_marker(text, ALLOWED)


@pytest.mark.parametrize(
    "text", ["", "DOE", "AB", "J D", "L R", "12", "1234 CM", "PAL", "AP DOE", "5 CM 6 CM", "PORTALE", "70 KG", "AP 7"]
)
def test_everything_else_stops_the_study(text: str) -> None:
    """Names that look like a marker, initials, dates and bare numbers."""
    assert not is_marker(text, ALLOWED)


@given(
    words=st.lists(WORDS, max_size=7), letters=st.lists(LETTERS, max_size=2), measures=st.lists(MEASURES, max_size=2),
    order=st.randoms(use_true_random=False), mark=st.sampled_from([" ", ", ", "/", " - "]),
)  # fmt: skip
@example(words=["AP"] * 6, letters=[], measures=[], order=None, mark=" ")
@example(words=["AP"] * 7, letters=[], measures=[], order=None, mark=" ")
@example(words=["AP"] * 5, letters=[], measures=["90 CM"], order=None, mark=" ")
@example(words=["AP"] * 6, letters=[], measures=["90 CM"], order=None, mark=" ")
@example(words=[], letters=[], measures=["90 CM", "80 KV"], order=None, mark=" ")
def test_a_few_allowed_words_one_letter_and_one_measure_make_a_marker(
    words: list[str], letters: list[str], measures: list[str], order: Random | None, mark: str
) -> None:
    """In any order, letters small or large, and none of them more than once or beyond six in all."""
    parts = [*words, *letters, *measures]
    if order is not None:
        order.shuffle(parts)
    passes = 0 < len(parts) <= 6 and len(letters) <= 1 and len(measures) <= 1
    for text in (mark.join(parts), mark.join(parts).lower()):
        assert is_marker(text, ALLOWED) == passes


@given(pieces=st.lists(WORDS | LETTERS, min_size=1, max_size=4))
@example(pieces=["L", "AP"])
@example(pieces=["AP", "L"])
@example(pieces=["A", "P", "AP"])
def test_words_that_a_reader_glued_together_follow_one_letter_at_most(pieces: list[str]) -> None:
    """`LAP` passes and `PAL` does not, unless the letters make up a word of their own."""
    spelled = re.compile(f"[{''.join(ALLOWED.letters)}]?(?:{'|'.join(ALLOWED.words)})+")
    glued = "".join(pieces)
    assert is_marker(glued, ALLOWED) == (glued in ALLOWED.letters or spelled.fullmatch(glued) is not None)


@given(st.text(alphabet="BCDEGIJKMNOQSTUVWXYZ", min_size=1, max_size=3), WORDS)
def test_a_marker_with_something_unknown_beside_it_is_not_a_marker(unknown: str, word: str) -> None:
    """One allowed word does not vouch for the rest of the line."""
    whole = ALLOWED.words | ALLOWED.letters
    if unknown not in whole:
        assert not is_marker(f"{word} {unknown}", ALLOWED)


@given(words=st.lists(WORDS | LETTERS, max_size=2), measures=st.lists(MEASURES, max_size=2))
@example(words=["SID"], measures=[])
@example(words=["SID", "AP"], measures=[])
@example(words=["AP", "SID"], measures=[])
@example(words=["SID"], measures=["90 CM"])
@example(words=["AP"], measures=["90 CM"])
def test_what_may_be_a_name_or_a_number_is_doubtful_alone(words: list[str], measures: list[str]) -> None:
    """A word that is a surname too, with a measure or without, and a measure by itself; two words are neither."""
    is_one = not words or (len(words) == 1 and words[0] in ALLOWED.doubtful)
    assert is_doubtful(" ".join([*words, *measures]).lower(), ALLOWED) == is_one
