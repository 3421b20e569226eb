"""A researcher's run: how far it is, and what it showed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from coordinator.research.shown import Shown
from shared.errors.federation import RunDeclined, RunFailed, RunUnfinished
from shared.errors.inputs import NotFound
from shared.errors.transport import TransportError
from shared.errors.trust import SignatureInvalid
from shared.federation.plan import Which
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.wire import UNARY_SECONDS

if TYPE_CHECKING:
    from coordinator.research.federation import Federation

_MODEL_SECONDS = 3600.0
_PAUSE_SECONDS, _TRIES = 2.0, 30  # to reach a coordinator again that was lost while a run is watched
_WITHOUT_RESULT = ("failed", "declined")


class Run(Shown):
    """A run that this researcher asked for. What it shows is read when it is asked for, once it is done."""

    def __init__(self, federation: "Federation", message: wire.Run) -> None:
        self._federation = federation
        self._message = message

    @property
    def id(self) -> str:
        """Its name, `R-` and twelve digits."""
        return self._message.id

    @property
    def state(self) -> str:
        """`proposed`, `declined`, `pending`, `running`, `stopping`, `done` or `failed`."""
        return self._message.state

    @property
    def aim(self) -> str:
        """What it is for."""
        return self._message.aim

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.state == "done" or self.state in _WITHOUT_RESULT

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as the coordinator signed it; until it was approved, a draft."""
        plan: dict[str, Any] = json.loads(self._whole().plan)
        return plan

    @property
    def news(self) -> str:
        """How far it is, in a line."""
        message, rounds = self._message, self.rounds
        learned = f"round {rounds[-1]['round']} is done" if rounds else ""
        about = [text for text in (learned, message.progress, message.problem.rstrip(".")) if text]
        return f"{message.state}: {'; '.join(about)}" if about else message.state

    def refresh(self) -> Self:
        """Read it anew."""
        with self._federation.calls() as stub:
            self._message = stub.GetRun(wire.GetRunRequest(id=self.id), timeout=UNARY_SECONDS).run
        return self

    def changes(self) -> Iterator[Self]:
        """This run at once and at each change until it has ended; a lost coordinator is waited for, a minute long.

        Raises what `Federation.calls` raises.
        """
        tries = 0
        while True:
            try:
                with self._federation.calls() as stub:
                    for answer in stub.WatchRun(wire.WatchRunRequest(id=self.id)):
                        self._message, tries = answer.run, _TRIES
                        yield self
            except TransportError:
                if not tries:
                    raise
            if self.has_ended:
                return
            tries -= 1
            time.sleep(_PAUSE_SECONDS)

    def watch(self, say: Callable[[str], None] = print) -> Self:
        """Say what changes until it has ended. Ctrl-C, or the end of this process, leaves the run going."""
        said = ""
        for run in self.changes():
            if run.news != said:
                say(said := run.news)
        return self

    @property
    def result(self) -> dict[str, Any]:
        """What it showed, as the coordinator keeps it; raises `RunUnfinished`, `RunFailed` or `RunDeclined`."""
        message = self._whole()
        if message.state == "declined":
            raise RunDeclined(run=self.id, problem=message.problem.rstrip("."))
        if message.state == "failed":
            raise RunFailed(problem=message.problem.rstrip("."))
        if message.state != "done":
            raise RunUnfinished(run=self.id, state=message.state)
        result: dict[str, Any] = json.loads(message.result)
        return result

    def model_file(self, which: Which = "last") -> bytes:
        """That round's model as safetensors, whole; raises as `result`, `NotFound`, and `SignatureInvalid`."""
        result = self.result
        best = which == "best" and result.get("best_sha256") is not None
        digest = result.get("best_sha256" if best else "model_sha256")
        if digest is None:
            raise NotFound(kind="model of run", name=self.id)
        with self._federation.calls() as stub:
            parts = stub.FetchModel(wire.FetchModelRequest(id=self.id, best=best), timeout=_MODEL_SECONDS)
            data = b"".join(part.data for part in parts)
        if hashlib.sha256(data).hexdigest() != digest:
            raise SignatureInvalid("another digest than the result names", what=f"the model of run {self.id}")
        return data

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The rounds that are done, as far as is known here."""
        rounds: list[dict[str, Any]] = json.loads(self._message.result or b"{}").get("rounds", [])
        return rounds

    def _whole(self) -> wire.Run:
        """The message with its plan and result: lists leave them out, and they may be older than the end."""
        if not (self._message.plan and self.has_ended):
            self.refresh()
        return self._message
