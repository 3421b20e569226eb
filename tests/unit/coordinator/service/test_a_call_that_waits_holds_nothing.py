"""A call that waits holds neither a thread nor a slot, and hears what is sent, the newest at the latest."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from coordinator.trust.interceptor import Outlet
from shared.errors.agreements import AgreementNotExecuted
from shared.wire import from_rpc
from tests.factories.waiting_calls import AWAIT, UPLOAD, serving_waiters

WAITING, UPLOADS, CHUNKS, THREADS = 200, 50, 16, 2
CHUNK = bytes(64 * 1024)


class Opened:
    """The calls that wait, in the order of their coming."""

    def __init__(self) -> None:
        self.outlets = queue.Queue[Outlet]()

    def __call__(self, _: Any, outlet: Outlet) -> None:
        outlet.send(b"first")
        self.outlets.put(outlet)

    def get(self) -> Outlet:
        """The next one."""
        return self.outlets.get(timeout=20)


def wait(line: grpc.Channel) -> Any:
    """A call that waits, as an iterator of what it hears."""
    call: Any = line.unary_stream(AWAIT)
    return call(b"", wait_for_ready=True)


def channel(address: str) -> grpc.Channel:
    """A connection of its own."""
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def test_two_hundred_wait_while_fifty_upload() -> None:
    """Two threads answer both, one call after the other: each upload is whole, and each of those who wait hears."""
    opened = Opened()
    with serving_waiters(opened, threads=THREADS, at_once=UPLOADS) as (address, _), ExitStack() as stack:
        channels = [stack.enter_context(channel(address)) for _ in range(WAITING)]
        calls = [wait(each) for each in channels]
        assert [next(call) for call in calls] == [b"first"] * WAITING
        outlets = [opened.get() for _ in range(WAITING)]
        pools = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
        assert len(pools) <= THREADS

        def upload(number: int) -> bytes:
            call: Any = channels[number].stream_unary(UPLOAD)
            return bytes(call(iter([CHUNK] * CHUNKS), timeout=60))

        with ThreadPoolExecutor(UPLOADS) as pool:
            answers = list(pool.map(upload, range(UPLOADS)))
        assert answers == [str(len(CHUNK) * CHUNKS).encode()] * UPLOADS
        for outlet in outlets:
            outlet.send(b"second")
        assert [next(call) for call in calls] == [b"second"] * WAITING


def test_a_reader_that_stops_reading_holds_up_nobody() -> None:
    """Sending never waits, and of what could not leave the newest leaves."""
    opened = Opened()
    with serving_waiters(opened) as (address, _), channel(address) as slow, channel(address) as quick:
        slow_call, quick_call = wait(slow), wait(quick)
        assert next(slow_call) == next(quick_call) == b"first"
        outlets = opened.get(), opened.get()
        for number in range(100):  # 10 MB to one that does not read them
            for outlet in outlets:
                outlet.send(str(number).encode() * 50_000)
        assert any(message.startswith(b"99") for message in quick_call)
        assert any(message.startswith(b"99") for message in slow_call)


def test_each_end_is_known_once_to_both_sides() -> None:
    """The caller's, the server's, and the connection's."""
    opened, ends = Opened(), queue.Queue[str]()
    with serving_waiters(opened) as (address, _):
        with channel(address) as left:
            call = wait(left)
            assert next(call) == b"first"
            opened.get().on_end(lambda: ends.put("cancelled"))
            call.cancel()
            assert ends.get(timeout=10) == "cancelled"
            call = wait(left)
            assert next(call) == b"first"
            outlet = opened.get()
            outlet.on_end(lambda: ends.put("ended"))
            outlet.end()
            outlet.end()
            assert list(call) == []
            assert ends.get(timeout=10) == "ended"
            outlet.send(b"too late")
            outlet.on_end(lambda: ends.put("late"))
            assert ends.get(timeout=10) == "late"
            call = wait(left)
            assert next(call) == b"first"
            opened.get().on_end(lambda: ends.put("closed"))
        assert ends.get(timeout=10) == "closed"
    assert ends.empty()


def test_a_connection_that_grows_old_ends_the_call_and_the_next_one_waits() -> None:
    opened = Opened()
    with (
        serving_waiters(opened, max_connection_age_ms=200, max_connection_age_grace_ms=200) as (address, _),
        channel(address) as left,
    ):
        for _ in range(3):
            call = wait(left)
            assert next(call) == b"first"
            ended = threading.Event()
            opened.get().on_end(ended.set)
            with pytest.raises(grpc.RpcError):
                next(call)
            assert ended.wait(10)


def test_a_refusal_reaches_the_caller_by_name() -> None:
    """As of every other call, and its slot is free again."""

    def refusing(_: Any, outlet: Outlet) -> None:
        raise AgreementNotExecuted(state="suspended", next="nothing")

    with serving_waiters(refusing) as (address, _), channel(address) as left:
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as caught:
                next(wait(left))
            assert isinstance(from_rpc(caught.value, address), AgreementNotExecuted)
