"""The heartbeat: each minute a running node tells the coordinator that it runs, and how much it has to do.

It has a thread of its own, so that neither a pass of hours hides that the node runs, nor a coordinator that is away
holds the pass up.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version

import structlog

from shared.crypto import pki
from shared.errors.base import RicordError
from shared.errors.transport import TransportError
from shared.extras import DISTRIBUTION
from shared.member import renew_if_due
from shared.proto.ricord.v1.presence_pb2 import Presence, ReportPresenceRequest
from shared.proto.ricord.v1.presence_pb2_grpc import PresenceServiceStub
from shared.wire import connected, to_timestamp
from site_node.home.ledger import ENDED, Ledger, State
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.node.open import Node, membership_of

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 60.0
_PATIENCE_SECONDS = 10.0  # with the coordinator
_STOP_SECONDS = 0.2  # in which a report under way is given up


def start_heartbeat(node: Node, stop: threading.Event, reached: Callable[[], object]) -> threading.Thread | None:
    """Report until `stop`, and call `reached` at each answer; `None` where the settings switch it off.

    A home that is not enrolled reports once it is.
    """
    if not node.settings.heartbeat:
        return None
    thread = threading.Thread(target=_report_on, args=(node, stop, reached), name="heartbeat")
    thread.start()
    return thread


def _report_on(node: Node, stop: threading.Event, reached: Callable[[], object]) -> None:
    """Report each minute. An error changes nothing: a coordinator that is away is no news, another error is once."""
    last = ""
    while not stop.is_set():
        code = ""
        try:
            membership = membership_of(node.home)
            if membership is not None:
                report(membership, presence_of(node, membership), stop)
                reached()
        except TransportError:
            code = last
        except (RicordError, OSError, sqlite3.Error) as error:
            code = error.code if isinstance(error, RicordError) else type(error).__name__
            if code != last:
                log.info("heartbeat.problem", code=code)
        last = code
        stop.wait(_EVERY_SECONDS)


def presence_of(node: Node, membership: Membership) -> Presence:
    """What the node reports; raises `sqlite3.Error` while the ledger cannot be read."""
    with closing(Ledger(node.home.ledger)) as ledger:
        counts = ledger.state_counts()
    ended = {state.value: counts.get(state, 0) for state in ENDED}
    received = sum(counts.values())
    space = node.free_space
    return Presence(
        version=version(DISTRIBUTION),
        received=received,
        waiting=received - sum(ended.values()),
        queued=counts.get(State.SEALED, 0),
        free_bytes=space.free(space.folder),
        certificate_ends_at=to_timestamp(pki.expires_at(membership.certificate.read_bytes())),
        **ended,
    )


def report(membership: Membership, presence: Presence, stop: threading.Event) -> None:
    """Send one report, and give it up at `stop`; raises what `connected` raises.

    Then a certificate that is due is renewed: a coordinator that answered keeps nobody waiting with that.
    """
    with connected(membership.addresses.main, membership.credentials) as channel:
        request = ReportPresenceRequest(presence=presence)
        call = PresenceServiceStub(channel).ReportPresence.future(request, timeout=_PATIENCE_SECONDS)
        while not call.done():
            if stop.wait(_STOP_SECONDS):
                call.cancel()
                return
        call.result()
    renew_if_due(member_of(membership), datetime.now(UTC))
