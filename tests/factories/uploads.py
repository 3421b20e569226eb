"""The bytes of an upload in pieces, and what lies in a folder of blobs."""

from pathlib import Path

from coordinator.store.blobs import Blobs

CHUNK = 1 << 16


def chunks(data: bytes, start: int = 0) -> list[bytes]:
    """`data` from `start` on, in pieces."""
    return [data[at : at + CHUNK] for at in range(start, len(data), CHUNK)]


def files(blobs: Blobs) -> list[Path]:
    """Everything in the folder."""
    return [path for folder in (blobs._partial, blobs._sealed) for path in folder.rglob("*") if path.is_file()]
