"""A message is answered in a process of its own that has no network and a limit of memory and of time."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from shared.crypto.signing import SigningKey
from shared.errors.federation import WorkerFailed
from shared.federation.models.registry import build_model, get_state
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from site_node.federate.limits import Limits
from site_node.federate.packing import pack, unpack
from site_node.federate.site import FederateSettings
from site_node.federate.tasks import Result, TaskWorker
from tests.factories.site_homes import PROTOCOL, known_of, make_site, member_of, set_policy

KEY = SigningKey.generate()
ROOMY = Limits(memory=4 << 30, seconds=120)
SHORT = TrainingTask(image_size=32, masked=False)
LONG = TrainingTask(image_size=256, local_epochs=50, masked=False)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    folder = tmp_path_factory.mktemp("sites")
    made = [make_site(folder / str(n), f"{200000 + n}", KEY, images=60 if n == 0 else 0) for n in range(3)]
    set_policy(made[0], unmasked=True)
    return made


@pytest.fixture(scope="module")
def worker() -> Iterator[TaskWorker]:
    worker = TaskWorker()
    yield worker
    worker.close()


def ask(
    worker: TaskWorker,
    sites: list[FederateSettings],
    limits: Limits = ROOMY,
    task: TrainingTask = SHORT,
) -> Result | str:
    """One round of training at the first site."""
    request = PlanRequest(purpose="training", training=task)
    plan = complete_plan(request, members=tuple(map(member_of, sites)), protocol_digest=PROTOCOL)
    config = ConfigRecord({"server-round": 1, "plan": sign_plan(plan, KEY)})
    arrays = ArrayRecord({"state": Array(get_state(build_model(task)))})
    message = Message(RecordDict({"arrays": arrays, "config": config}), dst_node_id=2, message_type="train")
    packed = pack(message)
    return worker.run(known_of(sites[0]), message.object_id, packed.objects, limits)


def test_every_limit_holds_here(worker: TaskWorker) -> None:
    worker.start()
    assert worker.held is not None
    assert (worker.held.network, worker.held.memory, worker.held.threads) == (True, True, 1)


def test_a_task_is_answered(worker: TaskWorker, sites: list[FederateSettings]) -> None:
    result = ask(worker, sites)
    assert isinstance(result, Result)
    assert result.refused is None
    reply = unpack(list(result.answer.objects)[-1], result.answer.objects)
    assert reply.has_content()


def test_several_are_answered_at_once(worker: TaskWorker, sites: list[FederateSettings]) -> None:
    results: list[Result | str] = []
    threads = [threading.Thread(target=lambda: results.append(ask(worker, sites))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [isinstance(result, Result) and result.refused for result in results] == [None] * 3


def test_what_is_no_message_has_a_reason(worker: TaskWorker, sites: list[FederateSettings]) -> None:
    assert worker.run(known_of(sites[0]), "a", {"a": b"nonsense"}, ROOMY) == "SITE_POLICY: the message cannot be read"


def test_a_task_that_takes_too_long_ends(worker: TaskWorker, sites: list[FederateSettings]) -> None:
    """And the worker answers the next one."""
    start = time.monotonic()
    with pytest.raises(WorkerFailed):
        ask(worker, sites, Limits(memory=4 << 30, seconds=2), LONG)
    assert time.monotonic() - start < 20
    assert isinstance(ask(worker, sites), Result)


def test_a_task_that_takes_too_much_memory_ends(worker: TaskWorker, sites: list[FederateSettings]) -> None:
    """By name, and the worker answers the next one."""
    try:
        result = ask(worker, sites, Limits(memory=50 << 20, seconds=60), LONG)
    except WorkerFailed:
        pass
    else:
        assert isinstance(result, str) or (result.refused or "").startswith("SITE_FAILED: ")
    assert isinstance(ask(worker, sites), Result)


@pytest.mark.parametrize("end", [TaskWorker.cancel, TaskWorker.close], ids=["cancel", "close"])
def test_tasks_end_when_they_are_not_wanted(sites: list[FederateSettings], end: Callable[[TaskWorker], None]) -> None:
    worker, problems = TaskWorker(), list[str]()
    worker.start()

    def task() -> None:
        try:
            ask(worker, sites, task=LONG)
        except WorkerFailed as error:
            problems.append(error.code)

    thread = threading.Thread(target=task)
    thread.start()
    time.sleep(1.5)
    end(worker)
    thread.join(10)
    assert problems == ["worker-failed"]
    worker.close()


def test_a_worker_that_died_is_replaced(sites: list[FederateSettings]) -> None:
    worker = TaskWorker()
    worker.start()
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert isinstance(ask(worker, sites), Result)
    worker.close()


def test_a_worker_that_does_not_start_is_said_to() -> None:
    worker = TaskWorker((sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(WorkerFailed):
        worker.start()


CONFINED = """
import os, resource, signal, socket, subprocess, sys
from site_node.federate.limits import Limits, close_network, hold
assert close_network()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try:
        socket.socket(family)
    except PermissionError:
        continue
    raise SystemExit(f"{family} is open")
if os.fork() == 0:
    hold(Limits(memory=200 << 20, seconds=60))
    try:
        bytearray(300 << 20)
    except MemoryError:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
if os.fork() == 0:
    hold(Limits(memory=1 << 30, seconds=1))
    while True:
        pass
assert os.waitstatus_to_exitcode(os.wait()[1]) in (-signal.SIGALRM, -signal.SIGXCPU)
"""


def test_the_kernel_holds_each_limit() -> None:
    """No socket of any kind, not by a child either; no memory and no time beyond what was given."""
    subprocess.run([sys.executable, "-c", CONFINED], check=True, cwd=Path(__file__).resolve().parents[4], timeout=60)


def test_the_node_itself_loads_no_torch() -> None:
    """What answers messages is not in the process that receives images."""
    code = "import sys, site_node.federate.executor, site_node.federate.awaiting; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[4], timeout=60)
