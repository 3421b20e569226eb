"""uvicorn's connection with the limits of a console: a head that does not come, or is no HTTP, ends it."""

import asyncio
from asyncio import TimerHandle
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.web.guard import SECURITY_HEADERS

HEAD_SECONDS = 10.0
MOST_CONNECTIONS = 256


class Connection(H11Protocol):
    """A connection of a browser. uvicorn ends an idle one, and h11 one whose head is too long."""

    _late: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """The first head is awaited."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """After an answer, a further head is awaited from its first byte."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr] # `None` before the first
            self._await_head()
        else:
            self._head_came()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, with the headers of every answer."""
        del msg
        headers = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
        headers += [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Connection", b"close")]
        with suppress(h11.LocalProtocolError):  # an answer has begun
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=b"This is no request of a browser.\n"),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
