"""The lists of words: what of them is a name, and what may be glued."""

from shared.protocol.loader import load_profile
from shared.protocol.words import Words

WORDS, PROSE = load_profile().vocabulary, load_profile("tcia").vocabulary
MOST = 3  # parts of a glued word


def is_glued(word: str, words: Words, most: int = MOST) -> bool:
    places = range(3, len(word) - 2) if most > 1 else ()
    return word in words.glued or any(
        word[:at] in words.glued and is_glued(word[at:], words, most - 1) for at in places
    )


def test_hardly_any_surname_is_made_of_glued_words() -> None:
    """Of the 20,000 commonest surnames at most five are two or three of the words that may be glued."""
    assert len(WORDS.surnames) == WORDS.rules.public.common_surname
    assert len([name for name in WORDS.surnames if is_glued(name, WORDS)]) <= 5


def test_a_surname_in_a_text_is_public_many_times() -> None:
    """A common surname leaves in text only as a word of three collections and 20 patients; prose adds none of them."""
    public = {word for word, known in WORDS.vocabulary.items() if known.collections >= 3 and known.patients >= 20}
    assert WORDS.in_text & WORDS.surnames <= public
    assert not WORDS.rules.reviewed.words & WORDS.surnames
    assert len(PROSE.prose & PROSE.surnames) < 100  # `and`, `do`, `will`: words that any prose has
    assert not WORDS.prose


def test_a_word_is_glued_where_it_is_long_public_and_no_surname() -> None:
    """Each of the three is asked, to the last letter, collection and patient."""
    least = WORDS.rules.public
    for word, known in WORDS.vocabulary.items():
        public = known.collections >= least.collections and known.patients >= least.patients
        assert (word in WORDS.glued) == (len(word) >= 3 and public and not known.surname_rank)
        assert (word in WORDS.known_everywhere) == (known.collections >= least.known_everywhere)
        if word not in WORDS.rules.reviewed.words:
            assert (word in WORDS.in_text) == (public or not known.surname_rank)
    assert {len(word) for word in WORDS.glued} >= {3, 4}
    assert any(len(word) < 3 for word in WORDS.vocabulary)
