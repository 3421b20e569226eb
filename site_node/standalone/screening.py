"""`screen` on a folder without a home: for looking only; nothing is kept."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from site_node.node.composition import NOT_ENROLLED
from site_node.pseudonyms.keyed import SECRET_BYTES, Pseudonyms
from site_node.receive.folder import Reception, receive_folder


@contextmanager
def received(source: Path, pseudonyms: Pseudonyms | None = None) -> Iterator[Reception]:
    """A source received into a private temporary folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
        keys = pseudonyms or Pseudonyms(os.urandom(SECRET_BYTES), NOT_ENROLLED)
        yield receive_folder(source, Path(folder), keys)
