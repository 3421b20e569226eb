"""A site that sends every message back: `python -m tests.benchmarks.echo SETTINGS SIGNALS MODULE`, until it is ended.

The node's own client (`run_federate`) and worker, whose app alone is another one. SETTINGS are JSON; SIGNALS is the
folder by which the centre says that work waits. The worker is `python -m MODULE worker`; that of this module cuts the
array of a message that names a number of tensors, and puts it together again, as a site does with a model.
"""

import signal
import sys
import threading
from functools import partial
from pathlib import Path
from unittest.mock import patch

from flwr.app import Array, ArrayRecord, Message
from flwr.clientapp import ClientApp

from coordinator.federation.notices import Notices
from coordinator.store.signals import FolderSignals
from shared.federation.records import pack, unpack
from site_node.federate import executor
from site_node.federate.site import FederateSettings
from site_node.federate.tasks import TaskWorker

TENSORS = "tensors"


class Noticed:
    """`Work` that always waits, of which each notice of the centre tells anew."""

    work = reached = True

    def __init__(self) -> None:
        self.bell = threading.Event()

    def wait(self, seconds: float) -> None:
        """Until the next notice, at most for so long."""
        self.bell.wait(seconds)
        self.bell.clear()


def serve(settings: FederateSettings, signals: Path, module: str) -> None:
    """Answer messages until this process is asked to end."""
    work, stop, notices = Noticed(), threading.Event(), Notices(FolderSignals(signals))

    def end(*_: object) -> None:
        stop.set()
        work.bell.set()

    signal.signal(signal.SIGTERM, end)
    notices.subscribe(settings.site_id, lambda _: work.bell.set())
    worker = partial(TaskWorker, (sys.executable, "-m", module, "worker"))
    with notices.listening(), patch.object(executor, "TaskWorker", worker):
        executor.run_federate(settings, work, stop=stop)


def reply(message: Message, _: object) -> Message:
    """What was asked."""
    content = message.content
    if TENSORS in content:
        [array], number = content["model"].values(), content[TENSORS]["number"]
        vector = array.numpy()
        state = unpack(vector, {str(place): (vector.size // number,) for place in range(number)})
        content["model"] = ArrayRecord({"model": Array(pack(state))})
    return Message(content, reply_to=message)


def work() -> None:
    """The node's worker with an app that sends back what it got."""
    from site_node.federate import worker

    app = ClientApp()
    for kind in (app.train(), app.evaluate()):
        kind(reply)
    with patch.object(worker, "app", app):
        worker.main()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work()
    else:
        serve(FederateSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
