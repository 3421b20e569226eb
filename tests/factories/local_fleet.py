"""A fleet port and a worker in this process, for one message."""

from collections.abc import Mapping
from typing import Any

from flwr.app import Message

from shared.federation.bundle import bundle_digest
from site_node.federate.executor import answer
from site_node.federate.fleet import Arrival
from site_node.federate.limits import Limits
from site_node.federate.packing import Packed, pack, unpack
from site_node.federate.questions import Questions
from site_node.federate.site import FederateSettings, SiteContext
from site_node.federate.tasks import Asked, Result
from site_node.federate.worker import perform


class HereWorker:
    """Answers in this process."""

    def __init__(self) -> None:
        self.asked = False

    def run(self, known: SiteContext, message: str, objects: dict[str, bytes], limits: Limits) -> Result | str:
        """As the worker's process does."""
        self.asked = True
        assert limits.seconds == known.policy.max_task_seconds
        said, parts = perform({"known": known.model_dump(mode="json"), "message": message}, objects)
        return str(said["problem"]) if "problem" in said else _result(said, parts)


class FakeFleet:
    """A fleet port at which one message waits."""

    def __init__(self, message: Message, *, kind: str | None = None, digest: str = bundle_digest()) -> None:
        packed = pack(message)
        self.arrival = Arrival(kind or message.metadata.message_type, message, tuple(packed.objects), digest)
        self.objects = dict(packed.objects)
        self.fetched = False
        self.worker = HereWorker()
        self.sent: list[Packed] = []

    def fetch(self, arrival: Arrival) -> dict[str, bytes]:
        """The message's objects."""
        assert arrival is self.arrival
        self.fetched = True
        return self.objects

    def send(self, arrival: Arrival, answer: Packed, seconds: float) -> None:
        """Keep the answer."""
        assert seconds >= 0
        self.sent.append(answer)

    def answered(self, site: FederateSettings) -> str | None:
        """Why the site refused, or `None`."""
        answer(self, self.worker, self.arrival, Questions(site))  # type: ignore[arg-type] # stand-ins with the same shapes
        (sent,) = self.sent
        reply = unpack(list(sent.objects)[-1], sent.objects)
        return str(reply.error.reason) if reply.has_error() else None


def _result(said: dict[str, Any], parts: Mapping[str, bytes]) -> Result:
    return Result(Packed(b"", b"", parts), said["refused"], Asked(said["plan"], said["stage"]))
