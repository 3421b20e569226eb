"""A node that waits hears over mutual TLS when a run asks for its site, and when it is out of it again."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from coordinator.service import server
from shared.errors.agreements import AgreementNotExecuted
from shared.manifest import canonical_json
from shared.member import member_channel
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.protocol.loader import load_protocol
from site_node.federate.awaiting import Awaited
from site_node.membership.renewal import member_of
from tests.factories.federation import Federation, running_federation

QUERY = canonical_json({"purpose": "statistics", "statistics": {"cohort": load_protocol("ricord").cohort.name}})


def comes_true(waiting: Sequence[Awaited], condition: Callable[[Awaited], bool], seconds: float = 10) -> bool:
    """Whether it holds for each of them in time."""
    until = time.monotonic() + seconds
    while not all(map(condition, waiting)) and time.monotonic() < until:
        for awaited in waiting:
            awaited.wait(0.05)
    return all(map(condition, waiting))


def test_a_run_is_heard_of_and_an_agreement_that_ends_ends_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though connections last a second; the coordinator's stop waits for no site that waits."""
    monkeypatch.setattr(
        server, "MAIN_OPTIONS", (("grpc.max_connection_age_ms", 1000), ("grpc.max_connection_age_grace_ms", 500))
    )
    with ExitStack() as stack:
        federation: Federation = stack.enter_context(running_federation(tmp_path))
        federation.curator()
        names = ["North Hospital", "South Hospital", "West Hospital"]
        members = [member_of(federation.site(name)[1]) for name in names]
        waiting = [Awaited(partial(member_channel, member), threading.Event()) for member in members]
        for awaited in waiting:
            stack.enter_context(awaited.listening())
        assert comes_true(waiting, lambda awaited: awaited.reached)
        with federation.operator() as channel:
            run = FederationServiceStub(channel).StartRun(wire.StartRunRequest(plan=QUERY)).run
        assert comes_true(waiting, lambda awaited: awaited.work)
        federation.suspend(names[0])
        with federation.operator() as channel:
            FederationServiceStub(channel).StopRun(wire.StopRunRequest(id=run.id))
        assert comes_true(waiting[1:], lambda awaited: not awaited.work)
        with pytest.raises(AgreementNotExecuted):
            comes_true(waiting[:1], lambda _: False)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 8
