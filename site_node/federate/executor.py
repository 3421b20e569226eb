"""The site's part in federated runs: fetch each message from the fleet port and answer it with the installed app."""

import threading
import time
from typing import Protocol

import structlog
from flwr.app import Context, Message, RecordDict

from shared.errors.base import RicordError
from shared.errors.federation import RunFailed
from shared.errors.transport import CoordinatorUnreachable
from site_node.federate.client_app import REFUSED, app
from site_node.federate.fleet import Arrival, Fleet, FleetSettings
from site_node.federate.packing import KINDS, check_kind, check_objects, pack, refusal, unpack
from site_node.federate.policy import check_bundle, check_witness, load_policy
from site_node.federate.site import CONTEXT_KEY, FederateSettings, SiteContext

log = structlog.get_logger(__name__)
_FIRST_PAUSE_SECONDS = 0.02  # after a message; each further question waits twice as long, up to `poll_seconds`
_IDLE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 4.0  # so that a coordinator that is back is noticed within five


class Work(Protocol):
    """Whether work waits; `Awaited` hears it from the coordinator."""

    work: bool

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until it is known better; raises where the site may not wait for work."""


def run_federate(settings: FederateSettings, work: Work, *, stop: threading.Event, once: bool = False) -> int:
    """Answer federated work until `stop` is set; with `once`, until nothing came for `settings.idle_seconds`.

    Returns how many messages were answered, refusals among them. The fleet port is asked only while work waits. One
    that is down, or does not know this node yet, is tried again. Raises `SettingsError` for a policy that cannot be
    read, what `work` raises, and with `once` what kept it from connecting until the end.
    """
    load_policy(settings.policy)
    clock = _Idle(settings.idle_seconds if once else None)
    while not (stop.is_set() or clock.over()):
        if not work.work:
            work.wait(_IDLE_SECONDS)
            continue
        try:
            with Fleet(_fleet(settings), stop) as fleet:
                _answer_all(fleet, settings, work, clock, stop)
        except RicordError as error:
            if clock.over() and clock.answered == 0:
                raise
            log.warning("federation.lost", code=error.code)
            work.wait(clock.pause())
    return clock.answered


def _answer_all(fleet: Fleet, settings: FederateSettings, work: Work, clock: "_Idle", stop: threading.Event) -> None:
    """Answer each message while work waits. A notice ends a pause, so pauses matter where one was lost."""
    pause = _FIRST_PAUSE_SECONDS
    while work.work and not (stop.is_set() or clock.over()):
        fleet.beat()
        arrival = fleet.pull()
        if arrival is None:
            work.wait(pause)
            pause = min(2 * pause, settings.poll_seconds)
            continue
        answer(fleet, arrival, settings)
        clock.count()
        pause = _FIRST_PAUSE_SECONDS


class _Idle:
    """How many messages were answered, and whether the last one is too long ago; without a limit it never is.

    It also knows how long to pause before the next try: longer each time, until something is answered again.
    """

    def __init__(self, limit: float | None) -> None:
        self.answered = 0
        self._limit = limit
        self._last = time.monotonic()
        self._failures = 0

    def count(self) -> None:
        self.answered += 1
        self._failures = 0
        self._last = time.monotonic()

    def pause(self) -> float:
        self._failures += 1
        return min(_PAUSE_SECONDS * float(2 ** min(self._failures - 1, 16)), _LONGEST_PAUSE_SECONDS)

    def over(self) -> bool:
        return self._limit is not None and time.monotonic() - self._last > self._limit


def answer(fleet: Fleet, arrival: Arrival, settings: FederateSettings) -> None:
    """Answer one message, with a refusal where the policy does not allow it; a run that has ended gets no answer.

    Raises `CoordinatorUnreachable`; no other fault of a message ends more than its own answer.
    """
    start = time.monotonic()
    try:
        reply = _reply(fleet, arrival, settings)
        fleet.send(arrival, pack(reply), time.monotonic() - start)
    except RunFailed as error:
        log.info("federation.dropped", run=str(arrival.message.metadata.run_id), message=error.public)
        return
    reason = reply.error.reason if reply.has_error() else None
    kind = arrival.kind if arrival.kind in KINDS else "unknown"  # no word of a coordinator's own enters the log
    log.info("federation.answered", kind=kind, run=str(arrival.message.metadata.run_id), refused=reason)


def _reply(fleet: Fleet, arrival: Arrival, settings: FederateSettings) -> Message:
    """The app's answer. What can be judged before the message is fetched, or before it is unpacked, is judged first."""
    kind = arrival.kind
    try:
        check_witness(settings.contradiction)
        policy = load_policy(settings.policy)
        check_bundle(policy, arrival.bundle_digest)
        check_kind(kind)
        objects = fleet.fetch(arrival)
        check_objects(kind, objects)
        message = unpack(arrival.message.metadata.message_id, objects)
    except (CoordinatorUnreachable, RunFailed):
        raise
    except RicordError as error:
        return refusal(arrival.message, REFUSED + error.fields.get("problem", error.public))
    except (ValueError, KeyError, TypeError):
        return refusal(arrival.message, REFUSED + "the message cannot be read")
    metadata = message.metadata
    known = {CONTEXT_KEY: SiteContext(site=settings, policy=policy)}
    return app(message, Context(metadata.run_id, metadata.dst_node_id, known, RecordDict(), {}))


def _fleet(settings: FederateSettings) -> FleetSettings:
    return FleetSettings(address=settings.fleet_address, root=settings.root, node_key=settings.node_key)
