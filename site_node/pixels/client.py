"""The owner of the worker process: starts it when first needed, asks it, and never takes silence for a pass."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from shared.errors.base import RicordError
from shared.errors.settings import PixelCheckUnavailable
from shared.errors.studies import PixelCheckFailed
from shared.errors.tree import error_for
from site_node.pixels.box import Box
from site_node.pixels.frame import Stack

PACKAGE = "onnxruntime"
WORKER = (sys.executable, "-m", "site_node.pixels.worker")
_CHUNK = 65_536
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",  # glibc: memory stays with the process from picture to picture; asking the kernel for it
    "MALLOC_TRIM_THRESHOLD_": "268435456",  # anew each time takes up to half of the time; bytes kept above what is used
    "ORT_DISABLE_TELEMETRY": "1",  # else onnxruntime keeps a note of each session, to send to its makers
}


class PixelChecker:
    """Looks for text in stacks of frames, in a process of its own. Use as a context manager; not thread-safe.

    A worker that dies or says nothing for `patience` seconds is replaced once per stack; loading may take `loading`
    seconds.
    """

    def __init__(self, command: tuple[str, ...] = WORKER, *, patience: float = 120.0, loading: float = 120.0) -> None:
        self._command = command
        self._patience = patience
        self._loading = loading
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._process is not None:
            _end(self._process)
        self._process = None

    def start(self) -> None:
        """Start the worker now; raises `PixelCheckUnavailable`."""
        self._process = self._process or self._start()

    def check(self, stack: Stack, pictures: Sequence[Path] = ()) -> list[tuple[Box, ...] | RicordError]:
        """For each frame of `stack`, where it shows text that is not a marker, or why nobody knows.

        A frame is drawn to its file of `pictures`, where it has text or its file declares it. The reasons are
        `PixelsUnreadable`, a frame that cannot be decoded, and `PixelCheckFailed`: neither the worker nor its
        replacement answered. Raises `PixelCheckUnavailable`: the worker cannot start at all.
        """
        wanted = dict(zip(stack.frames, map(str, pictures), strict=True)) if pictures else dict.fromkeys(stack.frames)
        frames = [
            {
                "path": str(frame.path),
                "frame": frame.number,
                "photometric": frame.photometric,
                "said": frame.declares_text,
                "wanted": frame in wanted,
                "picture": wanted.get(frame),
            }
            for frame in (stack.before, *stack.frames, stack.after)
            if frame is not None
        ]
        request: dict[str, object] = {"frames": frames}
        answer = self._ask(request) or self._ask(request) or {"problem": PixelCheckFailed().code}
        return [
            error_for(each["problem"], {"package": PACKAGE})
            if "problem" in each
            else tuple(Box(*sides) for sides in each["boxes"])
            for each in answer.get("frames") or [answer] * len(stack.frames)
        ]

    def _ask(self, request: dict[str, object]) -> dict[str, Any] | None:
        """The answer; `None`, and the worker ended, where it died, was silent or answered nonsense."""
        process = self._process = self._process or self._start()
        with suppress(OSError, ValueError):
            _stream(process.stdin).write(json.dumps(request).encode() + b"\n")
            _stream(process.stdin).flush()
            answer = _answer(process, self._patience)
            if isinstance(answer, dict) and answer.keys() & {"frames", "problem"}:
                return answer
        self.close()
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        """A worker that has loaded its models; raises `PixelCheckUnavailable` where it cannot."""
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries quote values in their warnings
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,  # an interrupt is for this process, which ends the worker
        )
        try:
            if _answer(process, self._loading) == {"ready": True}:
                return process
        except (OSError, ValueError):
            pass
        _end(process)
        raise PixelCheckUnavailable(package=PACKAGE)


def _answer(process: subprocess.Popen[bytes], seconds: float) -> object:
    """The next line; raises `TimeoutError`, `BrokenPipeError` at its end, or `ValueError` where it is not JSON."""
    handle, line, until = _stream(process.stdout).fileno(), b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        ready.register(handle, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not ready.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            chunk = os.read(handle, _CHUNK)
            if not chunk:
                raise BrokenPipeError
            line += chunk
    return json.loads(line)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # cannot be: both are pipes
        raise BrokenPipeError
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker; it holds nothing that could be lost."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
