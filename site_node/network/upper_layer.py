"""pynetdicom's upper layer (PS3.8) with our own connections, server and DIMSE provider: all that replaces its code.

pynetdicom reads 4 KiB at a time and releases the interpreter lock each time, which is most of a busy SCP's work; it
polls every millisecond, and encodes each C-STORE response twice. It ends an association that waits, reads or shakes
hands only when the peer does something, and leaves sockets to the garbage collector. Here each step has a time limit,
every connection is closed by the thread that owns it, and all associations end with the server.

`tests/contract/test_pynetdicom_adapter.py` names the versions of pynetdicom that this was written for.
"""

import queue
import select
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseServer
from threading import Lock, Thread

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom._handlers import (
    standard_dimse_recv_handler,
    standard_dimse_sent_handler,
    standard_pdu_recv_handler,
    standard_pdu_sent_handler,
)
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, DimsePrimitiveType
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import (
    T_CONNECT,
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from site_node.network.association_request import Rejection, mended, rejection, titles_of
from site_node.network.c_store_response import c_store_response

log = structlog.get_logger(__name__)

CountEnd = Callable[[str, str, str], None]  # is called with the reason, and the called and the calling title

KNOWN_VERSIONS = ("3.0.4",)
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 120.0
_PDU_LIMIT = 16 << 20  # bytes of one PDU; far above what we announce, and below what would exhaust the memory
_LONGEST_MESSAGE = 2 << 30  # bytes, an enhanced CT with a margin; the message is in memory while it is received
_MOST_CONNECTIONS = 128  # at once; each costs three threads before its peer identifies itself
_POLL_SECONDS = 0.001  # as in pynetdicom
_IDLE_POLL_SECONDS = 0.05
_WAIT_SECONDS = 0.01  # the longest delay until the end of an association is noticed
_GRACE_SECONDS = 2.0  # for associations to send their A-ABORT
_REQUEST = 1  # PDU type of an A-ASSOCIATE-RQ, PS3.8 9.3.2
_CLOSED, _INVALID = "Evt17", "Evt19"  # PS3.8 table 9-10; after the latter the association is aborted
_LAST_OF_COMMAND = b"\3"  # message control header, PS3.8 annex E.2
_STANDARD_HANDLERS = (
    (evt.EVT_DIMSE_RECV, standard_dimse_recv_handler),
    (evt.EVT_DIMSE_SENT, standard_dimse_sent_handler),
    (evt.EVT_PDU_RECV, standard_pdu_recv_handler),
    (evt.EVT_PDU_SENT, standard_pdu_sent_handler),
)


class Connection(AssociationSocket):  # type: ignore[misc] # pynetdicom ships no types
    """pynetdicom's socket, but it waits for data instead of polling, reads a PDU in one call, and always closes.

    pynetdicom's thread alternates between receiving and sending. `idle_seconds` is how long it may wait for data after
    we sent something; an acceptor then has nothing to send.
    """

    idle_seconds = _POLL_SECONDS
    read_seconds: float  # for the rest of a PDU once it began
    titles = ("", "")  # called and calling, of a request that we received
    reads = 0
    _first_byte = 0
    _wait_seconds = _POLL_SECONDS

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, as pynetdicom does; from then on every read and write has a time limit."""
        super().connect(primitive)
        if self.socket is not None:
            wait_at_most(self.socket, self.read_seconds)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits for it a short time."""
        if self.socket is None or not self._is_connected:
            time.sleep(_POLL_SECONDS)
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        try:
            return bool(select.select([self.socket], [], [], self._wait_seconds)[0])
        except (OSError, ValueError):  # closed by another thread
            self.event_queue.put(_CLOSED)
            return False

    def recv(self, nr_bytes: int) -> bytes | bytearray:
        """Read `nr_bytes`, or fewer if the peer closed; raises `OSError`, also after `read_seconds`.

        The titles of a request are mended; pynetdicom reads its first six bytes, then the others.
        """
        content = self._read(nr_bytes)
        if not content:
            return content
        self.reads += 1
        if self.reads == 1:
            self._first_byte = content[0]
        elif self.reads == 2 and self._first_byte == _REQUEST:
            request = mended(bytes(content))
            self.titles = titles_of(request)
            return request
        return content

    def _read(self, nr_bytes: int) -> bytearray:
        if nr_bytes > _PDU_LIMIT:
            raise ConnectionError("a PDU longer than any we allow")
        until = time.monotonic() + self.read_seconds
        self._wait_seconds = _POLL_SECONDS
        content = bytearray(nr_bytes)
        rest = memoryview(content)
        flags = 0 if isinstance(self.socket, ssl.SSLSocket) else socket.MSG_WAITALL
        while rest:
            count = self.socket.recv_into(rest, 0, flags)
            if not count:
                return content[: nr_bytes - len(rest)]
            rest = rest[count:]
            if rest and time.monotonic() > until:  # a slow peer keeps each single read in time
                raise TimeoutError("a PDU took too long")
        return content

    def send(self, bytestream: bytes) -> None:
        """Send all of it; on failure the association is notified that the connection is closed."""
        try:
            self.socket.sendall(bytestream)
        except (OSError, AttributeError):
            self.event_queue.put(_CLOSED)
        self._wait_seconds = self.idle_seconds

    def _shutdown_socket(self) -> None:
        """Close the socket even if there is nothing left to shut down."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class Caller(AE):  # type: ignore[misc] # likewise
    """An AE whose associations use `Connection`, send files unchanged and do not log their messages."""

    def __init__(self, ae_title: str) -> None:
        super().__init__(ae_title)
        _config.STORE_SEND_CHUNKED_DATASET = True  # a file is then sent as it is, not decoded and encoded

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> Connection:
        adopt(assoc)
        connection = Connection(assoc, address=address)
        connection.read_seconds = assoc.acse_timeout
        connection.tls_args = tls_args
        return connection


def rejection_of(association: Association) -> Rejection | None:
    """How an association was rejected, by us or by the peer; `None` if it was not."""
    answer = association.acceptor.primitive
    if not association.is_rejected or answer is None:
        return None
    return rejection(answer.result, answer.result_source, answer.diagnostic)


def is_without_contexts(association: Association) -> bool:
    """Whether the peer accepted the association and none of its presentation contexts."""
    answer = association.acceptor.primitive
    return answer is not None and answer.result == 0 and not association.accepted_contexts


def adopt(association: Association) -> None:
    """Prepare an association for a `Connection`, which does the waiting.

    Remove the handlers that spell out each message for pynetdicom's log: they cost time and quote patients' values.
    """
    association.dul._run_loop_delay = 0  # noqa: SLF001 -- there is no other way to set it
    for event, handler in _STANDARD_HANDLERS:
        association.unbind(event, handler)


def send_at_once(event: evt.Event) -> None:
    """Set TCP_NODELAY, which pynetdicom does not: without it each answer waits for the peer's delayed ACK."""
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def wait_at_most(connection: socket.socket, seconds: float) -> None:
    """Limit each read and write of a blocking socket to `seconds`.

    For TLS `settimeout` covers a whole handshake or record; for a plain socket it would break MSG_WAITALL.
    """
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(seconds)
        return
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


class Dimse(DIMSEServiceProvider):  # type: ignore[misc] # likewise
    """pynetdicom's provider for an acceptor, but it waits for a message and encodes C-STORE responses by hand."""

    message: DIMSEMessage | None  # the one being received

    def get_msg(self, block: bool = False) -> tuple[int, DimsePrimitiveType] | tuple[None, None]:
        """The next message, or `(None, None)` if none comes in time."""
        if block:
            return super().get_msg(block=True)  # type: ignore[no-any-return]
        try:
            return self.msg_queue.get(timeout=_WAIT_SECONDS)  # type: ignore[no-any-return]
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Add a part of a message; a message beyond the limit aborts the association."""
        super().receive_primitive(primitive)
        message = self.message
        if message is not None and message.encoded_command_set.tell() + message.data_set.tell() > _LONGEST_MESSAGE:
            self.message = None
            self.dul.event_queue.put(_INVALID)

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Queue a message for the peer."""
        if not isinstance(primitive, C_STORE) or primitive.MessageIDBeingRespondedTo is None:
            super().send_msg(primitive, context_id)
            return
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, _LAST_OF_COMMAND + c_store_response(primitive)))
        self.dul.send_pdu(data)


class Handler(RequestHandler):  # type: ignore[misc] # likewise
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
            if connection.reads:
                self.server.ended(association, *connection.titles)


class Server(ThreadedAssociationServer):  # type: ignore[misc] # likewise
    """The server of an AE; call `end` instead of `shutdown`."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self._open: set[socket.socket] = set()
        self._associations: set[Association] = set()
        self._ending = False
        self._lock = Lock()
        self._unwanted_ends: Counter[str] = Counter()
        self.count_end: CountEnd = lambda _reason, _called, _calling: None
        super().__init__(*arguments, request_handler=Handler, **more)

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
        if not is_allowed:
            self._log_end("scp.association_refused", "too-many-connections")
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

    def ended(self, association: Association, called: str, calling: str) -> None:
        """Log an association that was refused or aborted, with the titles of its request."""
        if association.is_released:
            return
        refusal = rejection_of(association)
        if refusal is not None:
            self._log_end("scp.association_refused", refusal.reason, called=called, calling=calling)
        elif association.is_aborted:
            self._log_end("scp.association_aborted", "aborted-or-cut-off", called=called, calling=calling)
        else:
            self._log_end("scp.association_refused", "no-valid-request", called=called, calling=calling)

    def _log_end(self, event: str, reason: str, **titles: str) -> None:
        with self._lock:
            self._unwanted_ends[reason] += 1
            count = self._unwanted_ends[reason]
        log.warning(event, reason=reason, count=count, **titles)
        self.count_end(reason, titles.get("called", ""), titles.get("calling", ""))

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
                self._log_end("scp.tls_refused", "no-valid-tls")
                return False
            wait_at_most(request, IDLE_SECONDS)
        return True
