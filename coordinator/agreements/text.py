"""The agreement's text as data, and its digest, which the terms carry."""

import hashlib
from importlib.resources import files

from shared.ids import Sha256

EDITION = "agreement-1"


def agreement_text() -> str:
    """The text that a site reads before signing."""
    return (files("coordinator.agreements") / "data" / f"{EDITION}.txt").read_text(encoding="utf-8")


def text_digest(text: str) -> Sha256:
    """SHA-256 over the text's UTF-8 bytes."""
    return Sha256(hashlib.sha256(text.encode()).hexdigest())
