"""The site's part in federated runs: fetch each message from the fleet port, let the worker answer it, send the answer.

Messages of several runs are answered side by side. What a message is refused for before its content is unpacked is
judged here; everything else is the app's in the worker.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog

from shared.errors.base import RicordError
from shared.errors.federation import RunFailed, WorkerFailed
from shared.errors.settings import SettingsError
from shared.errors.transport import CoordinatorUnreachable
from site_node.federate.book import enter
from site_node.federate.fleet import Arrival, Fleet, FleetSettings
from site_node.federate.limits import Limits
from site_node.federate.packing import FAILED, KINDS, REFUSED, check_kind, check_objects, pack, refusal
from site_node.federate.policy import check_bundle, check_size, check_witness, load_policy
from site_node.federate.questions import Questions
from site_node.federate.site import FederateSettings, SiteContext
from site_node.federate.state import StateFile
from site_node.federate.tasks import Result, TaskWorker

log = structlog.get_logger(__name__)
TASKS = 4  # messages that are answered at once
_FIRST_PAUSE_SECONDS = 0.25  # after a message, should no notice come; twice as long each time, up to `poll_seconds`
_IDLE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_HEADS = 1 << 16  # bytes of an answer besides its records
_LONGEST_PAUSE_SECONDS = 4.0  # so that a coordinator that is back is noticed within five


class Work(Protocol):
    """Whether work waits; `Awaited` hears it from the coordinator."""

    work: bool
    reached: bool  # whether the coordinator can be heard now

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until it is known better; raises where the site may not wait for work."""


def run_federate(settings: FederateSettings, work: Work, *, stop: threading.Event, once: bool = False) -> int:
    """Answer federated work until `stop` is set; with `once`, until nothing came for `settings.idle_seconds`.

    Returns how many messages were answered, refusals among them. The fleet port is asked only while work waits. One
    that is down, or does not know this node yet, is tried again. Raises `SettingsError` for a policy that cannot be
    read, `WorkerFailed`, what `work` raises, and with `once` what kept it from connecting until the end.
    """
    load_policy(settings.policy)
    clock, state = _Idle(settings.idle_seconds if once else None), StateFile(settings.folder)
    state.say("starting")
    with _answering(settings, stop) as answering:
        answering.worker.start()
        offline = answering.worker.held is not None and answering.worker.held.network
        while not (stop.is_set() or clock.over()):
            try:
                pause = answering.step(wanted=work.work)
                clock.count(answering.answered)
                state.say("working" if work.work else "waiting" if work.reached else "lost", offline=offline)
            except CoordinatorUnreachable as error:
                state.say("lost", offline=offline)
                if clock.over() and clock.answered == 0:
                    raise
                log.warning("federation.lost", code=error.code)
                answering.fleet.be_off()
                pause = clock.pause()
            if pause:
                work.wait(pause)
    return clock.answered


@contextmanager
def _answering(settings: FederateSettings, stop: threading.Event) -> Iterator["_Answering"]:
    """At the end tasks are ended, not waited for."""
    fleet = Fleet(FleetSettings(address=settings.fleet_address, root=settings.root, node_key=settings.node_key), stop)
    worker = TaskWorker()
    try:
        yield _Answering(Questions(settings), fleet, worker)
    finally:
        worker.close()
        fleet.close()


class _Answering:
    """Messages that are being answered."""

    def __init__(self, questions: Questions, fleet: Fleet, worker: TaskWorker) -> None:
        self.fleet = fleet
        self.worker = worker
        self.answered = 0
        self._questions = questions
        self._tasks: list[_Task] = []
        self._pause = _FIRST_PAUSE_SECONDS

    def step(self, *, wanted: bool) -> float:
        """Begin to answer the next message, if there is one; returns seconds to wait before the next step.

        Where no work is `wanted` any more, what is under way ends. Raises `CoordinatorUnreachable`.
        """
        for task in [task for task in self._tasks if not task.is_alive()]:
            self._tasks.remove(task)
            self.answered += 1
            if task.lost is not None and task.session == self.fleet.session:  # else the node has signed on anew since
                raise task.lost
        if not wanted:
            self.worker.cancel()
            self.fleet.be_off()
            return _IDLE_SECONDS
        self.fleet.be_on()
        arrival = self.fleet.pull() if len(self._tasks) < TASKS else None
        if arrival is None:
            self._pause = min(2 * self._pause, self._questions.site.poll_seconds)
            return self._pause
        self._tasks.append(_Task(self.fleet, self.worker, arrival, self._questions))
        self._pause = _FIRST_PAUSE_SECONDS
        return 0


class _Task(threading.Thread):
    """The answer to one message, on a thread that keeps no process from ending."""

    def __init__(self, fleet: Fleet, worker: TaskWorker, arrival: Arrival, questions: Questions) -> None:
        super().__init__(name="federated task", daemon=True)
        self.lost: CoordinatorUnreachable | None = None
        self.session = fleet.session  # in which the message came
        self._about = fleet, worker, arrival, questions
        self.start()

    def run(self) -> None:
        """Keep what the executor must know of."""
        try:
            answer(*self._about)
        except CoordinatorUnreachable as error:
            self.lost = error


class _Idle:
    """How many messages were answered, and whether the last one is too long ago; without a limit it never is.

    It also knows how long to pause before the next try: longer each time, until something is answered again.
    """

    def __init__(self, limit: float | None) -> None:
        self.answered = 0
        self._limit = limit
        self._last = time.monotonic()
        self._failures = 0

    def count(self, answered: int) -> None:
        if answered > self.answered:
            self.answered, self._failures, self._last = answered, 0, time.monotonic()

    def pause(self) -> float:
        self._failures += 1
        return min(_PAUSE_SECONDS * float(2 ** min(self._failures - 1, 16)), _LONGEST_PAUSE_SECONDS)

    def over(self) -> bool:
        return self._limit is not None and time.monotonic() - self._last > self._limit


def answer(fleet: Fleet, worker: TaskWorker, arrival: Arrival, questions: Questions) -> None:
    """Answer one message, with a refusal where the policy does not allow it; a run that has ended gets no answer.

    Raises `CoordinatorUnreachable`; no other fault of a message ends more than its own answer.
    """
    start = time.monotonic()
    run = str(arrival.message.metadata.run_id)
    try:
        result = _result(fleet, worker, arrival, questions)
        fleet.send(arrival, result.answer, time.monotonic() - start)
    except RunFailed as error:
        log.info("federation.dropped", run=run, message=error.public)
        return
    kind = arrival.kind if arrival.kind in KINDS else "unknown"  # no word of a coordinator's own enters the log
    log.info("federation.answered", kind=kind, run=run, refused=result.refused)


def _result(fleet: Fleet, worker: TaskWorker, arrival: Arrival, questions: Questions) -> Result:
    """The worker's answer, after all that can be judged before a message is fetched, and before it is unpacked.

    It is entered in the site's book; where that cannot be, nothing leaves.
    """
    site, policy = questions.site, None
    kind = arrival.kind if arrival.kind in KINDS else "unknown"  # no word of a coordinator's own is kept
    try:
        check_witness(site.contradiction)
        policy = load_policy(site.policy)
        check_bundle(policy, arrival.bundle_digest)
        check_kind(arrival.kind)
        objects = fleet.fetch(arrival)
        check_objects(arrival.kind, objects)
        limits = Limits(memory=policy.max_task_mb << 20, seconds=policy.max_task_seconds)
        with questions.answering(policy.minimum_patients) as studies:
            known = SiteContext(site=site, policy=policy, studies=studies, decisions=questions.decisions())
            result = worker.run(known, arrival.message.metadata.message_id, objects, limits)
        if isinstance(result, Result):
            check_size(policy, result.answer.size - _HEADS)
            enter(site, policy, kind, result, known.decisions)
            return result
    except (CoordinatorUnreachable, RunFailed):
        raise
    except WorkerFailed as error:
        result = FAILED + error.fields["problem"]
    except SettingsError:
        result = REFUSED + "the site's policy cannot be read"
    except RicordError as error:
        result = REFUSED + error.fields.get("problem", error.public)
    except (ValueError, LookupError, TypeError):
        result = REFUSED + "the message cannot be read"
    except OSError as error:
        result = FAILED + type(error).__name__
    refused = Result(pack(refusal(arrival.message, result)), result)
    with suppress(RicordError):  # that nothing leaves need not be entered first
        enter(site, policy, kind, refused)
    return refused
