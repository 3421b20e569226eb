"""The examination of a home: which parts work, which do not, and what to do about it."""

import os
import sqlite3
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from shared.durable import damage_of, denial_of
from shared.errors.base import RicordError
from shared.errors.storage import AccessDenied, DatabaseDamaged
from shared.frozen import Frozen


class Health(StrEnum):
    """How a part is."""

    GOOD = "good"
    NOTE = "note"  # not in use, or not yet
    PROBLEM = "problem"


class Examined(Frozen):
    """A part, how it is, and in a sentence what it is like or what to do."""

    part: str
    health: Health
    sentence: str


Result = tuple[Health, str]


def examined(part: str, examination: Callable[[], Result]) -> Examined:
    """The result of one examination; an error that it meets is a problem, and its sentence says what to do."""
    try:
        health, sentence = examination()
    except (RicordError, OSError, sqlite3.Error) as error:
        health, sentence = Health.PROBLEM, sentence_of(error)
    return Examined(part=part, health=health, sentence=sentence)


def check_folders(folders: Mapping[str, Path]) -> Result:
    """Whether this account may read and write each folder that is there, by the name that is shown for it."""
    denied = [
        name for name, path in folders.items() if path.exists() and not os.access(path, os.R_OK | os.W_OK | os.X_OK)
    ]
    if denied:
        return Health.PROBLEM, f"This account may not read and write {', '.join(denied)}; mend owner, mode or disk."
    return Health.GOOD, "This account may read and write them."


def sentence_of(error: Exception) -> str:
    """What an error says; raises one that is a defect."""
    if isinstance(error, RicordError):
        return error.public
    if damage := damage_of(error):
        return DatabaseDamaged(file="A database of this home", problem=damage).public
    if denial := denial_of(error):
        return AccessDenied(problem=denial).public
    raise error
