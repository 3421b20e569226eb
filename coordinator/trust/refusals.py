"""Refusals are events of the audit log: the first of each caller and method in an hour, so that nobody floods it."""

from collections.abc import Callable
from datetime import datetime

import structlog

from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Store
from shared.errors.base import InternalError, RicordError
from shared.errors.storage import StorageError
from shared.errors.transport import TransportError

STRANGER = "a stranger"  # who has no certificate of this federation
_PASSING = (StorageError, TransportError, InternalError)  # failures of the centre, or of the line

NoteRefusal = Callable[[str, str, RicordError], None]

_log = structlog.get_logger("coordinator")


def note_nothing(caller: str, method: str, error: RicordError) -> None:
    """For servers without a store."""


def noting_refusals(store: Store, clock: Clock = utc_now) -> NoteRefusal:
    """Notes that a caller, by its name, was refused a method for an error; it raises nothing."""
    noted = dict[tuple[str, str], datetime]()

    def note(caller: str, method: str, error: RicordError) -> None:
        now = clock()
        hour = now.replace(minute=0, second=0, microsecond=0)
        method = method.removeprefix("/ricord.v1.")
        if isinstance(error, _PASSING) or noted.get((caller, method)) == hour:
            return
        noted[caller, method] = hour  # before the store is asked: while that is locked, further refusals do not wait
        try:
            with store.begin() as work:
                if work.note_refusal(caller, method, hour):
                    work.append_event(at=now, actor=caller, action=method, about="", result=f"refused: {error.code}")
        except RicordError as failure:
            _log.error("refusal-not-noted", method=method, code=failure.code)

    return note
