"""pynetdicom's server, but the silent hold up nobody, and every connection is closed by the thread that has it.

pynetdicom ends an association that waits, reads or shakes hands only when the other side does something, and leaves
sockets to the garbage collector; here each has its time, and all end when the server does.
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
_IDLE_LOOK_SECONDS = 0.05
_MOST_CONNECTIONS = 128  # at once, whatever they are for; each costs three threads before anybody says who it is
_GRACE_SECONDS = 2.0  # for associations to say that they are aborted


class _Handler(RequestHandler):  # type: ignore[misc] # pynetdicom ships no types
    """One association, from its connection to its end."""

    def handle(self) -> None:
        """Run it, and return when its threads have ended."""
        association = self._create_association()
        adopt(association)
        association.dul.event_queue.get()  # that there is a connection: the next line says it again
        association.dul.socket = connection = Connection(association, client_socket=self.request)
        connection.idle_seconds = _IDLE_LOOK_SECONDS
        connection.read_seconds = IDLE_SECONDS
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        association.dimse = Dimse(association)
        if self.server.starts(association):
            association.join()
            association.dul.join()


class Server(ThreadedAssociationServer):  # type: ignore[misc] # likewise
    """The server of an AE; `end` instead of `shutdown` ends it."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self._open: set[socket.socket] = set()
        self._associations: set[Association] = set()
        self._ending = False
        self._lock = Lock()
        super().__init__(*arguments, request_handler=_Handler, **more)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; a TLS handshake is still to come."""
        connection, address = self.socket.accept()
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        wait_at_most(connection, HANDSHAKE_SECONDS if self.ssl_context else IDLE_SECONDS)
        return connection, address

    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:
        """Whether there is room for another connection; else it is closed at once."""
        del client_address
        with self._lock:
            has_room = len(self._open) < _MOST_CONNECTIONS
            if has_room:
                self._open.add(request)
        return has_room

    def close_request(self, request: socket.socket) -> None:
        """Close a connection; its room is free again."""
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
        """Start it, unless the server ends."""
        with self._lock:
            self._associations = {one for one in self._associations if one.is_alive()}
            if not self._ending:
                association.start()
                self._associations.add(association)
            return not self._ending

    def end(self) -> None:
        """Accept no more, abort what is under way, and return when nothing of it is left."""
        BaseServer.shutdown(self)
        with self._lock:
            self._ending = True
            associations = list(self._associations)
        aborting = [Thread(target=one.abort, name="scp-abort") for one in associations if one.is_established]
        for thread in aborting:
            thread.start()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in aborting:
            thread.join(max(0.0, until - time.monotonic()))
        for one in associations:  # those that wait for the other side, amid a message or for its first word
            one.dul.kill_dul()
            one.dul.to_user_queue.put(None)
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
