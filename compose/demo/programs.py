"""The three commands as a person would call them, and the services they leave running, ended by pid."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
STOP_SECONDS = 15.0


class StepFailed(Exception):
    """A command of the demonstration did not end as it should."""


def free_ports(count: int) -> list[int]:
    """`count` loopback TCP ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def call(program: str, *arguments: str, ok: Sequence[int] = (0,), timeout: float = 600) -> str:
    """Run a command to its end and give its standard output; another exit code than `ok` is `StepFailed`."""
    result = subprocess.run(
        [str(BIN / program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
    )
    if result.returncode not in ok:
        output = (result.stderr or result.stdout).strip()
        raise StepFailed(f"{program} {' '.join(arguments)} ended with {result.returncode}: {output}")
    return result.stdout


def call_json(program: str, *arguments: str, ok: Sequence[int] = (0,), timeout: float = 600) -> Any:
    """As `call`, with `--json`, parsed."""
    return json.loads(call(program, *arguments, "--json", ok=ok, timeout=timeout))


def environment() -> Mapping[str, str]:
    """The programs' environment: one thread a process, since several share two cores, and no setting of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RICORD_")}
    return {**inherited, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Services:
    """Programs that keep running, each with a log of its own; `stop` ends every one, orderly first."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, program: str, *arguments: str, ready: str | None = None, timeout: float = 60) -> None:
        """Start a program as service `name` and wait until its log says `ready`."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as target:
            self.running[name] = subprocess.Popen(
                [str(BIN / program), *arguments],
                stdout=target,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )
        if ready is not None:
            self._wait(name, log, ready, timeout)

    def _wait(self, name: str, log: Path, ready: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while ready not in log.read_text(errors="replace"):
            if (code := self.running[name].poll()) is not None:
                raise StepFailed(f"{name} ended with {code} before it was ready; see {log}")
            if time.monotonic() > end:
                raise StepFailed(f"{name} was not ready after {timeout:.0f} s; see {log}")
            time.sleep(0.05)

    def alive(self) -> dict[str, int]:
        """The pid of each service that is still running."""
        return {name: service.pid for name, service in self.running.items() if service.poll() is None}

    def stop(self) -> None:
        """Ask each service to stop, the latest first, and kill those that do not."""
        for service in reversed(self.running.values()):
            if service.poll() is None:
                service.terminate()
        for service in reversed(self.running.values()):
            try:
                service.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(service.pid, signal.SIGKILL)
                service.wait()
