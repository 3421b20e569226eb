"""A site hears within seconds whether work waits, whatever becomes of the line, and asks nothing meanwhile."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from coordinator.trust.interceptor import Outlet
from shared.errors.agreements import AgreementNotExecuted
from shared.proto.ricord.v1.federation_pb2 import AwaitRequest, AwaitResponse
from shared.wire import from_rpc
from site_node.federate.awaiting import Awaited
from tests.factories.ports import free_ports
from tests.factories.waiting_calls import serving_waiters

CODEC = (AwaitRequest.FromString, AwaitResponse.SerializeToString)
SOON = 5.0  # seconds in which a coordinator that is back must be noticed


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


class Coordinator:
    """Says `work` to whoever waits, and counts calls."""

    def __init__(self, *, work: bool) -> None:
        self.work = work
        self.outlets = queue.Queue[Outlet]()

    def __call__(self, _: Any, outlet: Outlet) -> None:
        outlet.send(AwaitResponse(work=self.work))
        self.outlets.put(outlet)


def awaited_at(address: str, stop: threading.Event) -> Awaited:
    @contextmanager
    def connect() -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                yield channel
            except grpc.RpcError as error:
                raise from_rpc(error, address) from error

    return Awaited(connect, stop)


def hears(awaited: Awaited, condition: Callable[[], bool], seconds: float = SOON) -> bool:
    """Whether it holds in time, by waiting as the executor does."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        awaited.wait(until - time.monotonic())
    return condition()


def test_a_notice_ends_the_wait(stop: threading.Event) -> None:
    """Each, at once, though nothing changed by it; and one call is enough for all."""
    coordinator = Coordinator(work=False)
    with serving_waiters(coordinator, codec=CODEC) as (address, _):
        awaited = awaited_at(address, stop)
        with awaited.listening():
            assert hears(awaited, lambda: awaited.reached)
            outlet = coordinator.outlets.get(timeout=SOON)
            for work in (True, True, False):
                outlet.send(AwaitResponse(work=work))
                start = time.monotonic()
                awaited.wait(30)
                assert time.monotonic() - start < SOON
                assert awaited.work is work
        assert coordinator.outlets.empty()


def test_a_coordinator_that_is_back_is_heard_within_five_seconds(stop: threading.Event) -> None:
    """Also one that was never there; what it said last stays until then."""
    (port,) = free_ports(1)
    awaited = awaited_at(f"127.0.0.1:{port}", stop)
    with awaited.listening():
        assert not hears(awaited, lambda: awaited.reached, 1)
        for work in (True, False):
            with serving_waiters(Coordinator(work=work), codec=CODEC, port=port):
                assert hears(awaited, lambda: awaited.reached)
                assert awaited.work is work
            assert hears(awaited, lambda: not awaited.reached, 10)
            assert awaited.work is work


def test_a_connection_that_grows_old_loses_no_notice(stop: threading.Event) -> None:
    """The next call hears what changed while there was none."""
    coordinator = Coordinator(work=False)
    with serving_waiters(coordinator, codec=CODEC, max_connection_age_ms=300, max_connection_age_grace_ms=100) as (
        address,
        _,
    ):
        awaited = awaited_at(address, stop)
        with awaited.listening():
            for _ in range(3):
                coordinator.outlets.get(timeout=SOON)
                coordinator.work = not coordinator.work
            assert hears(awaited, lambda: awaited.work)


def test_a_site_that_may_not_wait_learns_why(stop: threading.Event) -> None:
    def refuse(_: Any, outlet: Outlet) -> None:
        raise AgreementNotExecuted(state="suspended", next="nothing")

    with serving_waiters(refuse, codec=CODEC) as (address, _):
        awaited = awaited_at(address, stop)
        with awaited.listening(), pytest.raises(AgreementNotExecuted):
            awaited.wait(SOON)


def test_a_stop_ends_the_wait(stop: threading.Event) -> None:
    with serving_waiters(Coordinator(work=False), codec=CODEC) as (address, _):
        awaited = awaited_at(address, stop)
        start = time.monotonic()
        with awaited.listening():
            assert hears(awaited, lambda: awaited.reached)
            threading.Timer(0.2, stop.set).start()
            awaited.wait(60)
        assert time.monotonic() - start < SOON
