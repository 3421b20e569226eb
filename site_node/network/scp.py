"""The C-STORE SCP: PACS and modalities push to it. An instance is durable before its sender hears 0x0000.

Only the calling AE titles of the settings are let in, and only under our own title; nothing but codes and counts is
logged. Which study an instance belongs to is all that is read of it here.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import structlog
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification

from shared.errors import DiskFull, PortInUse
from site_node.network.arrivals import Arrivals
from site_node.network.part10 import part10, study_uid_of
from site_node.network.presentation_contexts import accepted
from site_node.network.query import Fetch
from site_node.network.server import HANDSHAKE_SECONDS, IDLE_SECONDS, Server
from site_node.settings.dimse import LONGEST_PDU, ScpSettings

log = structlog.get_logger(__name__)

SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000  # PS3.4 table B.2-1


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
    ae.acse_timeout = HANDSHAKE_SECONDS
    ae.network_timeout = IDLE_SECONDS
    handlers = [
        (evt.EVT_C_STORE, handle_store, [arrivals, settings.min_free_mb << 20]),
        (evt.EVT_REJECTED, _log_refusal),
    ]
    try:
        server = ae.make_server(
            (settings.host, settings.port), evt_handlers=handlers, ssl_context=tls, server_class=Server
        )
    except OSError as error:
        raise PortInUse(port=str(settings.port), host=settings.host, key="scp.port") from error
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="scp", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.end()
        thread.join()


def handle_store(event: Event, arrivals: Arrivals, reserve: int = 0, asked: Fetch | None = None) -> int:
    """Keep one instance and say how that went, as a C-STORE status; `reserve` bytes of the disk stay free.

    What comes in answer to a request must be what was `asked` for.
    """
    request, syntax = event.request, event.context.transfer_syntax
    sop_class, sop_uid = (
        str(one or "").strip(" \0") for one in (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
    )
    dataset = request.DataSet.getvalue()
    study_uid = study_uid_of(dataset, syntax)
    if not study_uid or not sop_uid or not f"{sop_class}{sop_uid}".isascii():
        log.warning("scp.refused", status=f"0x{MISMATCH:04X}")
        return MISMATCH
    if asked is not None and not asked.includes(study_uid, sop_uid):
        log.warning("scp.not_asked_for")
        return MISMATCH
    try:
        content = part10(sop_class, sop_uid, syntax, dataset)
        arrivals.check_room(reserve + len(content))
        arrivals.store(study_uid, sop_uid, content)
    except DiskFull:
        log.error("scp.disk_full")
        return OUT_OF_RESOURCES
    except OSError as error:
        log.error("scp.not_kept", errno=error.errno)
        return OUT_OF_RESOURCES
    return SUCCESS


def _log_refusal(_event: Event) -> None:
    log.warning("scp.association_refused")
