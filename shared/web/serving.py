"""A console served beside a program's other work: a thread that starts and ends in bounded time, and idles."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from shared.errors.base import InternalError
from shared.errors.inputs import SourceMissing
from shared.errors.settings import PortInUse
from shared.web.connection import Connection
from shared.web.settings import ConsoleSettings

_IDLE_SECONDS = 30  # a connection without a request stays open for so long
_HANDSHAKE_SECONDS, _SHUTDOWN_SECONDS = 10.0, 1.0
_START_SECONDS = 10.0
_END_SECONDS = 5.0  # for requests that run when the program ends


@contextmanager
def serving(app: ASGIApp, settings: ConsoleSettings, folder: Path) -> Iterator[None]:
    """Answer while the block runs; `folder` is where relative paths of the settings begin.

    Raises `PortInUse`, and `SourceMissing` where certificate and key cannot be used.
    """
    tls = _tls(settings, folder)
    with _bound(settings) as listener:
        server = _Server(app, listener, tls)
        server.start()
        try:
            yield
        finally:
            server.stop()


class _Server:
    """The event loop, in a thread of its own."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
        )
        self._state = ServerState()
        self._listener, self._tls = listener, tls
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="console", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise InternalError("the console did not start")

    def stop(self) -> None:
        """Stop listening; requests that run have some seconds to end."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_END_SECONDS + 2 * _SHUTDOWN_SECONDS)

    async def _serve(self) -> None:
        self._config.load()
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self._config, self._state, {}),
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS if self._tls else None,
        )
        self._started.set()
        await self._ended.wait()
        server.close()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_END_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()


@contextmanager
def _bound(settings: ConsoleSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen()
        except OSError as error:
            port = str(settings.port)
            raise PortInUse(str(error), host=settings.host, port=port, key="console.port") from error
        yield listener


def _tls(settings: ConsoleSettings, folder: Path) -> ssl.SSLContext | None:
    if settings.certificate is None or settings.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(folder / settings.certificate, folder / settings.key)
    except OSError as error:  # an `ssl.SSLError` too
        raise SourceMissing(str(error), source=f"The pair of {settings.certificate} and {settings.key}") from error
    return context
