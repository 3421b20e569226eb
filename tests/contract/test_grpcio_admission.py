"""The internals of grpcio's server that admission uses, checked against the versions it knows."""

import inspect
import threading
from importlib.metadata import version
from pathlib import Path

import grpc
from grpc import _server
from grpc._cython import cygrpc

from coordinator.service import admission

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = "coordinator/service/admission.py"


def test_the_installed_grpcio_is_the_adapters() -> None:
    """A new grpcio fails here until somebody reads again how its server hands calls to its pool."""
    assert version("grpcio") in admission.KNOWN_VERSIONS


def test_only_the_adapter_uses_grpcios_internals() -> None:
    """An upgrade is reviewed in one place."""
    users = {
        str(path.relative_to(ROOT))
        for program in ("site_node", "coordinator", "shared", "compose")
        for path in (ROOT / program).rglob("*.py")
        if not path.stem.endswith("_pb2_grpc")
        and any(words in path.read_text() for words in ("from grpc._", "import grpc._", "from grpc import _"))
    }
    assert users == {ADAPTER}


def test_calls_are_handed_over_as_the_adapter_unpacks_them() -> None:
    """Each kind submits: run, what responds, event, state, behaviour, argument, and the two codecs."""
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        source = inspect.getsource(getattr(_server, f"_handle_{kind}"))
        submitted = source.partition("thread_pool.submit(")[2].replace("lambda: request_iterator", "unary_request")
        parts = [part.strip() for part in submitted.partition("\n    )")[0].split(",") if part.strip()]
        assert parts[0] == "state.context.run"
        assert parts[1].endswith("_response_in_pool")
        assert parts[2:4] == ["rpc_event", "state"]
        assert parts[4] == f"method_handler.{kind}"
        assert parts[5:] == [
            "unary_request",
            "method_handler.request_deserializer",
            "method_handler.response_serializer",
        ]


def test_the_adapters_names_are_there() -> None:
    """Receiving a message takes state, call and reader; the state may be locked again by the thread that holds it."""
    assert list(inspect.signature(_server._receive_message).parameters) == ["state", "call", "request_deserializer"]
    assert list(inspect.signature(_server._Context).parameters) == ["rpc_event", "state", "request_deserializer"]
    assert issubclass(_server._Context, grpc.ServicerContext)
    state = _server._RPCState()
    assert state.due == set()
    assert state.request is None
    with state.condition:
        assert state.condition.acquire(blocking=False)
        state.condition.release()
    assert isinstance(state.condition, threading.Condition)
    assert hasattr(cygrpc, "ReceiveMessageOperation")
