"""A site hears within seconds whether work waits, whatever becomes of the line, and asks nothing meanwhile."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from coordinator.trust.interceptor import Outlet
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.transport import CoordinatorUnreachable
from shared.proto.ricord.v1.federation_pb2 import AwaitRequest, AwaitResponse
from shared.wire import PROMPT_OPTIONS, SERVER_OPTIONS, from_rpc
from site_node.federate import executor
from site_node.federate.awaiting import _PAUSE_SECONDS, Awaited
from tests.factories.line import Line
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


def awaited_at(address: str, stop: threading.Event, **options: int) -> Awaited:
    @contextmanager
    def connect() -> Iterator[grpc.Channel]:
        named = [(f"grpc.{name}", value) for name, value in {"use_local_subchannel_pool": 1, **options}.items()]
        with grpc.insecure_channel(address, options=named) as channel:
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


def ten_times_as_fast(options: Sequence[tuple[str, int]]) -> dict[str, int]:
    return {name.removeprefix("grpc."): value // 10 if name.endswith("_ms") else value for name, value in options}


def test_a_line_that_passes_nothing_is_noticed_and_its_end_too(
    stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets are dropped, no connection is reset. Ten times as fast as in earnest: six seconds, then five.

    Before it, the idle call outlives more pings than grpc's own limits allow.
    """
    monkeypatch.setattr("site_node.federate.awaiting._PAUSE_SECONDS", (0.05, 0.25))
    coordinator, pings = Coordinator(work=False), PROMPT_OPTIONS[0][1] / 10_000
    with (
        serving_waiters(coordinator, codec=CODEC, **ten_times_as_fast(SERVER_OPTIONS)) as (address, _),
        Line(int(address.rpartition(":")[2])).open() as line,
    ):
        awaited = awaited_at(f"127.0.0.1:{line.port}", stop, **ten_times_as_fast(PROMPT_OPTIONS))
        with awaited.listening():
            assert hears(awaited, lambda: awaited.reached)
            time.sleep(8 * pings)
            assert awaited.reached
            assert coordinator.outlets.qsize() == 1
            line.halt(after=0)
            assert hears(awaited, lambda: not awaited.reached, 2)
            time.sleep(1)
            line.resume()
            assert hears(awaited, lambda: awaited.reached, 2)


def test_a_coordinator_that_is_back_is_tried_within_five_seconds() -> None:
    """A try that began before ends, the longest pause passes, and the next try connects."""
    bounds = dict(PROMPT_OPTIONS)
    assert bounds["grpc.keepalive_time_ms"] > dict(SERVER_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    for noticed in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        assert bounds["grpc.keepalive_time_ms"] + bounds[noticed] <= 6_000
    rest_of_a_try = bounds["grpc.min_reconnect_backoff_ms"] / 1000 - 3  # TCP itself tries after 1 and 3 seconds
    assert max(2, rest_of_a_try) + max(_PAUSE_SECONDS) < SOON


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


@pytest.mark.parametrize("session", [1, 2])
def test_what_an_earlier_session_lost_ends_no_later_one(session: int) -> None:
    """An answer that could not be sent to a coordinator that is back by now: the node stays signed on for the run."""
    fleet = Mock(session=2)
    fleet.pull.return_value = None
    answering = executor._Answering(Mock(site=Mock(poll_seconds=1.0)), fleet, Mock())
    lost = CoordinatorUnreachable(address="centre")
    answering._tasks.append(Mock(is_alive=lambda: False, lost=lost, session=session))
    if session == fleet.session:
        with pytest.raises(CoordinatorUnreachable):
            answering.step(wanted=True)
    else:
        assert answering.step(wanted=True) > 0
    assert (answering.answered, answering._tasks) == (1, [])
