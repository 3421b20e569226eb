"""The C-STORE SCP: PACS and modalities push to it. An instance is durable before its sender hears 0x0000.

Only the calling AE titles of the settings are let in, and only under our own title; nothing but codes and counts is
logged. Which study an instance belongs to is all that is read of it here.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Thread

import structlog
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from shared.errors import DiskFull, PortInUse
from site_node.dimse import LONGEST_PDU, ScpSettings
from site_node.receive.arrivals import Arrivals
from site_node.receive.contexts import accepted

log = structlog.get_logger(__name__)

SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000  # PS3.4 table B.2-1
_STUDY_UID = 0x0020000D
_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 120.0


@contextmanager
def serving(settings: ScpSettings, arrivals: Arrivals, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Accept until the block ends; yields the port. Raises `PortInUse`.

    At the end associations that are under way are aborted: what was not answered yet is sent again by its sender.
    """
    ae = AE(ae_title=settings.ae_title)
    ae.supported_contexts = accepted()
    ae.add_supported_context(Verification)
    ae.require_calling_aet = list(settings.callers)
    ae.require_called_aet = True
    ae.maximum_pdu_size = LONGEST_PDU
    ae.maximum_associations = settings.associations
    ae.network_timeout = _IDLE_SECONDS
    handlers = [
        (evt.EVT_CONN_OPEN, send_at_once),
        (evt.EVT_C_STORE, handle_store, [arrivals, settings.min_free_mb << 20]),
        (evt.EVT_REJECTED, _log_refusal),
    ]
    try:
        server = ae.make_server(
            (settings.host, settings.port), evt_handlers=handlers, ssl_context=tls, server_class=_Server
        )
    except OSError as error:
        raise PortInUse(port=str(settings.port), host=settings.host, key="scp.port") from error
    ae._servers.append(server)  # noqa: SLF001 -- as AE.start_server does; it takes no server class
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="scp", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        ae.shutdown()
        thread.join()


def send_at_once(event: Event) -> None:
    """Set TCP_NODELAY, which pynetdicom does not: without it each answer waits for the other side's delayed ACK."""
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def handle_store(event: Event, arrivals: Arrivals, reserve: int = 0) -> int:
    """Keep one instance and say how that went, as a C-STORE status; `reserve` bytes of the disk stay free."""
    request = event.request
    sop_uid = str(request.AffectedSOPInstanceUID or "").strip(" \0")
    content = event.encoded_dataset()
    study_uid = study_uid_of(content)
    if not study_uid or not sop_uid:
        log.warning("scp.refused", status=f"0x{MISMATCH:04X}")
        return MISMATCH
    try:
        arrivals.check_room(reserve + len(content))
        arrivals.store(study_uid, sop_uid, content)
    except DiskFull:
        log.error("scp.disk_full")  # noqa: TRY400 -- codes only: a trace may quote a value
        return OUT_OF_RESOURCES
    except OSError as error:
        log.error("scp.not_kept", errno=error.errno)  # noqa: TRY400 -- likewise
        return OUT_OF_RESOURCES
    return SUCCESS


def study_uid_of(content: bytes) -> str:
    """The StudyInstanceUID in a Part 10 file; empty where it has none or cannot be read."""
    try:
        dataset = read_partial(
            BytesIO(content), lambda tag, _vr, _length: tag > _STUDY_UID, specific_tags=[Tag(_STUDY_UID)]
        )
        return str(dataset.get("StudyInstanceUID", "") or "").strip(" \0")
    except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets; the sender hears that it cannot be understood
        return ""


def _log_refusal(_event: Event) -> None:
    log.warning("scp.association_refused")


class _Server(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom ships no types
    """pynetdicom's server, but a TLS handshake is made in its own thread: a silent caller holds up no other."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; the handshake is still to come."""
        connection, address = self.socket.accept()
        if self.ssl_context:
            connection.settimeout(_HANDSHAKE_SECONDS)
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Shake hands, then speak DICOM."""
        if isinstance(request, ssl.SSLSocket):
            try:
                request.do_handshake()
                request.settimeout(None)
            except OSError:
                log.warning("scp.tls_refused")
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)
