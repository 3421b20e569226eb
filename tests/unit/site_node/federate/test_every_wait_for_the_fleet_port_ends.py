"""Every wait for the fleet port has an end, and no answer of it ends more than the message that it belongs to."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesResponse
from flwr.proto.message_pb2 import Message as MessageOnTheWire
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse, PushObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunResponse, Run
from flwr.supercore.task_identity import TaskIdentity

from shared.crypto.keys import make_flower
from shared.errors.federation import RunFailed, RunRefused
from shared.errors.transport import CoordinatorUnreachable
from site_node.federate import fleet as fleet_module
from site_node.federate.fleet import Arrival, Fleet, FleetSettings
from site_node.federate.packing import Packed, pack
from tests.integration.test_federation_sockets import write_certificate


class Port:
    """Answers each call with what a test says, and counts calls."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[str] = []

    def __getattr__(self, call: str) -> Callable[[Any], Any]:
        def answer(request: Any) -> Any:
            self.calls.append(call)
            return self.answers[call](request)

        return answer


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def fleet(tmp_path: Path, stop: threading.Event, port: Port, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A node that has signed on; its waits are short."""
    write_certificate(tmp_path)
    make_flower(tmp_path / "node.pem")
    for name in ("_RETRY_SECONDS", "_SEND_SECONDS", "_OBJECT_SECONDS"):
        monkeypatch.setattr(fleet_module, name, 0.2)
    fleet = Fleet(
        FleetSettings(address="127.0.0.1:1", root=tmp_path / "root.pem", node_key=tmp_path / "node.pem"), stop
    )
    fleet._client.close()
    fleet._client = port
    fleet._node = Node(node_id=2)
    return fleet


def arrival() -> tuple[Arrival, Packed]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    message = Message(RecordDict({"config": ConfigRecord({"x": 1})}), dst_node_id=2, message_type="query")
    packed = pack(message)
    return Arrival("query", message, tuple(packed.objects), "f" * 64), packed


def status(code: int) -> Callable[[Any], Any]:
    """An answer with an HTTP status."""

    def answer(_: Any) -> Any:
        request = httpx.Request("POST", "https://127.0.0.1/")
        raise httpx.HTTPStatusError("", request=request, response=httpx.Response(code, request=request))

    return answer


def silence(_: Any) -> Any:
    raise httpx.ReadTimeout("")


@pytest.mark.parametrize("answer", [silence, status(503), lambda _: (_ for _ in ()).throw(ValueError)])
def test_a_port_that_does_not_answer_is_asked_again_for_a_while(
    fleet: Fleet, port: Port, answer: Callable[[Any], Any]
) -> None:
    port.answers["PullMessages"] = answer
    with pytest.raises(CoordinatorUnreachable):
        fleet.pull()
    assert len(port.calls) > 1


def test_a_port_that_is_back_answers_the_same_question(fleet: Fleet, port: Port) -> None:
    answers = iter((silence, status(502), lambda _: PullMessagesResponse()))

    def answer(request: Any) -> Any:
        return next(answers)(request)

    port.answers["PullMessages"] = answer
    assert fleet.pull() is None


def test_a_node_that_is_not_known_does_not_ask_again(fleet: Fleet, port: Port) -> None:
    port.answers["PullMessages"] = status(401)
    with pytest.raises(CoordinatorUnreachable):
        fleet.pull()
    assert port.calls == ["PullMessages"]


@pytest.mark.parametrize("silent", ["PullMessages", "PullObject"])
def test_a_stop_ends_a_wait_at_once(
    fleet: Fleet, port: Port, stop: threading.Event, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_RETRY_SECONDS", "_OBJECT_SECONDS"):
        monkeypatch.setattr(fleet_module, name, 3600.0)
    waiting = PullObjectResponse(object_found=True, object_available=False)
    port.answers.update({"PullMessages": silence, "PullObject": lambda _: waiting})
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(CoordinatorUnreachable):
        fleet.pull() if silent == "PullMessages" else fleet.fetch(arrival()[0])


def test_an_object_that_never_comes_is_not_waited_for_without_end(fleet: Fleet, port: Port) -> None:
    """Where the coordinator was killed while it sent a message."""
    port.answers["PullObject"] = lambda _: PullObjectResponse(object_found=True, object_available=False)
    with pytest.raises(CoordinatorUnreachable):
        fleet.fetch(arrival()[0])


def test_a_run_that_has_ended_ends_its_message_only(fleet: Fleet, port: Port) -> None:
    message, packed = arrival()
    missing = PullObjectResponse(object_found=False)
    port.answers.update({"PullObject": lambda _: missing, "PushMessages": status(403)})
    with pytest.raises(RunFailed):
        fleet.fetch(message)
    with pytest.raises(RunFailed):
        fleet.send(message, packed, 0.1)
    port.answers["PushMessages"] = lambda _: PushMessagesResponse(objects_to_push=list(packed.objects))
    port.answers["PushObject"] = lambda _: PushObjectResponse(stored=False)
    with pytest.raises(RunFailed):
        fleet.send(message, packed, 0.1)


def test_a_message_that_is_too_large_is_not_fetched_whole(
    fleet: Fleet, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "LARGEST_MESSAGE", 10)
    port.answers["PullObject"] = lambda _: PullObjectResponse(
        object_found=True, object_available=True, object_content=b"12345678901"
    )
    with pytest.raises(RunRefused):
        fleet.fetch(arrival()[0])
    assert port.calls == ["PullObject"]


def test_a_message_of_a_kind_that_flower_does_not_know_arrives(fleet: Fleet, port: Port) -> None:
    """Under its name, so that it can be refused; Flower itself raises an exception instead."""
    _, packed = arrival()
    head = MessageOnTheWire.FromString(packed.head)
    head.metadata.message_type = "nonsense"
    tree = ObjectTree.FromString(packed.tree)
    port.answers["PullMessages"] = lambda _: PullMessagesResponse(messages_list=[head], message_object_trees=[tree])
    port.answers["GetRun"] = lambda _: GetRunResponse(run=Run(run_id=1, fab_hash="f" * 64))
    for _ in range(2):
        come = fleet.pull()
        assert come is not None
        assert (come.kind, come.bundle_digest, set(come.objects)) == ("nonsense", "f" * 64, set(packed.objects))
    assert port.calls.count("GetRun") == 1
