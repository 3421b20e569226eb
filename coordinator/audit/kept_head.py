"""The last head of the audit log, signed and kept beside the database: a log whose end was cut shows here too."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from coordinator.audit.service import AuditService
from shared.errors.base import RicordError

_SECONDS = 1.0  # between two looks whether the log grew

_log = structlog.get_logger("coordinator")


@contextmanager
def keeping_head(audit: AuditService) -> Iterator[None]:
    """Keep the head of the log while the block runs, and once more after it."""
    stop = threading.Event()

    def keep() -> None:
        problem, stopping = "", False
        while not stopping:
            stopping = stop.wait(_SECONDS)
            try:
                audit.keep_head()
                problem = ""
            except (RicordError, OSError) as error:
                known, problem = problem, str(error)
                if problem != known:
                    _log.error("audit-head", code=getattr(error, "code", type(error).__name__), message=problem)

    keeper = threading.Thread(target=keep, name="audit head")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
