"""The log of every program and of its processes: JSON lines on standard error, of one schema.

`time` (ISO 8601, UTC), `level`, `program` and `event`, then what the event names: codes, counts, opaque keys. A call
that a coordinator refuses has a `request`, which the caller is told, so that both logs can be put side by side.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.errors.base import RicordError


def log_json_lines(program: str) -> None:
    """Configure the log of this process; standard output is for answers."""

    def name_program(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["program"] = program
        return event

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="time"),
            name_program,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # a line at a time, also beside other processes
    )


def about(error: RicordError) -> dict[str, str]:
    """What a log says of an error: its code, its sentence, and the request that the other side refused with it."""
    return {"code": error.code, "message": error.public} | ({"request": error.request} if error.request else {})
