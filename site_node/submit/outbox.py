"""Sealed studies that wait."""

from site_node.study import Sealed


def discard(sealed: Sealed) -> None:
    """Delete a sealed study from the outbox: it has its receipt, or is sealed anew if it goes on."""
    for path in reversed(sealed.files):
        path.unlink(missing_ok=True)
