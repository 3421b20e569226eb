"""The node's log: one JSON line per event on standard error, with codes and counts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.logs import log_json_lines


def log_codes_only() -> None:
    """Configure the log; logs of the DICOM libraries, which quote values, are switched off."""
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
    log_json_lines("ricord-site")


@contextmanager
def silent() -> Iterator[None]:
    """Log nothing in the block, where a person sees the same on the terminal."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
