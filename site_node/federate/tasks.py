"""The owner of the worker process: starts it, gives it tasks, and ends what takes too long or is no longer wanted."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from shared.errors.federation import WorkerFailed
from shared.frozen import Frozen
from site_node.federate.frames import read_frame, write_frame
from site_node.federate.limits import Limits
from site_node.federate.packing import Packed
from site_node.federate.site import SiteContext

COMMAND = (sys.executable, "-m", "site_node.federate.worker")
_LOADING_SECONDS = 120.0
_PATIENCE_SECONDS = 5.0  # beyond a task's time, in which its process is killed by the kernel
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
}


class Held(Frozen):
    """Which limits of a worker hold on this machine."""

    network: bool  # it can make no socket
    memory: bool
    threads: int  # 1, or a fork of it could hang


class Asked(NamedTuple):
    """What a message asked, as the worker read it: the signed plan's JSON, and the stage; empty where it has none."""

    plan: str = ""
    stage: str = ""


class Result(NamedTuple):
    """The answer to a message, and why it is a refusal (`None`: it is none)."""

    answer: Packed
    refused: str | None
    asked: Asked = Asked()


class TaskWorker:
    """The worker; it starts when it is first needed, and again after it died. Several threads may give it tasks."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self.held: Held | None = None
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._running: set[int] = set()  # handles of forks (pidfd_open(2)): a number could be another process's by now
        self._closed = False

    def start(self) -> None:
        """Start the worker, unless it runs; raises `WorkerFailed`."""
        with self._lock:
            if self._closed:
                raise WorkerFailed(problem="the node stops")
            if self._process is None or self._process.poll() is not None:
                self._end()
                self._start()

    def run(self, known: SiteContext, message: str, objects: Mapping[str, bytes], limits: Limits) -> Result | str:
        """Answer the message of that name, or say why it cannot be answered; raises `WorkerFailed`."""
        self.start()
        ours, theirs = socket.socketpair()
        with ours, ours.makefile("rwb") as stream, ExitStack() as running:
            try:
                with theirs:
                    socket.send_fds(self._owner, [b"t"], [theirs.fileno()])
                ours.settimeout(limits.seconds + _PATIENCE_SECONDS)
                running.enter_context(self._known(int.from_bytes(stream.read(4), "big")))
                about: dict[str, Any] = {
                    "known": known.model_dump(mode="json"),
                    "message": message,
                    "limits": limits.model_dump(),
                }
                write_frame(stream, about, objects)
                said, parts = read_frame(stream)
            except TimeoutError as error:
                raise WorkerFailed(problem=f"a task took longer than {limits.seconds} s") from error
            except (OSError, EOFError, ValueError) as error:
                raise WorkerFailed(
                    problem=f"a task ended without an answer; it has {limits.memory >> 20} MB and {limits.seconds} s"
                ) from error
        if "problem" in said:
            return str(said["problem"])
        asked = Asked(str(said["plan"]), str(said["stage"]))
        return Result(Packed(b64decode(said["head"]), b64decode(said["tree"]), parts), said["refused"], asked)

    def cancel(self) -> None:
        """End every task; each raises `WorkerFailed` in its thread."""
        with self._lock:
            for handle in self._running:
                _kill(handle)

    def close(self) -> None:
        """End the worker and its tasks."""
        with self._lock:
            self._closed = True
            self._end()

    @contextmanager
    def _known(self, pid: int) -> Iterator[None]:
        """Keep a fork's handle while the block runs, after which the fork ends. It is alive: it waits for its task."""
        if not pid:
            raise EOFError
        handle = os.pidfd_open(pid)
        with self._lock:
            self._running.add(handle)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(handle)
            _kill(handle)
            os.close(handle)

    def _start(self) -> None:
        self._owner, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries quote values in their warnings
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # an interrupt is for this process, which ends the worker
            )
        self._owner.settimeout(_LOADING_SECONDS)
        with self._owner.makefile("rb") as lines:
            try:
                self.held = Held.model_validate(json.loads(lines.readline()))
            except (OSError, ValueError) as error:
                self._end()
                raise WorkerFailed(problem="the worker did not start") from error

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()  # its forks with it
            self._process.wait()
            self._owner.close()
        self._process = None


def _kill(handle: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
