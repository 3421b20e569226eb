"""The site's part in federated runs: keep a SuperNode connected and answer each message with the installed app."""

import threading
import time

import structlog

from shared.errors.base import RicordError
from site_node.federate.client_app import REFUSED, app
from site_node.federate.policy import check_bundle, load_policy
from site_node.federate.site import CONTEXT_KEY, FederateSettings, SiteContext
from site_node.federate.supernode import SuperNode, SuperNodeSettings, Task, refusal

log = structlog.get_logger(__name__)
_CHECK_SECONDS = 5.0  # between two questions for a task of which no word came
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


def run_federate(settings: FederateSettings, *, stop: threading.Event, once: bool = False) -> int:
    """Answer federated work until `stop` is set; with `once`, until nothing came for `settings.idle_seconds`.

    Returns how many messages were answered, refusals among them. A SuperLink that is down, or does not know this
    node yet, is tried again; nothing of Flower outlives this process. Raises `SettingsError` for a policy that cannot
    be read, and with `once` what kept it from connecting until the end.
    """
    load_policy(settings.policy)
    clock = _Idle(settings.idle_seconds if once else None)
    while not (stop.is_set() or clock.over()):
        try:
            with SuperNode(_node(settings)) as node:
                while not (stop.is_set() or clock.over()):
                    with node.task() as task:
                        if task is not None:
                            answer(task, settings)
                            clock.count()
                            continue
                    node.wait(stop, _CHECK_SECONDS)
        except RicordError as error:
            if clock.over() and clock.answered == 0:
                raise
            log.warning("federation.lost", code=error.code)
            stop.wait(clock.pause())
    return clock.answered


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


def answer(task: Task, settings: FederateSettings) -> None:
    """Refuse a bundle that the policy does not list before its message is read; else let the app answer."""
    kind = task.message.metadata.message_type
    try:
        policy = load_policy(settings.policy)
        check_bundle(policy, task.bundle_digest)
    except RicordError as error:
        reply = refusal(task.message, REFUSED + error.fields.get("problem", error.public))
    else:
        task.context.node_config = {CONTEXT_KEY: SiteContext(site=settings, policy=policy)}
        reply = app(task.message, task.context)
        task.context.node_config = {}
    reason = reply.error.reason if reply.has_error() else None
    log.info("federation.answered", kind=kind, run=str(task.message.metadata.run_id), refused=reason)
    task.answer(reply, task.context)


def _node(settings: FederateSettings) -> SuperNodeSettings:
    return SuperNodeSettings(
        folder=settings.folder,
        fleet_address=settings.fleet_address,
        root=settings.root,
        node_key=settings.node_key,
        poll_seconds=settings.poll_seconds,
    )
