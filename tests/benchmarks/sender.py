"""C-STORE to dcmtk's storescp, which syncs nothing: our sender beside pynetdicom as its documentation uses it.

Most of the difference is TCP_NODELAY, which pynetdicom never sets, so a third row adds that option alone.
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

from site_node.network.store_scu import list_files, send
from site_node.network.upper_layer import send_at_once
from site_node.settings.dimse import SendSettings
from tests.benchmarks.measure import Row, medians
from tests.benchmarks.scp import FILES, empty, storescp, write_parts

_PROMISED = 1.5  # times the defaults' files a second
_ROUNDS = 3


def rows() -> list[Row]:
    """Files a second of each sender, to the same storescp."""
    if shutil.which("storescp") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder:
        source, sink = Path(folder) / "files", Path(folder) / "kept"
        write_parts(source, 1)
        with storescp(sink) as port:
            runs: dict[str, Callable[[], None]] = {
                "our sender": partial(_ours, source, port, sink),
                "pynetdicom's defaults": partial(_defaults, source, port, sink),
                "pynetdicom with TCP_NODELAY": partial(_defaults, source, port, sink, [(EVT_CONN_OPEN, send_at_once)]),
            }
            seconds = medians(runs, rounds=_ROUNDS)
    rates = {name: FILES / median for name, median in seconds.items()}
    against = "pynetdicom's defaults"
    return [
        Row(
            f"C-STORE by {name}",
            rate,
            "files/s",
            against,
            rate / rates[against],
            _PROMISED if name == "our sender" else None,
        )
        for name, rate in rates.items()
    ]


def _ours(source: Path, port: int, sink: Path) -> None:
    """As our command does it; listing the files is timed too."""
    done = send(list_files([source]).files, SendSettings(host="127.0.0.1", port=port, ae_title="RICORD"))
    _check(len(done.sent), sink)


def _defaults(source: Path, port: int, sink: Path, handlers: Sequence[tuple[Any, ...]] = ()) -> None:
    """One association; each data set is read and passed to `send_c_store`."""
    with _default_chunking():
        ae = AE()
        contexts = [build_context("1.2.840.10008.5.1.4.1.1.2")]
        association = ae.associate("127.0.0.1", port, contexts, evt_handlers=list(handlers))
        answers = [association.send_c_store(dcmread(path)) for path in sorted(source.rglob("*.dcm"))]
        association.release()
    _check(sum(answer.get("Status") == 0 for answer in answers), sink)


@contextmanager
def _default_chunking() -> Iterator[None]:
    before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, False
    try:
        yield
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = before


def _check(count: int, sink: Path) -> None:
    """Check that every file arrived, then remove them."""
    if count != FILES or sum(path.is_file() for path in sink.iterdir()) != FILES:
        raise RuntimeError("not all was sent")
    empty(sink)
