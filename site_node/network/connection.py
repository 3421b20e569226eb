"""The connection of an association, and how we request one: pynetdicom's own is slow and leaves sockets open.

It reads 4 KiB at a time and releases the interpreter lock each time, which is most of a busy SCP's work. Where the peer
broke off first or could not be reached, it leaves the socket to the garbage collector.
"""

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pynetdicom import AE, evt
from pynetdicom._handlers import (
    standard_dimse_recv_handler,
    standard_dimse_sent_handler,
    standard_pdu_recv_handler,
    standard_pdu_sent_handler,
)
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from shared.errors import PacsRefused, PacsUnreachable
from site_node.settings.dimse import LONGEST_PDU, Peer

_PDU_LIMIT = 16 << 20  # bytes of one PDU; far above what we announce, and below what would exhaust the memory
_POLL_SECONDS = 0.001  # as in pynetdicom
_CLOSED = "Evt17"  # PS3.8 table 9-10
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
    read_seconds = 30.0  # for the rest of a PDU once it began
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

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, or fewer if the peer closed; raises `OSError`, also after `read_seconds`."""
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
    """An AE whose associations use `Connection` and do not log their messages."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> Connection:
        adopt(assoc)
        connection = Connection(assoc, address=address)
        connection.read_seconds = assoc.acse_timeout or connection.read_seconds
        connection.tls_args = tls_args
        return connection


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


@contextmanager
def associated(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    answer_seconds: float,
    dimse_seconds: float | None = None,
    tls: ssl.SSLContext | None = None,
    handlers: Sequence[tuple[Any, ...]] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """An association with `peer` that is released at the end, or aborted after an error.

    An answer may take `answer_seconds`, a DIMSE answer `dimse_seconds` if given. Raises `PacsUnreachable`,
    `PacsRefused`.
    """
    ae = Caller(ae_title=peer.calling)
    ae.acse_timeout = ae.connection_timeout = answer_seconds
    ae.dimse_timeout = dimse_seconds or answer_seconds
    ae.network_timeout = None  # the timeouts above apply
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=LONGEST_PDU,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once), *handlers],
            tls_args=(tls, peer.host) if tls else None,
        )
    except (OSError, RuntimeError) as error:
        raise PacsUnreachable(type(error).__name__, address=peer.address) from None
    if not association.is_established:
        raise _not_established(association, peer)
    try:
        yield association
        association.release()
    finally:
        if association.is_established:
            association.abort()


def _not_established(association: Association, peer: Peer) -> PacsRefused | PacsUnreachable:
    if association.is_rejected:
        return PacsRefused(address=peer.address, called=peer.ae_title, calling=peer.calling)
    return PacsUnreachable(address=peer.address)
