"""The fleet port's socket, and HTTPS on it: uvicorn's parser, with our limits on connections and heads of requests."""

import asyncio
import socket
import ssl
import threading
from asyncio import TimerHandle
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from shared.errors.federation import RunFailed
from shared.errors.settings import PortInUse

HANDSHAKE_SECONDS = 10.0
HEAD_SECONDS = 10.0
HEAD_BYTES = 64 << 10
CONNECTIONS = 2_000
_IDLE_SECONDS = 120  # a connection without a request stays open for so long
_CLOSING_SECONDS = 0.2  # for the peer to read why
_START_SECONDS = 60.0


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises `PortInUse`. Port 0 binds a free port, which only tests do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUse(host=host, port=str(port), key="fleet_port") from error
    return listener


class HttpsServer:
    """An ASGI application behind TLS on a listening socket, in a thread of its own."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, certificate: Path, key: Path) -> None:
        self._config = uvicorn.Config(
            app, log_level="warning", access_log=False, ws="none", lifespan="off", timeout_keep_alive=_IDLE_SECONDS
        )
        self._listener = listener
        self._files = certificate, key
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._connections = ServerState()
        self._thread = threading.Thread(target=self._run, name="fleet port", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Serve from now on; raises `RunFailed`."""
        self.load_certificate()
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise RunFailed(problem="the fleet port did not open")

    def load_certificate(self) -> None:
        """Read the certificate and key; new connections get them."""
        self._tls.load_cert_chain(*self._files)

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start_soon(self, work: Coroutine[None, None, None]) -> "Future[None]":
        """Begin some work on the thread that serves."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Stop listening; open requests are dropped."""
        if self._started.is_set() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(timeout=5)
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._config.load()
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: _Connection(self._config, self._connections, {}),
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_CLOSING_SECONDS,
            backlog=self._config.backlog,
        )
        self._started.set()
        await self._ended.wait()
        server.close()
        for connection in list(self._connections.connections):
            connection.transport.abort()
        for task in list(self._connections.tasks):
            task.cancel()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, which ends when a request's head is too long or does not come."""

    _late: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """The first head is awaited."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is whole."""
        super().data_received(data)
        if self._late is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A further head is awaited."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_came()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """A connection that closes now, with its body unread, does not wait until its peer has sent everything."""
        super().on_response_complete()
        self._abort_if_closing()

    def send_400_response(self, msg: str) -> None:
        """As above, after what is no HTTP."""
        super().send_400_response(msg)
        self._abort_if_closing()

    def _abort_if_closing(self) -> None:
        if self.transport.is_closing():
            self.loop.call_later(_CLOSING_SECONDS, self.transport.abort)

    def _await_head(self) -> None:
        if self._late is None:
            self._late, self._head_bytes = self.loop.call_later(HEAD_SECONDS, self._abort), 0

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _abort(self) -> None:
        self._late = None
        self.transport.abort()
