"""Which study a person means, by its key as lists show it, or so much of its beginning that it fits one study only."""

import re
from collections.abc import Callable, Collection, Iterable

from shared.errors.inputs import InvalidArgument, NotFound
from shared.references import named
from site_node.home.ledger import StudyEntry

_DIGITS = re.compile(r"[0-9a-f.]{1,64}")  # of a key or a UID: anything else may be the patient's


def study_named(
    entries: Iterable[StudyEntry],
    reference: str,
    *,
    kind: str = "study",
    shown: str = "its key as `ricord-site review list` shows it",
    names: Callable[[StudyEntry], Collection[str]] = lambda entry: (entry.key,),
) -> StudyEntry:
    """The one of `entries` that `reference` names by its key, or as `names` says.

    `kind` says in words which they are, and `shown` which name to give and where it is shown.

    Raises `InvalidArgument`, `NotFound`, `AmbiguousReference`; none quotes what was typed.
    """
    if not _DIGITS.fullmatch(reference):
        raise InvalidArgument(name="The study", problem=f"give {shown}")
    entry = named(entries, reference, names, kind=kind)
    if entry is None:
        raise NotFound(kind=kind, name=f"with a name that begins so; give {shown}")
    return entry
