"""The coordinator and the site node as processes, with a log each, a clock that can be moved, and a line between."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from site_node.home.folder import SiteHome
from site_node.membership.record import IdentityFiles
from tests.peers import shifting_library


@contextmanager
def coordinator(home: Path, log: Path, clock: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`serve --no-federation` from its ready line on; killed at the end if it still runs."""
    command = ("-m", "coordinator.cli", "--home", str(home), "serve", "--no-federation")
    with _running(command, log, clock) as process:
        yield process


@contextmanager
def node(
    home: SiteHome, log: Path, clock: Path | None = None, *, copy: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`run --no-federation` from its ready line on; killed at the end if it still runs.

    With a `copy` of the home it finds that in the home's place, as on another machine; the test skips where it may not
    mount.
    """
    command = ("-m", "site_node.cli", "--home", str(home.folder), "run", "--no-federation")
    with _running(command, log, clock, () if copy is None else _elsewhere(copy, home.folder)) as process:
        yield process


def _elsewhere(copy: Path, place: Path) -> tuple[str, ...]:
    """What runs the rest of a command where `copy` lies at `place`."""
    apart = ("unshare", "--mount")
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    return (*apart, "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', str(copy), str(place))


@contextmanager
def _running(
    command: tuple[str, ...], log: Path, clock: Path | None, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("ab") as lines,
        subprocess.Popen(
            [*prefix, sys.executable, *command], stdout=subprocess.PIPE, stderr=lines, env=environment(clock)
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ready"), log.read_text()
            yield process
        finally:
            process.kill()


def environment(clock: Path | None) -> dict[str, str]:
    """The environment of a process whose clock is off by what the file `clock` says, now and whenever that changes.

    It measures durations as ever.
    """
    if clock is None:
        return {**os.environ, "GRPC_VERBOSITY": "NONE"}
    return {
        **os.environ,
        "GRPC_VERBOSITY": "NONE",
        "LD_PRELOAD": shifting_library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def process(program: str, home: Path, *arguments: str, ready: str) -> Iterator[subprocess.Popen[str]]:
    """A program from its ready line on; killed at the end, if it still runs."""
    command = [sys.executable, "-m", program, "--home", str(home), *arguments]
    with (
        (home / "log").open("a") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as run,
    ):
        try:
            assert run.stdout is not None
            assert any(ready in line for line in run.stdout)
            yield run
        finally:
            run.kill()


def lead_through(home: SiteHome, main_port: int, line_port: int) -> None:
    """Let an enrolled site reach the coordinator's main port through a line; the addresses are what no side signed."""
    file = IdentityFiles(home).membership
    text = file.read_text()
    assert f":{main_port}" in text
    file.write_text(text.replace(f":{main_port}", f":{line_port}"))
