"""A site that nobody tells when work waits: it asks the fleet port all the time."""

import threading


class AlwaysWork:
    """`site_node.federate.executor.Work` without a main port."""

    work = reached = True

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until the site stops."""
        self._stop.wait(seconds)
