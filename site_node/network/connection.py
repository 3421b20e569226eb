"""How we request an association."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from shared.errors import PacsRefused, PacsUnreachable
from site_node.network.upper_layer import Caller, send_at_once
from site_node.settings.dimse import LONGEST_PDU, Peer


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
