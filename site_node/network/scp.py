"""The C-STORE SCP: PACS and modalities push to it. An instance is durable before its sender gets status 0x0000.

Only the calling AE titles of the settings are let in, and only under our own title. Logs hold only codes, counts and
AE titles. Of an instance only its StudyInstanceUID is read here.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import structlog
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification

from shared.errors.settings import PortInUse
from shared.errors.storage import DiskFull
from site_node.network.arrivals import Arrivals
from site_node.network.part10 import part10, study_uid_of
from site_node.network.presentation_contexts import supported_contexts
from site_node.network.query import Fetch
from site_node.network.upper_layer import HANDSHAKE_SECONDS, IDLE_SECONDS, CountEnd, Server
from site_node.settings.dimse import LONGEST_PDU, ScpSettings

log = structlog.get_logger(__name__)

SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000  # PS3.4 table B.2-1


@contextmanager
def serving(
    settings: ScpSettings,
    arrivals: Arrivals,
    tls: ssl.SSLContext | None = None,
    *,
    count_end: CountEnd = lambda _reason, _called, _calling: None,
) -> Iterator[int]:
    """Accept until the block ends; yields the port. Raises `PortInUse`.

    `count_end` is called for each association that is refused or aborted.

    At the end open associations are aborted: the sender sends again what was not answered.
    """
    ae = AE(ae_title=settings.ae_title)
    ae.supported_contexts = supported_contexts()
    ae.add_supported_context(Verification)
    ae.require_calling_aet = list(settings.callers)
    ae.require_called_aet = True
    ae.maximum_pdu_size = LONGEST_PDU
    ae.maximum_associations = settings.associations
    ae.acse_timeout = HANDSHAKE_SECONDS
    ae.network_timeout = IDLE_SECONDS
    handlers = [(evt.EVT_C_STORE, handle_store, [arrivals, settings.min_free_mb << 20])]
    try:
        server = ae.make_server(
            (settings.host, settings.port), evt_handlers=handlers, ssl_context=tls, server_class=Server
        )
    except OSError as error:
        raise PortInUse(port=str(settings.port), host=settings.host, key="scp.port") from error
    server.count_end = count_end
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="scp", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.end()
        thread.join()


def handle_store(event: Event, arrivals: Arrivals, reserve: int = 0, fetch: Fetch | None = None) -> int:
    """Store one instance and return its C-STORE status; `reserve` bytes of the disk stay free.

    With `fetch`, an instance that it does not include is refused.
    """
    request, syntax = event.request, event.context.transfer_syntax
    sop_class, sop_uid = (
        str(uid or "").strip(" \0") for uid in (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
    )
    dataset = request.DataSet.getvalue()
    study_uid = study_uid_of(dataset, syntax)
    if not study_uid or not sop_uid or not f"{sop_class}{sop_uid}".isascii():
        log.warning("scp.refused", status=f"0x{MISMATCH:04X}")
        return MISMATCH
    if fetch is not None and not fetch.includes(study_uid, sop_uid):
        log.warning("scp.not_asked_for")
        return MISMATCH
    try:
        content = part10(sop_class, sop_uid, syntax, dataset)
        arrivals.check_space(reserve + len(content))
        arrivals.store(study_uid, sop_uid, content)
    except DiskFull:
        log.error("scp.disk_full")
        return OUT_OF_RESOURCES
    except OSError as error:
        log.error("scp.not_kept", errno=error.errno)
        return OUT_OF_RESOURCES
    return SUCCESS
