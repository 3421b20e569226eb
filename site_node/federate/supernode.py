"""The adapter to Flower 1.41.0's SuperNode: the only module of the site that touches Flower's internals.

Flower's own `flower-supernode` runs as a child process with `--isolation process`: it keeps the authenticated TLS
connection to the SuperLink and fetches messages, and it runs no app. Its Runtime API, on loopback behind a SuperExec
secret, gives each message as a task to this process, which answers it with the app of the installed wheel. A FAB is
never unpacked; Flower's child reads the settings in its `pyproject.toml`, in memory. The child's standard input is a
socket to here. When it closes, however this process ended, the child ends too; through it the child sends a byte for
each message that it fetched, so that nothing here has to ask the Runtime API many times a second.

`python -m site_node.federate.supernode` is that child.
"""

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from logging import WARNING, getLogger
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import httpx
from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import context_from_proto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, pull_objects
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from shared.durable import clear_unfinished, write_whole
from shared.errors.federation import RunFailed
from shared.errors.transport import CoordinatorUnreachable
from shared.frozen import Frozen

KNOWN_VERSIONS = ("1.41.0",)
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_START_SECONDS = 60.0
_BACKOFF_SECONDS = 0.1
_STOP_SECONDS = 0.1  # after a stop, the longest wait goes on for so long
_BUSY_SECONDS = 60.0  # so long after a message, the child asks for the next one often
_POLL = "RICORD_SUPERNODE_POLL"
PULL = "_pull_and_store_message"  # Flower's function that fetches a message, with its objects


class SuperNodeSettings(Frozen):
    """Where the child keeps its files and whom it connects to; `node_key` is the P-384 key in OpenSSH form."""

    folder: Path
    fleet_address: str  # host:port
    root: Path  # PEM of the root that signed the fleet port's certificate
    node_key: Path
    poll_seconds: float = 0.5  # between two questions for messages soon after one; an idle node asks every 3 s


class Task:
    """One message for this site, with the digest of the FAB it came with."""

    def __init__(self, client: RuntimeHttpClient) -> None:
        self._client = client
        task_input = client.PullTaskInput(PullTaskInputRequest())
        self.context: Context = context_from_proto(task_input.context)
        self.bundle_digest = hashlib.sha256(task_input.fab.content).hexdigest()
        self.message = _pull_message(client, self.context)

    def answer(self, reply: Message, context: Context) -> None:
        """Hand the reply over to be sent."""
        push_message(self._client, reply, context)
        push_task_output(self._client, context, SubStatus.COMPLETED, "")


class SuperNode:
    """Flower's SuperNode as a child of this process. Use as a context manager."""

    def __init__(self, settings: SuperNodeSettings) -> None:
        self._settings = settings
        self._secret = secrets.token_bytes(32)
        self._link, self._childs_end = socket.socketpair()
        self._link.settimeout(_STOP_SECONDS)
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the child and wait for its Runtime API; raises `CoordinatorUnreachable` or `RunFailed`."""
        getLogger("flwr").setLevel(WARNING)
        getLogger("httpx").setLevel(WARNING)  # it logs every request
        self._settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._address = f"127.0.0.1:{_free_port()}"
        with self._childs_end:
            self._child = _start(self._settings, self._address, self._secret, self._childs_end)
        self._client = _client(
            self._address, SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods=[_ACQUIRE])
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _is_healthy(self._address):
            if time.monotonic() > deadline or not self.alive:
                self.__exit__()
                raise RunFailed(problem="Flower's SuperNode did not start; see its log")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """End the child: it signs off at the SuperLink, or is killed after five seconds."""
        self._link.close()
        if self._child is None:
            return
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Wait until the child has fetched a message or has ended, until `stop` is set, or for `seconds`."""
        deadline = time.monotonic() + seconds
        while not stop.is_set() and time.monotonic() < deadline:
            with suppress(TimeoutError):
                self._link.recv(1)
                return

    @contextmanager
    def task(self) -> Iterator[Task | None]:
        """The next message, or `None`; the task is kept alive towards Flower while the block runs.

        Raises `CoordinatorUnreachable` when the child has ended.
        """
        if not self.alive:
            raise CoordinatorUnreachable("the SuperNode ended", address=self._settings.fleet_address)
        try:
            acquired = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        except httpx.HTTPError as error:
            raise CoordinatorUnreachable("the SuperNode ends", address=self._settings.fleet_address) from error
        if not acquired.token:
            yield None
            return
        client = _client(self._address, RuntimeTokenHttpInterceptor(acquired.token))
        heartbeat = HeartbeatSender(lambda: _send_heartbeat(client))
        heartbeat.start()
        try:
            yield Task(client)
        except httpx.HTTPError as error:
            raise CoordinatorUnreachable("the SuperNode went away", address=self._settings.fleet_address) from error
        finally:
            heartbeat.stop()
            client.close()


def refusal(message: Message, reason: str) -> Message:
    """The visible answer to a message that is refused or failed."""
    return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason), reply_to=message)


def _send_heartbeat(client: RuntimeHttpClient) -> bool:
    try:
        return bool(client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success)
    except httpx.HTTPError:
        return False


def _pull_message(client: RuntimeHttpClient, context: Context) -> Message:
    """The task's message. Flower makes the task before it keeps the message, so the first pull may be too early."""
    deadline = time.monotonic() + _START_SECONDS
    while not (pulled := client.PullMessages(PullAppMessagesRequest())).messages_list:
        if time.monotonic() > deadline:
            raise RunFailed(problem="a task came without its message")
        time.sleep(_BACKOFF_SECONDS)
    tree, node = pulled.message_object_trees[0], Node(node_id=context.node_id)
    message: Message = pull_and_inflate_object_from_tree(
        tree,
        make_pull_object_fn_protobuf(client.PullObject, node, context.run_id),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, context.run_id),
        return_type=Message,
        initial_backoff=_BACKOFF_SECONDS,
    )
    message.metadata.__dict__["_message_id"] = tree.object_id  # a transferred message lacks its own id
    return message


def _client(address: str, *interceptors: Any) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,  # loopback
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), *interceptors],
    )


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/health", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(settings: SuperNodeSettings, address: str, secret: bytes, link: socket.socket) -> subprocess.Popen[bytes]:
    secret_file = settings.folder / "superexec.secret"
    clear_unfinished(secret_file)
    write_whole(secret_file, secret, mode=0o600)
    host, port = address.split(":")
    arguments = ["--superlink", settings.fleet_address, "--root-certificates", str(settings.root)]
    arguments += ["--auth-supernode-private-key", str(settings.node_key), "--isolation", "process"]
    arguments += ["--superexec-auth-secret-file", str(secret_file), "--host", host, "--port", port]
    with (settings.folder / "supernode.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "site_node.federate.supernode", *arguments],
            stdin=link.fileno(),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment(settings.folder) | {_POLL: str(settings.poll_seconds)},
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )


def environment(folder: Path) -> dict[str, str]:
    """What every Flower process needs: its files in our folder, no telemetry, no update check."""
    return {"FLWR_HOME": str(folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


def _follow_parent() -> None:
    """End this process when the socket to its parent closes, which the system does even when the parent is killed."""
    sys.stdin.buffer.read()
    signal.raise_signal(signal.SIGINT)
    time.sleep(4)
    os._exit(1)  # signing off hung


class Pace:
    """How often the child asks for messages: every `poll` seconds soon after one, else as seldom as Flower does.

    Flower's worker loop sleeps 3 s when idle, 0.5 s between polls for a reply and 1 s when an object is not there yet,
    all written into its code.
    """

    def __init__(self, poll: float, link: socket.socket) -> None:
        self._poll = poll
        self._link = link
        self._last = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep as long as Flower's loop asks, or shorter soon after a message."""
        busy = time.monotonic() - self._last < _BUSY_SECONDS
        time.sleep(min(seconds, self._poll) if busy else seconds)

    def pull(self, pull: Callable[..., int | None], **parts: Any) -> int | None:
        """Fetch a message as Flower does, and tell the parent if there was one."""
        run_id = pull(**parts)
        if run_id is not None:
            self._last = time.monotonic()
            self._link.send(b"\0")
        return run_id


def _child() -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    pace = Pace(float(os.environ[_POLL]), socket.socket(fileno=sys.stdin.fileno()))
    flower = vars(start_client_internal)
    flower["time"] = SimpleNamespace(sleep=pace.sleep)
    flower[PULL] = partial(pace.pull, flower[PULL])
    flower["pull_objects"] = partial(pull_objects, initial_backoff=_BACKOFF_SECONDS)
    flower_supernode()
    os._exit(1)  # it returns when it gives its connection up, as when a TLS handshake is cut; a thread of it would stay


if __name__ == "__main__":
    _child()
