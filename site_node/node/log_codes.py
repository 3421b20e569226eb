"""The node's log: one JSON line per event on standard error, with codes and counts."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


def log_codes_only() -> None:
    """Configure the log; logs of the DICOM libraries, which quote values, are switched off."""
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),  # standard output is for answers
    )


@contextmanager
def silent() -> Iterator[None]:
    """Log nothing in the block, where a person sees the same on the terminal."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
