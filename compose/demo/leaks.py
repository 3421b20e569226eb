"""A last look with other eyes: none of the identifiers planted in the archives may be in anything that left."""

from collections.abc import Iterable, Iterator
from pathlib import Path

SHORTEST = 4  # characters; a shorter text is found in anything
LEFT = ("coordinator", "curator", "logs")  # what a hospital does not hold; the logs of every program besides


def everything_that_left(folder: Path) -> Iterator[Path]:
    """Every file outside the hospitals' homes and archives, the opened studies among them."""
    for name in LEFT:
        yield from (path for path in sorted((folder / name).rglob("*")) if path.is_file())


def leaks(folder: Path, planted: Iterable[str]) -> list[str]:
    """The files in which a planted text stands in UTF-8, Latin-1 or UTF-16, in any case."""
    needles = {form for text in planted if len(text) >= SHORTEST for form in _forms(text)}
    found = []
    for path in everything_that_left(folder):
        content = (path.read_bytes() + str(path).encode()).lower()
        if any(needle in content for needle in needles):
            found.append(str(path.relative_to(folder)))
    return found


def _forms(text: str) -> Iterator[bytes]:
    lowered = text.lower()
    for encoding in ("utf-8", "latin-1", "utf-16-le"):
        try:
            yield lowered.encode(encoding)
        except UnicodeEncodeError:
            continue
