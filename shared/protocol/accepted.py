"""The words that a site lets leave besides the public ones: a person of the hospital accepted each by name."""

import hashlib
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.protocol.words import unmarked

MOST_ACCEPTED = 1000  # words of a site, and so of each of its studies
_SHORTEST, _LONGEST = 3, 40  # letters


def is_word(text: str) -> bool:
    """Whether a text is one word as lists of accepted words have it: letters only, folded case, without marks."""
    return text.isalpha() and _SHORTEST <= len(text) <= _LONGEST and text == unmarked(text)


def _checked(text: str) -> str:
    if not is_word(text):
        raise ValueError("no word of letters in folded case")
    return text


AcceptedWord = Annotated[str, AfterValidator(_checked)]


class AcceptedList(Frozen):
    """A site's accepted words as they stood at one version, which is the number of the decision that made it."""

    version: int = Field(default=0, ge=0)
    words: frozenset[AcceptedWord] = Field(default=frozenset(), max_length=MOST_ACCEPTED)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the words in order, as canonical JSON."""
        return Sha256(hashlib.sha256(canonical_json(sorted(self.words))).hexdigest())


NONE_ACCEPTED = AcceptedList()
