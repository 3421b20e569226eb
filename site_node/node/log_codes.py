"""What the node logs: one JSON line an event on standard error, with codes and counts."""

import logging
import sys

import structlog


def log_codes_only() -> None:
    """Our own log lines carry codes and counts; those of the DICOM libraries quote values and are switched off."""
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),  # standard output is for answers
    )
