"""What the coordinator says of waiting work: one open call over the main port, so that an idle site asks nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import SystemRandom

import grpc
import structlog

from shared.errors.base import RicordError
from shared.errors.transport import CoordinatorBusy, CoordinatorUnreachable, UploadInterrupted
from shared.proto.ricord.v1.federation_pb2 import AwaitRequest
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub

Connect = Callable[[], AbstractContextManager[grpc.Channel]]  # a new channel; it renews a certificate that is due

_PAUSE_SECONDS = (0.5, 2.5)  # before the next try, at random in between: many sites lose one coordinator together
_WAKE_SECONDS = 1.0  # in which a stop is seen
_END_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Awaited:
    """Whether work waits, as the coordinator said last; while it cannot be heard, that stays."""

    def __init__(self, connect: Connect, stop: threading.Event) -> None:
        self.work = False
        self.reached = False  # whether the call is open
        self._connect = connect
        self._stop = stop
        self._ended = threading.Event()
        self._bell = threading.Event()
        self._refused: RicordError | None = None
        self._call: grpc.Call | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the coordinator while the block runs; a call that ends, as each does after hours, is made again."""
        listener = threading.Thread(target=self._listen, name="awaiting work", daemon=True)
        listener.start()
        try:
            yield
        finally:
            self._ended.set()
            if self._call is not None:
                self._call.cancel()
            listener.join(_END_SECONDS)

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until the coordinator says something or the node stops.

        Raises what the coordinator refused to let this site wait for, as where its agreement ended.
        """
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            if self._bell.wait(min(left, _WAKE_SECONDS)):
                break
        self._bell.clear()
        if self._refused is not None:
            raise self._refused

    def _listen(self) -> None:
        while not (self._ended.is_set() or self._stop.is_set()):
            try:
                self._hear()
            except (CoordinatorUnreachable, CoordinatorBusy, UploadInterrupted):
                pass
            except RicordError as error:
                self._refused = error
                self._bell.set()
                return
            finally:
                self.reached = False
            self._ended.wait(SystemRandom().uniform(*_PAUSE_SECONDS))

    def _hear(self) -> None:
        with self._connect() as channel:
            call = self._call = FederationServiceStub(channel).Await(AwaitRequest())
            for answer in call:
                if answer.work != self.work or not self.reached:
                    log.info("federation.work" if answer.work else "federation.idle")
                self.work, self.reached = answer.work, True
                self._bell.set()
