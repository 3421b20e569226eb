"""pynetdicom's server, but a silent peer blocks nobody, and every connection is closed by the thread that owns it.

pynetdicom ends an association that waits, reads or shakes hands only when the peer does something, and leaves sockets
to the garbage collector. Here each step has a time limit, and all associations end with the server.
"""

import socket
import ssl
import time
from contextlib import suppress
from socketserver import BaseServer
from threading import Lock, Thread

import structlog
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from site_node.network.c_store_response import Dimse
from site_node.network.connection import Connection, adopt, wait_at_most

log = structlog.get_logger(__name__)

HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 120.0
_IDLE_POLL_SECONDS = 0.05
_MOST_CONNECTIONS = 128  # at once; each costs three threads before its peer identifies itself
_GRACE_SECONDS = 2.0  # for associations to send their A-ABORT


class _Handler(RequestHandler):  # type: ignore[misc] # pynetdicom ships no types
    """One association, from its connection to its end."""

    def handle(self) -> None:
        """Run it, and return when its threads have ended."""
        association = self._create_association()
        adopt(association)
        association.dul.event_queue.get()  # the event of the connection, which the next line raises again
        association.dul.socket = connection = Connection(association, client_socket=self.request)
        connection.idle_seconds = _IDLE_POLL_SECONDS
        connection.read_seconds = IDLE_SECONDS
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        association.dimse = Dimse(association)
        if self.server.starts(association):
            association.join()
            association.dul.join()


class Server(ThreadedAssociationServer):  # type: ignore[misc] # likewise
    """The server of an AE; call `end` instead of `shutdown`."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self._open: set[socket.socket] = set()
        self._associations: set[Association] = set()
        self._ending = False
        self._lock = Lock()
        super().__init__(*arguments, request_handler=_Handler, **more)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection, without its TLS handshake."""
        connection, address = self.socket.accept()
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        wait_at_most(connection, HANDSHAKE_SECONDS if self.ssl_context else IDLE_SECONDS)
        return connection, address

    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:
        """Whether another connection is allowed; if not, it is closed at once."""
        del client_address
        with self._lock:
            is_allowed = len(self._open) < _MOST_CONNECTIONS
            if is_allowed:
                self._open.add(request)
        return is_allowed

    def close_request(self, request: socket.socket) -> None:
        """Close a connection; it no longer counts."""
        with self._lock:
            self._open.discard(request)
        request.close()

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Shake hands, speak DICOM, and close."""
        with self._lock:
            late = self._ending
        try:
            if not late and self._shakes_hands(request):
                super().process_request_thread(request, client_address)
        finally:
            self.close_request(request)

    def starts(self, association: Association) -> bool:
        """Start an association unless the server is ending; returns whether it started."""
        with self._lock:
            self._associations = {known for known in self._associations if known.is_alive()}
            if not self._ending:
                association.start()
                self._associations.add(association)
            return not self._ending

    def end(self) -> None:
        """Accept no more connections, abort open associations, and return when all threads have ended."""
        BaseServer.shutdown(self)
        with self._lock:
            self._ending = True
            associations = list(self._associations)
        aborts = [association.abort for association in associations if association.is_established]
        aborting = [Thread(target=abort, name="scp-abort") for abort in aborts]
        for thread in aborting:
            thread.start()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in aborting:
            thread.join(max(0.0, until - time.monotonic()))
        for association in associations:  # those that wait for the peer, within a message or for its first PDU
            association.dul.kill_dul()
            association.dul.to_user_queue.put(None)
        with self._lock:
            for request in self._open:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
        self.server_close()  # joins the threads of all requests
        for thread in aborting:
            thread.join()

    def _shakes_hands(self, request: socket.socket) -> bool:
        if isinstance(request, ssl.SSLSocket):
            try:
                request.do_handshake()
            except OSError:
                log.warning("scp.tls_refused")
                return False
            wait_at_most(request, IDLE_SECONDS)
        return True
