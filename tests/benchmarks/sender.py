"""C-STORE to dcmtk's storescp, which syncs nothing: our sender beside pynetdicom as its documentation uses it.

Most of the difference is TCP_NODELAY, which pynetdicom never sets, so it has a row with that alone too.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, _config
from pynetdicom.events import EVT_CONN_OPEN
from pynetdicom.presentation import build_context

from site_node.network.connection import send_at_once
from site_node.network.store_scu import list_files, send
from site_node.settings.dimse import SendSettings
from tests.benchmarks.measure import Row, medians
from tests.benchmarks.scp import FILES, empty, lots, storescp

_PROMISED = 1.5  # of the defaults' files a second
_TURNS = 3


def rows() -> list[Row]:
    """Files a second of each, to the same storescp."""
    if shutil.which("storescp") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder:
        source, kept = Path(folder) / "files", Path(folder) / "kept"
        lots(source, 1)
        with storescp(kept) as port:
            runs: dict[str, Callable[[], None]] = {
                "our sender": partial(_ours, source, port, kept),
                "pynetdicom's defaults": partial(_defaults, source, port, kept),
                "pynetdicom with TCP_NODELAY": partial(_defaults, source, port, kept, [(EVT_CONN_OPEN, send_at_once)]),
            }
            seconds = medians(runs, turns=_TURNS)
    rate = {name: FILES / one for name, one in seconds.items()}
    against = "pynetdicom's defaults"
    return [
        Row(
            f"C-STORE by {name}",
            each,
            "files/s",
            against,
            each / rate[against],
            _PROMISED if name == "our sender" else None,
        )
        for name, each in rate.items()
    ]


def _ours(source: Path, port: int, kept: Path) -> None:
    """As the command: finding the files is part of it."""
    done = send(list_files([source]).files, SendSettings(host="127.0.0.1", port=port, ae_title="RICORD"))
    _check(len(done.sent), kept)


def _defaults(source: Path, port: int, kept: Path, handlers: Sequence[tuple[Any, ...]] = ()) -> None:
    """One association, and a data set that is read and given to `send_c_store`."""
    with _defaults_set():
        ae = AE()
        contexts = [build_context("1.2.840.10008.5.1.4.1.1.2")]
        association = ae.associate("127.0.0.1", port, contexts, evt_handlers=list(handlers))
        answers = [association.send_c_store(dcmread(path)) for path in sorted(source.rglob("*.dcm"))]
        association.release()
    _check(sum(one.get("Status") == 0 for one in answers), kept)


@contextmanager
def _defaults_set() -> Iterator[None]:
    before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, False
    try:
        yield
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = before


def _check(count: int, kept: Path) -> None:
    """All are there; then remove them."""
    if count != FILES or sum(one.is_file() for one in kept.iterdir()) != FILES:
        raise RuntimeError("not all was sent")
    empty(kept)
