"""A connection as pynetdicom's associations use it, and how we call another: what pynetdicom leaves slow or open.

Its own reads 4 KiB at a time, each time giving up the interpreter, which is most of what a busy SCP does; and where the
other side was the first to break off, or never was there, it leaves the socket to the garbage collector.
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

_TOO_LONG = 16 << 20  # bytes of one PDU; far above what we announce, and below what would exhaust the memory
_LOOK_SECONDS = 0.001  # as pynetdicom's own
_CLOSED = "Evt17"  # PS3.8 table 9-10
_STANDARD_HANDLERS = (
    (evt.EVT_DIMSE_RECV, standard_dimse_recv_handler),
    (evt.EVT_DIMSE_SENT, standard_dimse_sent_handler),
    (evt.EVT_PDU_RECV, standard_pdu_recv_handler),
    (evt.EVT_PDU_SENT, standard_pdu_sent_handler),
)


class Connection(AssociationSocket):  # type: ignore[misc] # pynetdicom ships no types
    """pynetdicom's, but it waits for data instead of looking for it, takes a PDU in one call, and closes in any case.

    pynetdicom's thread looks in turn for what comes and for what is to be sent. `idle_seconds` is how long it may wait
    for the former when the last word was ours; an acceptor then has nothing to send.
    """

    idle_seconds = _LOOK_SECONDS
    read_seconds = 30.0  # that the rest of a PDU may take once it began
    _wait_seconds = _LOOK_SECONDS

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, as pynetdicom does; from then on no read or write waits for ever."""
        super().connect(primitive)
        if self.socket is not None:
            wait_at_most(self.socket, self.read_seconds)

    @property
    def ready(self) -> bool:
        """Whether there is something to read, soon."""
        if self.socket is None or not self._is_connected:
            time.sleep(_LOOK_SECONDS)
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        try:
            return bool(select.select([self.socket], [], [], self._wait_seconds)[0])
        except (OSError, ValueError):  # closed by another thread
            self.event_queue.put(_CLOSED)
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes, or fewer where the other side ended; raises `OSError`, also after `read_seconds`."""
        if nr_bytes > _TOO_LONG:
            raise ConnectionError("a PDU longer than any we allow")
        until = time.monotonic() + self.read_seconds
        self._wait_seconds = _LOOK_SECONDS
        content = bytearray(nr_bytes)
        rest = memoryview(content)
        whole = 0 if isinstance(self.socket, ssl.SSLSocket) else socket.MSG_WAITALL
        while rest:
            count = self.socket.recv_into(rest, 0, whole)
            if not count:
                return content[: nr_bytes - len(rest)]
            rest = rest[count:]
            if rest and time.monotonic() > until:  # drop by drop each read is in time
                raise TimeoutError("a PDU took too long")
        return content

    def send(self, bytestream: bytes) -> None:
        """All of it; where that fails the association hears that the connection is closed."""
        try:
            self.socket.sendall(bytestream)
        except (OSError, AttributeError):
            self.event_queue.put(_CLOSED)
        self._wait_seconds = self.idle_seconds

    def _shutdown_socket(self) -> None:
        """Close it also where there is nothing left to shut down."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class Caller(AE):  # type: ignore[misc] # likewise
    """An AE whose associations have such a connection, and no log of their messages."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> Connection:
        adopt(assoc)
        connection = Connection(assoc, address=address)
        connection.read_seconds = assoc.acse_timeout or connection.read_seconds
        connection.tls_args = tls_args
        return connection


def adopt(association: Association) -> None:
    """Make it fit for a `Connection`: the waiting is there.

    Likewise take away what spells out each message for pynetdicom's log: it costs time and quotes values of patients.
    """
    association.dul._run_loop_delay = 0  # noqa: SLF001 -- there is no other way to set it
    for event, handler in _STANDARD_HANDLERS:
        association.unbind(event, handler)


def send_at_once(event: evt.Event) -> None:
    """Set TCP_NODELAY, which pynetdicom does not: without it each answer waits for the other side's delayed ACK."""
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def wait_at_most(connection: socket.socket, seconds: float) -> None:
    """Let no read or write of a blocking socket last longer.

    For TLS `settimeout` holds for a whole handshake or record; for a plain socket it would take MSG_WAITALL apart.
    """
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(seconds)
        return
    most = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, most)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, most)


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
    """An association with `peer` that is released at the end; aborted where anything was left open.

    An answer may take `answer_seconds`, a DIMSE answer `dimse_seconds` where that is given. Raises `PacsUnreachable`,
    `PacsRefused`.
    """
    ae = Caller(ae_title=peer.calling)
    ae.acse_timeout = ae.connection_timeout = answer_seconds
    ae.dimse_timeout = dimse_seconds or answer_seconds
    ae.network_timeout = None  # the line above says how long
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
