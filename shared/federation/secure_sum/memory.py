"""What a site must not forget between stages and between sessions, whatever happens to its process.

Each stage of a session is claimed before it is answered and never answered again: two answers of `mask` would show
the difference of two vectors, two of `unmask` might show both halves of a secret.
"""

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from shared.durable import claim, clear_folder, clear_unfinished, write_whole
from shared.errors.federation import SecureSumRefused
from shared.federation.secure_sum.messages import STAGES, Answered

_STALE = timedelta(days=2)  # as long as a plan lives


class SessionMemory(Protocol):
    """The site's memory of secure-sum sessions. The effect of a method is durable when it returns."""

    def claim(self, session: str, stage: str) -> None:
        """Mark a stage as answered; raises `SecureSumRefused` when it is already marked."""
        ...

    def save(self, session: str, state: bytes) -> None:
        """Keep the session's secrets for the next stage."""
        ...

    def load(self, session: str) -> bytes:
        """The session's secrets; raises `SecureSumRefused` when there are none."""
        ...

    def wipe(self, session: str) -> None:
        """Forget the session's secrets; its claims stay."""
        ...

    def remember(self, subject: str, answers: Sequence[Answered], allow: Callable[[Sequence[Answered]], None]) -> None:
        """Add `answers` on `subject` unless `allow` raises on the previous ones. Atomic: no other call intervenes."""
        ...

    def answered(self, subject: str) -> tuple[Answered, ...]:
        """The previous answers on `subject`."""
        ...


class FileMemory:
    """A `SessionMemory` in a folder that only its owner can read."""

    def __init__(self, folder: Path) -> None:
        self._sessions = folder / "sessions"
        self._answered = folder / "answered"

    def claim(self, session: str, stage: str) -> None:
        """See `SessionMemory`. The marker is created exclusively, so of two processes one claims."""
        if stage not in STAGES:
            raise SecureSumRefused(problem="there is no such stage")
        folder = self._folder(session)
        try:
            claim(folder / stage)
        except FileExistsError as error:
            raise SecureSumRefused(problem=f"stage {stage} of this session was answered before") from error

    def save(self, session: str, state: bytes) -> None:
        """See `SessionMemory`."""
        write_whole(self._folder(session) / "state", state, mode=0o600)

    def load(self, session: str) -> bytes:
        """See `SessionMemory`."""
        try:
            return (self._sessions / session / "state").read_bytes()
        except FileNotFoundError as error:
            raise SecureSumRefused(problem="this session was never begun here, or is over") from error

    def wipe(self, session: str) -> None:
        """See `SessionMemory`."""
        state = self._sessions / session / "state"
        clear_unfinished(state)
        state.unlink(missing_ok=True)

    def wipe_stale(self, *, age: timedelta = _STALE) -> None:
        """Forget the secrets of sessions whose last stage was answered longer ago than `age`."""
        before = (datetime.now(UTC) - age).timestamp()
        for state in self._sessions.glob("*/state"):
            with suppress(FileNotFoundError):  # its session ended meanwhile
                if state.stat().st_mtime < before:
                    state.unlink()
        for session in self._sessions.glob("*"):
            clear_folder(session, unchanged_for=age)

    def remember(self, subject: str, answers: Sequence[Answered], allow: Callable[[Sequence[Answered]], None]) -> None:
        """See `SessionMemory`."""
        file = self._file(subject)
        with _locked(file.with_suffix(".lock")):
            previous = self.answered(subject)
            allow(previous)
            new = [answer for answer in dict.fromkeys(answers) if answer not in previous]
            if new:
                lines = [entry.model_dump_json() for entry in (*previous, *new)]
                clear_unfinished(file)
                write_whole(file, "\n".join(lines).encode(), mode=0o600)

    def answered(self, subject: str) -> tuple[Answered, ...]:
        """See `SessionMemory`."""
        file = self._file(subject)
        if not file.exists():
            return ()
        return tuple(Answered.model_validate_json(line) for line in file.read_text().splitlines())

    def _folder(self, session: str) -> Path:
        folder = self._sessions / session
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _file(self, subject: str) -> Path:
        self._answered.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._answered / (hashlib.sha256(subject.encode()).hexdigest() + ".jsonl")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
