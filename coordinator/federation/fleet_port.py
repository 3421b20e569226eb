"""The port for sites: Flower's Fleet protocol over HTTPS, and nothing else of Flower.

A request is known before it is read: the path, the node's key and the length stand in its head, and a body is read only
for a node that takes part, as long as its path allows, within a time. There is no Control and no Runtime path in it.
"""

import asyncio
import binascii
import datetime as dt
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

import structlog
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.proto import fab_pb2, fleet_pb2, heartbeat_pb2, message_pb2, run_pb2
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.error import FlowerError
from flwr.supercore.error.catalog import API_ERROR_MAP
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError
from starlette.types import Receive, Scope, Send

from coordinator.federation.link_state import Admits, LinkState

_KB, _MB = 1 << 10, 1 << 20
_NODE_BYTES = 64 * _MB  # of bodies of one node that are being read or answered at once
_NODE_REQUESTS = 16
_SECONDS, _BYTES_PER_SECOND = 20.0, 100 * _KB  # a body has so long, and longer by its size at this rate
_THREADS = 8
_log = structlog.get_logger("federation")


class Path(NamedTuple):
    """A path of the port: what it takes, how large, and what answers."""

    request: Any  # the protobuf message's class
    answer: Callable[[Any, LinkState], Any]
    largest: int = 64 * _KB  # bytes


PATHS = {
    "/v1/fleet/activate-node": Path(fleet_pb2.ActivateNodeRequest, fleet_handlers.activate_node),
    "/v1/fleet/deactivate-node": Path(fleet_pb2.DeactivateNodeRequest, fleet_handlers.deactivate_node),
    "/v1/fleet/send-node-heartbeat": Path(heartbeat_pb2.SendNodeHeartbeatRequest, fleet_handlers.send_node_heartbeat),
    "/v1/fleet/pull-messages": Path(
        fleet_pb2.PullMessagesRequest,
        lambda request, state: fleet_handlers.pull_messages(request, state, state.object_store),
    ),
    "/v1/fleet/push-messages": Path(fleet_pb2.PushMessagesRequest, fleet_handlers.push_messages, 4 * _MB),
    "/v1/fleet/get-run": Path(run_pb2.GetRunRequest, fleet_handlers.get_run),
    "/v1/fleet/get-fab": Path(fab_pb2.GetFabRequest, fleet_handlers.get_fab),
    "/v1/fleet/push-object": Path(message_pb2.PushObjectRequest, fleet_handlers.push_object, 32 * _MB),
    "/v1/fleet/pull-object": Path(message_pb2.PullObjectRequest, fleet_handlers.pull_object),
    "/v1/fleet/confirm-message-received": Path(
        message_pb2.ConfirmMessageReceivedRequest,
        lambda request, state: fleet_handlers.confirm_message_received(request, state, state.object_store),
    ),
}


class _Refused(Exception):
    """A request that gets this status; its body is not read any further."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class FleetPort:
    """The ASGI application of the port."""

    def __init__(self, state: LinkState, admits: Admits) -> None:
        self._state = state
        self._admits = admits
        self._requests, self._bytes = Counter[bytes](), Counter[bytes]()  # under way, by the node's key
        self._verified = dict[bytes, tuple[str, bytes]]()  # the time and signature that each node's key sent last
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fleet")

    def close(self) -> None:
        """Wait for the answers under way."""
        self._pool.shutdown()

    async def answer_ourselves(self) -> None:
        """Return once a thread of the port and the LinkState's locks were free for a moment."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._state.pass_locks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            content = await self._answer(scope, receive)
        except _Refused as refused:
            await _send(send, refused.status, closes=True)
        except FlowerError as error:
            about = API_ERROR_MAP[error.code]
            said = json.dumps(error.to_json(about.public_message)).encode()
            await _send(send, HTTPStatus(about.http_status_code), said, b"application/json")
        except Exception as error:  # noqa: BLE001 -- a defect of ours or of Flower ends this request, not the port
            _log.error("fleet.defect", path=scope["path"], kind=type(error).__name__)
            await _send(send, HTTPStatus.INTERNAL_SERVER_ERROR, closes=True)
        else:
            await _send(send, HTTPStatus.OK, content, PROTOBUF_MEDIA_TYPE.encode())

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        path = PATHS.get(scope["path"])
        if path is None or scope["method"] != "POST":
            raise _Refused(HTTPStatus.NOT_FOUND)
        headers = dict(scope["headers"])
        key = self._known_key(headers)
        length = _length(headers)
        if length > path.largest:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        with self._counted(key, length):
            try:
                async with asyncio.timeout(_SECONDS + length / _BYTES_PER_SECOND):
                    request = path.request.FromString(await _body(receive, length))
            except TimeoutError:
                raise _Refused(HTTPStatus.REQUEST_TIMEOUT) from None
            except DecodeError:
                raise _Refused(HTTPStatus.BAD_REQUEST) from None
            answer = asyncio.get_running_loop().run_in_executor(self._pool, self._answered, path, key, request)
            return bytes(await answer)

    def _known_key(self, headers: dict[bytes, bytes]) -> bytes:
        """The key of the calling node, which has signed the time and takes part; judged by the head alone."""
        try:
            key, signature = (
                b64decode(headers[name.encode()], validate=True)
                for name in (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER)
            )
            timestamp = headers[TIMESTAMP_HEADER.encode()].decode("ascii")
            age = (now() - dt.datetime.fromisoformat(timestamp)).total_seconds()
            if (
                self._state.get_node_id_by_public_key(key) is not None
                and -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
                and (
                    self._verified.get(key) == (timestamp, signature)
                    or verify_signature(bytes_to_public_key(key), timestamp.encode(), signature)
                )
            ):
                self._verified[key] = timestamp, signature
                return key
        except (KeyError, ValueError, TypeError, binascii.Error):
            pass
        raise _Refused(HTTPStatus.UNAUTHORIZED)

    @contextmanager
    def _counted(self, key: bytes, length: int) -> Iterator[None]:
        """Count a request for its node; one above what a node may have under way is for later."""
        if self._requests[key] >= _NODE_REQUESTS or self._bytes[key] + length > _NODE_BYTES:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        self._requests[key] += 1
        self._bytes[key] += length
        try:
            yield
        finally:
            self._requests[key] -= 1
            self._bytes[key] -= length
            if not self._requests[key]:
                del self._requests[key], self._bytes[key]

    def _answered(self, path: Path, key: bytes, request: Any) -> bytes:
        """On a thread: whether the node may take part now can need the store."""
        node_id = self._state.get_node_id_by_public_key(key)
        if node_id is None or not self._admits(key) or not _speaks_for(request, node_id, key):
            raise _Refused(HTTPStatus.UNAUTHORIZED)
        try:
            return bytes(path.answer(request, self._state).SerializeToString())
        except KeyError as error:  # a run that was forgotten
            raise _Refused(HTTPStatus.FORBIDDEN) from error


def _speaks_for(request: Any, node_id: int, key: bytes) -> bool:
    """Whether a request, and the reply in it, name the node that sends it; an object belongs to a push of its own."""
    if isinstance(request, fleet_pb2.ActivateNodeRequest):
        return bool(request.public_key == key)
    if isinstance(request, fleet_pb2.DeactivateNodeRequest):
        return bool(request.node_id == node_id)
    if isinstance(request, message_pb2.PushObjectRequest) and not request.session_id:
        return False
    replies = request.messages_list if isinstance(request, fleet_pb2.PushMessagesRequest) else ()
    return bool(request.node.node_id == node_id and all(reply.metadata.src_node_id == node_id for reply in replies))


def _length(headers: dict[bytes, bytes]) -> int:
    declared = headers.get(b"content-length", b"")
    if not declared.isdigit():
        raise _Refused(HTTPStatus.LENGTH_REQUIRED)
    return int(declared)


async def _body(receive: Receive, length: int) -> bytes:
    """Not longer than declared, whichever way it is framed."""
    parts, left, more = list[bytes](), length, length > 0
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Refused(HTTPStatus.BAD_REQUEST)
        parts.append(event.get("body", b""))
        left -= len(parts[-1])
        if left < 0:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        more = event.get("more_body", False)
    return b"".join(parts)


async def _send(
    send: Send, status: HTTPStatus, content: bytes = b"", kind: bytes = b"", *, closes: bool = False
) -> None:
    headers = [(b"content-length", str(len(content)).encode())]
    headers += [(b"content-type", kind)] if kind else []
    headers += [(b"connection", b"close")] if closes else []
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": content})
