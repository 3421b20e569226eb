"""Worker processes of this machine. A killed worker is replaced, and its task is tried once more.

Workers are spawned, not forked: they inherit no locks, descriptors or keys of this process. A task is sent through a
pipe that no other process can read.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TypeVar

from site_node.node.log_codes import log_codes_only
from site_node.node.workers import TRIES

T = TypeVar("T")
R = TypeVar("R")

_POLL_SECONDS = 0.5
_JOIN_SECONDS = 5.0  # before a worker that does not end is killed


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: Connection


class Processes:
    """`count` worker processes, started at once. Each imports the module `preload`, while its owner prepares the tasks.

    Once `halted` says so, no task is waited for.
    """

    is_local = True

    def __init__(self, count: int, preload: str = "", halted: Callable[[], bool] = lambda: False) -> None:
        self._count = count
        self._preload = preload
        self._halted = halted
        self._idle = [_start(preload) for _ in range(count)]
        self._busy: dict[Connection, tuple[_Worker, Any, int]] = {}

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """Each task with its result, as they come; `work` must be importable by name."""
        again: deque[tuple[T, int]] = deque()
        todo = iter(tasks)
        try:
            while True:
                while len(self._busy) < self._count and (next_task := _next_task(again, todo)) is not None:
                    self._assign(work, *next_task)
                if not self._busy or self._halted():
                    return
                ready = wait(list(self._busy), _POLL_SECONDS)
                for pipe in [pipe for pipe in self._busy if pipe in ready]:
                    worker, task, tries = self._busy.pop(pipe)
                    try:
                        result = worker.pipe.recv()
                    except (EOFError, OSError):
                        _end(worker)
                        if tries < TRIES:
                            again.append((task, tries + 1))
                        else:
                            yield task, None
                    else:
                        self._idle.append(worker)
                        yield task, result
        finally:
            self._end_busy()  # else a task would go on beside those of the next run

    def close(self) -> None:
        """End every worker; one in the middle of a task is killed."""
        for worker in self._idle:
            worker.pipe.close()
        for worker in self._idle:
            worker.process.join(_JOIN_SECONDS)
            _end(worker)
        self._idle = []
        self._end_busy()

    def _end_busy(self) -> None:
        for worker, _, _ in self._busy.values():
            _end(worker)
        self._busy = {}

    def _assign(self, work: Callable[[T], R], task: T, tries: int) -> None:
        """Send a task to an idle worker; a worker that died idle does not count as a try."""
        while True:
            worker = self._idle.pop() if self._idle else _start(self._preload)
            try:
                worker.pipe.send((work, task))
            except OSError:
                _end(worker)
                continue
            self._busy[worker.pipe] = (worker, task, tries)
            return


def _next_task(again: deque[tuple[T, int]], todo: Iterator[T]) -> tuple[T, int] | None:
    """The next task and the number of its try; tasks whose worker died come first."""
    if again:
        return again.popleft()
    for task in todo:
        return task, 1
    return None


def _start(preload: str) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, preload), daemon=False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, until the worker ignores it
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return _Worker(process, ours)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.process.close()


def _serve(pipe: Connection, preload: str) -> None:
    """The worker process: work on tasks until the pipe closes, or the owner ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the owner
    threading.Thread(target=_end_with_owner, daemon=True).start()
    be_quiet()
    if preload:
        import_module(preload)
    with suppress(EOFError, OSError):
        while True:
            work, task = pipe.recv()
            pipe.send(work(task))


def _end_with_owner() -> None:
    """End this process, in the middle of a task if need be, once its owner was killed: the next owner does that task.

    Two workers on one study would remove each other's files.
    """
    owner = multiprocessing.parent_process()
    if owner is not None:
        wait([owner.sentinel])
        os._exit(1)


def be_quiet() -> None:
    """Silence warnings and logs of libraries in this worker, which may quote values, and log as its owner does."""
    warnings.simplefilter("ignore")
    log_codes_only()
