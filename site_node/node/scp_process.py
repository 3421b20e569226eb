"""The SCP in its own process: in one process with computing stages it answers at a fifth of its rate.

The process ends when the pipe to its parent closes, so it never outlives the parent, however that ends. A process that
dies is started again.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import structlog

from shared.crypto.keys import load_secret
from shared.errors.base import InternalError, RicordError
from shared.errors.tree import error_for
from shared.terminal import be_quiet
from site_node.home.associations import count_association
from site_node.home.folder import SiteHome
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.network.tls import server_context
from site_node.node.log_codes import log_codes_only
from site_node.pseudonyms.names import KeyedNames
from site_node.settings.dimse import ScpSettings

log = structlog.get_logger(__name__)
_CHECK_SECONDS = 1.0


@contextmanager
def serving_in_process(home: Path, settings: ScpSettings) -> Iterator[BaseProcess]:
    """Serve in a process until the block ends; raises what the first start raises, such as `PortInUse`."""
    ended = threading.Event()
    running = [_start(home, settings)]

    def watch() -> None:
        while not ended.wait(_CHECK_SECONDS):
            if not running[0][0].is_alive():
                log.error("scp.ended", code=running[0][0].exitcode)
                try:
                    running[0] = _start(home, settings)
                except RicordError as error:
                    log.error("scp.not_started", code=error.code)

    watcher = threading.Thread(target=watch, name="scp-watch")
    watcher.start()
    try:
        yield running[0][0]
    finally:
        ended.set()
        watcher.join()
        process, pipe = running[0]
        pipe.close()
        process.join()


def _start(home: Path, settings: ScpSettings) -> tuple[BaseProcess, Connection]:
    """Start the process and wait until it listens."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_listen, args=(home, settings, theirs), name="scp", daemon=True)
    process.start()
    theirs.close()
    try:
        failure = ours.recv()
    except EOFError:
        failure = (InternalError().code, {})
    if failure is not None:
        ours.close()
        process.join()
        raise error_for(*failure)
    return process, ours


def _listen(home: Path, settings: ScpSettings, pipe: Connection) -> None:
    """The process: listen until the other end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us when it has finished
    log_codes_only()
    be_quiet()
    try:
        secret = load_secret(SiteHome(home).pseudonym_key)
        arrivals = Arrivals(SiteHome(home).arrivals, KeyedNames(secret).study_key)
        tls = server_context(settings.tls, home) if settings.tls else None
        with serving(settings, arrivals, tls, count_end=partial(count_association, SiteHome(home).ledger)):
            pipe.send(None)
            pipe.poll(None)
    except RicordError as error:
        pipe.send((error.code, error.fields))
