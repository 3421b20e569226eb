"""The line between a site and its coordinator, which tests halt, cut and slow down: a TCP proxy on loopback."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

PIECE = 1 << 16  # bytes


class Line(ThreadingTCPServer):
    """Passes bytes between its own `port` and the coordinator's; `sent` counts those that went to the coordinator."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.sent = 0
        self.delay = 0.0  # seconds before each piece
        self.ends = set[socket.socket]()
        self._is_cut = self._is_halted = False
        self._limit: int | None = None  # of `sent`, at which the line halts
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """Where a site connects."""
        return int(self.server_address[1])

    @contextmanager
    def open(self) -> Iterator["Line"]:
        """Pass bytes while the block runs."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="line")
        with self:
            thread.start()
            try:
                yield self
            finally:
                self.shutdown()
                thread.join()
                self.cut()
                self.resume()

    def halt(self, *, after: int) -> None:
        """Pass so many more bytes to the coordinator, then nothing in either direction until `resume`."""
        with self._changed:
            self._limit = self.sent + after

    def wait_for_halt(self, seconds: float) -> None:
        """Wait until the line has halted; raises `TimeoutError` when it has not by then."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_halted, seconds):
                raise TimeoutError(f"the line did not halt; {self.sent} bytes were sent")

    def resume(self) -> None:
        """Pass bytes again."""
        with self._changed:
            self._is_halted, self._limit = False, None
            self._changed.notify_all()

    def cut(self) -> None:
        """End every connection, and let none begin until `mend`."""
        with self._changed:
            self._is_cut = True
            for end in self.ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections begin again."""
        self._is_cut = False

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether a connection may begin."""
        del request, client_address
        return not self._is_cut

    def passing(self, count: int, *, upwards: bool) -> None:
        """Wait while the line is halted, and count what goes to the coordinator."""
        time.sleep(self.delay)
        with self._changed:
            self._changed.wait_for(lambda: not self._is_halted)
            if upwards:
                self.sent += count
                if self._limit is not None and self.sent >= self._limit:
                    self._is_halted = True
                    self._changed.notify_all()


class _Connection(BaseRequestHandler):
    """One connection: each direction has a thread, and the end of either ends both."""

    server: Line
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.target)) as far:
            ends = {self.request, far}
            self.server.ends |= ends
            upwards = threading.Thread(target=self._pass, args=(self.request, far), name="line up")
            upwards.start()
            self._pass(far, self.request)
            upwards.join()
            self.server.ends -= ends

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                self.server.passing(len(data), upwards=source is self.request)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
