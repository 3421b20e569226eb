"""The site's end of Flower's Fleet protocol: messages are fetched and answers sent here, over HTTPS with the node key.

With `packing` the only module of the site that uses Flower's internals. Flower's own connection
(`flwr.supernode.fleet_http_connection`) tries for ever, and ends the process where it is refused; so this one is made
from its parts. Every wait has an end: a request that fails is repeated for `_RETRY_SECONDS` (an answer for
`_SEND_SECONDS`), an object that is not there yet is asked for until `_OBJECT_SECONDS` have passed, and a stop ends all.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.message_pb2 import Message as MessageOnTheWire
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from shared.errors.federation import RunFailed, RunRefused
from shared.errors.transport import CoordinatorUnreachable
from shared.frozen import Frozen
from site_node.federate.packing import KINDS, LARGEST_MESSAGE, Packed

Answer = TypeVar("Answer")

KNOWN_VERSIONS = ("1.41.0", "1.42.0")
_HEARTBEAT_SECONDS = 10  # the least that Flower allows; a node that is silent for two of them is offline
_REQUEST_SECONDS = 10.0  # for each step of a request: sending a part, waiting for a part
_CONNECT_SECONDS = 4.0
_RETRY_SECONDS = 20.0
_SEND_SECONDS = 300.0  # for an answer, whose computation may have taken an hour
_OBJECT_SECONDS = 120.0
_PAUSE_SECONDS = 0.05, 2.0  # between two tries: the first, and the longest
_SIGNATURE_SECONDS = 5.0  # for which a node's signature of the time is sent; the port takes it for five minutes
_SIGNATURE = (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
_NOT_NOW = frozenset({502, 503, 504})


class FleetSettings(Frozen):
    """Whom to connect to, and as whom; `node_key` is the P-384 key in OpenSSH form."""

    address: str  # host:port
    root: Path  # PEM of the root that signed the fleet port's certificate
    node_key: Path


class Arrival(NamedTuple):
    """A message for this site of which nothing but its metadata is here yet."""

    kind: str  # of message, as the coordinator names it: maybe one that Flower does not know
    message: Message  # without content, and of a known kind
    objects: tuple[str, ...]  # the names of its objects
    bundle_digest: str  # SHA-256 of the FAB of its run; the FAB itself is never fetched, since the app is installed


class _Signing(NodeAuthHttpInterceptor):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """Shows the port who is asking: the time signed by the node key, anew each few seconds and not for each request."""

    _kept: tuple[dict[str, str], float] = ({}, float("-inf"))  # the headers, and until when they are sent

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> Any:
        """Add the headers to a request and pass it on."""
        headers, until = self._kept
        if time.monotonic() < until:
            context.request.headers.update(headers)
            return call_next(context)

        def keep(signed: ProtobufRequestContext) -> Any:
            kept = {name: signed.request.headers[name] for name in _SIGNATURE}
            self._kept = kept, time.monotonic() + _SIGNATURE_SECONDS
            return call_next(signed)

        return super().intercept(context, keep)


class Fleet:
    """A node's connection to the fleet port, for as long as it is signed on; several threads may use it.

    Every method raises `CoordinatorUnreachable` where the port does not answer in time, does not know this node, or
    `stop` is set, and `RunFailed` where the message's run has ended.
    """

    def __init__(self, settings: FleetSettings, stop: threading.Event) -> None:
        self._address = settings.address
        self._stop = stop
        self._beaten: float | None = None  # when the last heartbeat was sent; `None`: the node is not signed on
        self.session = 0  # how often the node has signed on
        self._bundles: dict[int, str] = {}  # by run
        key = cast("ec.EllipticCurvePrivateKey", load_ssh_private_key(settings.node_key.read_bytes(), None))
        self._public_key = public_key_to_bytes(key.public_key())
        self._client = FleetHttpClient(
            f"https://{settings.address}",
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                _Signing(key, key.public_key()),
            ],
            verify=ssl.create_default_context(cafile=str(settings.root)),
            timeout=httpx.Timeout(_REQUEST_SECONDS, connect=_CONNECT_SECONDS),
        )
        for talkative in ("flwr", "httpx"):  # httpx logs every request
            getLogger(talkative).setLevel(WARNING)

    def be_on(self) -> None:
        """Sign on where the node is not, so that it counts as online; else send a heartbeat where one is due."""
        if self._beaten is None:
            request = ActivateNodeRequest(public_key=self._public_key, heartbeat_interval=_HEARTBEAT_SECONDS)
            self._node = Node(node_id=self._ask(lambda: self._client.ActivateNode(request)).node_id)
            self.session += 1
        elif time.monotonic() - self._beaten > _HEARTBEAT_SECONDS * 0.8:
            beat = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=_HEARTBEAT_SECONDS)
            if not self._ask(lambda: self._client.SendNodeHeartbeat(beat)).success:
                raise CoordinatorUnreachable("it does not know this node any more", address=self._address)
        else:
            return
        self._beaten = time.monotonic()

    def be_off(self) -> None:
        """Sign off, if that is possible at once; else the node is offline soon after its last heartbeat."""
        if self._beaten is not None:
            self._beaten = None
            with suppress(httpx.HTTPError, ValueError):
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=self._node.node_id))

    def close(self) -> None:
        """Sign off and close the connection."""
        self.be_off()
        self._client.close()

    def pull(self) -> Arrival | None:
        """The next message, or `None` where none waits."""
        pulled = self._ask(lambda: self._client.PullMessages(PullMessagesRequest(node=self._node)))
        if not pulled.messages_list:
            return None
        head = pulled.messages_list[0]
        kind = head.metadata.message_type
        if kind not in KINDS:  # Flower makes no message of such a kind, and so none that answers it
            head.metadata.message_type = next(iter(KINDS))
        message = message_from_proto(head)
        names = dict.fromkeys(tree.object_id for tree in iterate_object_tree(pulled.message_object_trees[0]))
        return Arrival(kind, message, tuple(names), self._bundle(message.metadata.run_id))

    def fetch(self, arrival: Arrival) -> Mapping[str, bytes]:
        """The objects of a message; raises `RunRefused` for more than `LARGEST_MESSAGE` bytes together."""
        run, deadline = arrival.message.metadata.run_id, time.monotonic() + _OBJECT_SECONDS
        objects: dict[str, bytes] = {}
        size = 0
        for name in arrival.objects:
            objects[name] = self._object(PullObjectRequest(node=self._node, run_id=run, object_id=name), deadline)
            size += len(objects[name])
            if size > LARGEST_MESSAGE:
                raise RunRefused(problem="the message is larger than any that this site takes")
        confirmed = ConfirmMessageReceivedRequest(
            node=self._node, run_id=run, message_object_id=arrival.message.metadata.message_id
        )
        self._ask(lambda: self._client.ConfirmMessageReceived(confirmed))
        return objects

    def send(self, arrival: Arrival, answer: Packed, seconds: float) -> None:
        """Send the answer to a message, which took `seconds` to compute."""
        run = arrival.message.metadata.run_id
        announced = PushMessagesRequest(
            node=self._node,
            messages_list=[MessageOnTheWire.FromString(answer.head)],
            message_object_trees=[ObjectTree.FromString(answer.tree)],
            clientapp_runtime_list=[seconds],
        )
        wanted = self._ask(lambda: self._client.PushMessages(announced), _SEND_SECONDS)
        missing = set(wanted.objects_to_push)
        for name, content in answer.objects.items():
            if name in missing:
                part = PushObjectRequest(
                    node=self._node,
                    run_id=run,
                    object_id=name,
                    object_content=content,
                    session_id=wanted.session_id,
                )
                if not self._ask(partial(self._client.PushObject, part), _SEND_SECONDS).stored:
                    raise RunFailed(problem="the coordinator did not store an answer")

    def _bundle(self, run: int) -> str:
        if run not in self._bundles:
            about = self._ask(lambda: self._client.GetRun(GetRunRequest(node=self._node, run_id=run))).run
            self._bundles[run] = str(about.fab_hash)
        return self._bundles[run]

    def _object(self, request: PullObjectRequest, deadline: float) -> bytes:
        pause = _PAUSE_SECONDS[0]
        while True:
            answer = self._ask(lambda: self._client.PullObject(request))
            if not answer.object_found:
                raise RunFailed(problem="a part of a message is missing")
            if answer.object_available:
                return bytes(answer.object_content)
            if time.monotonic() > deadline or self._stop.wait(pause):
                raise CoordinatorUnreachable("an object of a message did not come", address=self._address)
            pause = min(2 * pause, _PAUSE_SECONDS[1])

    def _ask(self, call: Callable[[], Answer], seconds: float | None = None) -> Answer:
        """The answer to a request, which is repeated for `seconds` (`None`: `_RETRY_SECONDS`) where nobody answers."""
        deadline, pause = time.monotonic() + (seconds or _RETRY_SECONDS), _PAUSE_SECONDS[0]
        while True:
            try:
                return call()
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status == httpx.codes.FORBIDDEN:
                    raise RunFailed(problem="its run has ended") from error
                if status not in _NOT_NOW:
                    raise CoordinatorUnreachable(f"status {status}", address=self._address) from error
                cause: Exception = error
            except (httpx.HTTPError, ValueError) as error:
                cause = error
            if time.monotonic() > deadline or self._stop.wait(pause):
                raise CoordinatorUnreachable(type(cause).__name__, address=self._address) from cause
            pause = min(2 * pause, _PAUSE_SECONDS[1])
