"""Which calls get a thread, decided before they have one: the adapter to grpcio's server, alone in using its internals.

grpcio gives a call a thread when its headers arrive, so that calls whose requests never come hold every thread. Here a
call counts for its caller from its headers on, is refused at once above the limit, gets a thread when its request (of a
stream: the first) is whole, and is ended when that takes too long.
"""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import grpc
from grpc._cython import cygrpc
from grpc._server import (
    _RECEIVE_MESSAGE_TOKEN,
    _SEND_INITIAL_METADATA_AND_SEND_MESSAGE_TOKEN,
    _SEND_MESSAGE_TOKEN,
    _Context,
    _get_initial_metadata_operation,
    _is_rpc_state_active,
    _receive_message,
    _send_message,
    _status,
)

from coordinator.service.slots import Choose
from coordinator.trust.interceptor import Guarded
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import BUSY_SECONDS, CoordinatorBusy
from shared.wire import refuse

KNOWN_VERSIONS = ("1.85.1",)
REQUEST_SECONDS = 10.0  # for some kilobytes, or for the first message of a stream
_SWEEP_SECONDS = 1.0
_SENDING = frozenset({_SEND_MESSAGE_TOKEN, _SEND_INITIAL_METADATA_AND_SEND_MESSAGE_TOKEN})


class Admission(Executor):
    """What a port's grpcio server takes for its thread pool."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._half_sent: dict[_Call, float] = {}  # since when, the oldest first
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="half-sent calls", daemon=True)
        self._sweeper.start()

    def submit(self, run: Callable[..., Any], /, *call: Any, **none: Any) -> "Future[Any]":
        """Admit or refuse a call; the future ends with it. grpcio's serving thread calls this, and must not wait."""
        del none
        admitted = _Call(run, call)
        slots, caller = self._choose(admitted.behaviour, admitted.context)
        if not slots.claim(caller):
            admitted.refuse(_busy("its caller or all together have too many calls"))
            return admitted.ended
        admitted.ended.add_done_callback(lambda _: slots.release(caller))
        self._half_sent[admitted] = time.monotonic()

        def on_message(message: Any) -> None:
            if self._half_sent.pop(admitted, None) is None:  # it was refused meanwhile
                return
            if message is None:
                admitted.refuse(InvalidArgument(name="The request", problem="the call ended before it was whole"))
            else:
                slots.pool.submit(admitted.answer, message)

        admitted.receive(on_message)
        return admitted.ended

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the sweeping, after the server was stopped."""
        del cancel_futures
        self._closed.set()
        if wait:
            self._sweeper.join()

    def _sweep(self) -> None:
        while not self._closed.wait(_SWEEP_SECONDS):
            late = time.monotonic() - REQUEST_SECONDS
            for call in [call for call, since in tuple(self._half_sent.items()) if since < late]:
                if self._half_sent.pop(call, None) is not None:
                    call.refuse(_busy("its request did not come"))


class _Call:
    """A call as grpcio hands it to its pool."""

    def __init__(self, run: Callable[..., None], call: tuple[Any, ...]) -> None:
        respond, event, state, behaviour, argument, *codecs = call
        self.behaviour: Guarded = behaviour
        self.context: grpc.ServicerContext = _Context(event, state, codecs[0])
        self.ended: Future[None] = Future()
        self._event, self._state, self._argument, self._read = event, state, argument, codecs[0]
        self._begun = _Begun(self.behaviour, WaitingCall(event, state, codecs[1]))
        self._respond: Callable[[Callable[..., Any], Callable[[], Any]], None] = lambda by, given: run(
            respond, event, state, by, given, *codecs
        )

    def receive(self, then: Callable[[Any], None]) -> None:
        """Wait, on no thread, for the first message, or `None` when the caller ends the call without one."""
        received = _receive_message(self._state, self._event.call, self._read)

        def on_event(event: Any) -> Any:
            answer = received(event)
            message, self._state.request = self._state.request, None
            then(message)
            return answer

        self._event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), on_event)
        self._state.due.add(_RECEIVE_MESSAGE_TOKEN)

    def answer(self, message: Any) -> None:
        """Answer on this thread, unless the caller left; the first message of a stream was received already.

        A call that waits is begun here, and goes on without this thread when it returns.
        """

        def given() -> Any:
            if not self.context.is_active():
                return None
            if not self.behaviour.reads_stream:
                return message
            return itertools.chain((message,), self._argument())

        try:
            self._respond(self._begun if self.behaviour.waits else self.behaviour, given)
        finally:
            self.ended.set_result(None)

    def refuse(self, error: RicordError) -> None:
        """Answer with `error` where the caller is still there; waits for nothing."""
        if self.context.is_active():
            self._respond(lambda _, context: refuse(context, error), tuple)
        self.ended.set_result(None)


class _Begun:
    """A behaviour that returns at once and answers later, in the form that grpcio gives no iterator to."""

    experimental_non_blocking = True

    def __init__(self, behaviour: Guarded, outlet: "WaitingCall") -> None:
        self._behaviour = behaviour
        self._outlet = outlet

    def __call__(self, request: Any, context: grpc.ServicerContext, _: Callable[[Any], None]) -> None:
        self._behaviour.open(request, context, self._outlet)


class WaitingCall:
    """The `Outlet` of a call. grpcio's own way to send waits on the caller's thread until the message has left."""

    def __init__(self, event: Any, state: Any, write: Callable[[Any], bytes]) -> None:
        self._event, self._state, self._write = event, state, write
        self._next: Any = None

    def send(self, message: Any) -> None:
        """Send a message, at once or when the one before has left; a later one replaces one that still waits."""
        state = self._state
        with state.condition:
            if not _is_rpc_state_active(state):
                return
            if _SENDING & state.due:
                self._next = message
                return
            operations = [cygrpc.SendMessageOperation(self._write(message), 0)]
            token = _SEND_MESSAGE_TOKEN
            if state.initial_metadata_allowed:
                operations.insert(0, _get_initial_metadata_operation(state, None))
                state.initial_metadata_allowed = False
                token = _SEND_INITIAL_METADATA_AND_SEND_MESSAGE_TOKEN
            self._event.call.start_server_batch(operations, self._sent(token))
            state.due.add(token)

    def end(self) -> None:
        """End the call, without an error."""
        with self._state.condition:
            if _is_rpc_state_active(self._state):
                _status(self._event, self._state, None)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when the call has ended on either side: at once, where it has."""
        with self._state.condition:
            if self._state.callbacks is not None:
                self._state.callbacks.append(callback)
                return
        callback()

    def _sent(self, token: str) -> Callable[[Any], Any]:
        sent = _send_message(self._state, token)

        def on_event(event: Any) -> Any:
            answer = sent(event)
            with self._state.condition:
                following, self._next = self._next, None
                if following is not None:
                    self.send(following)
            return answer

        return on_event


def _busy(why: str) -> CoordinatorBusy:
    return CoordinatorBusy(why, seconds=str(BUSY_SECONDS))
