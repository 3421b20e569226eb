"""The node's log: one JSON line per event on standard error, with codes and counts."""

import logging
import sys

import structlog


def log_codes_only() -> None:
    """Configure the log; logs of the DICOM libraries, which quote values, are switched off."""
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),  # standard output is for answers
    )
