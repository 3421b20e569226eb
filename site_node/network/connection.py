"""How we request an association."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from shared.errors.transport import PacsFailed, PacsRefused, PacsUnreachable, TransportError
from site_node.network.upper_layer import Caller, is_without_contexts, rejection_of, send_at_once
from site_node.settings.dimse import LONGEST_PDU, Peer

log = structlog.get_logger(__name__)


@contextmanager
def associated(
    peer: Peer,
    operation: str,
    contexts: Sequence[PresentationContext],
    *,
    answer_seconds: float,
    dimse_seconds: float | None = None,
    tls: ssl.SSLContext | None = None,
    handlers: Sequence[tuple[Any, ...]] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """An association with `peer` for an operation; it is released at the end, or aborted after an error.

    An answer may take `answer_seconds`, a DIMSE answer `dimse_seconds` if given. Raises `PacsUnreachable`,
    `PacsRefused`, and `PacsFailed` where the PACS has no association left or offers none of `contexts`.
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
        raise _not_established(association, peer, operation)
    try:
        yield association
        association.release()
    finally:
        if association.is_established:
            association.abort()


def missing_service(operation: str) -> PacsFailed:
    """The error where a PACS lets us in and does not offer what the operation needs."""
    reason = f"pacs-without-{operation.lower()}"
    return PacsFailed(operation=operation, problem="it does not offer this service", reason=reason)


def _not_established(association: Association, peer: Peer, operation: str) -> TransportError:
    rejection, without_contexts = rejection_of(association), is_without_contexts(association)
    reason = rejection.reason if rejection else "no-context-accepted" if without_contexts else "aborted-or-no-answer"
    log.warning("pacs.association_refused", called=peer.ae_title, calling=peer.calling, reason=reason)
    if without_contexts:
        return missing_service(operation)
    if rejection is None:
        return PacsUnreachable(address=peer.address)
    if rejection.is_transient:
        return PacsFailed(operation=operation, problem="it accepts no association at the moment", reason="pacs-busy")
    return PacsRefused(address=peer.address, called=peer.ae_title, calling=peer.calling)
