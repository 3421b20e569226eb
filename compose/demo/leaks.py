"""A last check by another program: no identifier planted in the archives may be in anything that left."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

SHORTEST = 4  # characters; a shorter text occurs everywhere by chance
OUTSIDE = ("coordinator", "curator", "logs")  # folders outside the hospitals, and the programs' logs
ENCODINGS = ("utf-8", "latin-1", "iso8859-5", "iso8859-7", "iso2022_jp", "euc_jp", "euc_kr", "gb18030")


def leaks(folder: Path, planted: Iterable[str]) -> list[str]:
    """The files below `folder` outside the hospitals whose content or name holds a planted text in any case.

    `grep` searches the bytes: thousands of texts in hundreds of megabytes in one pass.
    """
    searched = [folder / name for name in OUTSIDE if (folder / name).exists()]
    names = "\n".join(str(path.relative_to(folder)) for place in searched for path in place.rglob("*"))
    with NamedTemporaryFile("wb") as patterns, NamedTemporaryFile("wb", suffix=".names") as listed:
        patterns.write(b"\n".join(sorted({form for text in planted for form in _forms(text)})))
        listed.write(names.encode())
        patterns.flush()
        listed.flush()
        result = subprocess.run(
            ["grep", "-rlaiFf", patterns.name, listed.name, *map(str, searched)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    if result.returncode not in {0, 1}:  # 1: nothing found
        raise OSError(result.stderr)
    return result.stdout.splitlines()


def _forms(text: str) -> Iterator[bytes]:
    """The text as DICOM's character sets would write it, as it is and in both cases."""
    for form in {text, text.lower(), text.upper()} if len(text) >= SHORTEST else ():
        for encoding in ENCODINGS:
            try:
                yield form.encode(encoding)
            except UnicodeEncodeError:
                continue
