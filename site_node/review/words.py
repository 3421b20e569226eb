"""A person's decisions on words: which leave besides the public ones. Each is one change of the ledger.

Closed by default: what was not proposed cannot be accepted, nor what a removed name or a common surname is.
"""

from shared.errors.inputs import InvalidArgument
from shared.protocol.accepted import MOST_ACCEPTED, AcceptedList, is_word
from shared.protocol.words import Words, unmarked
from site_node.deidentify.identifiers import normal
from site_node.home.ledger import Ledger
from site_node.home.words import SiteWords
from site_node.pseudonyms.names import KeyedNames

_WORD = "WORD"


def accept(
    ledger: Ledger, names: KeyedNames, vocabulary: Words, text: str, *, actor: str, reason: str = ""
) -> AcceptedList:
    """Let a word leave in the texts of studies that are de-identified from now on; returns the new list.

    Raises `InvalidArgument`, which does not quote the word, where it may not be accepted.
    """
    words, word = ledger.words(names), unmarked(text.strip())
    with ledger.changing():
        problem = _problem(words, vocabulary, word)
        if problem:
            raise InvalidArgument(name=_WORD, problem=problem)
        words.accept(word, normal(word), actor=actor, reason=" ".join(reason.split()))
        return words.accepted()


def drop(ledger: Ledger, names: KeyedNames, text: str, *, actor: str, reason: str = "") -> AcceptedList:
    """Take an accepted word back; studies that are not sealed yet begin again without it. Returns the new list.

    Raises `InvalidArgument` where it is not on the list.
    """
    words, word = ledger.words(names), unmarked(text.strip())
    with ledger.changing():
        if word not in words.accepted().words:
            raise InvalidArgument(name=_WORD, problem="it is not on the list of accepted words")
        words.drop(word, actor=actor, reason=" ".join(reason.split()))
        return words.accepted()


def _problem(words: SiteWords, vocabulary: Words, word: str) -> str:
    """Why a word may not be accepted; empty where it may."""
    accepted, least = words.accepted().words, vocabulary.rules.public.patients
    problems = {
        "it is not one word of three letters or more": not is_word(word),
        "it is a common surname": word in vocabulary.surnames,
        "a name, place or institution that was removed here has this form": words.is_removed(normal(word)),
        "it is accepted already": word in accepted,
        f"it was not dropped from the texts of at least {least} patients here": words.patients(word) < least,
        f"the list holds {MOST_ACCEPTED} words already": len(accepted) >= MOST_ACCEPTED,
    }
    return next((problem for problem, applies in problems.items() if applies), "")
