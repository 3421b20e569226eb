"""A run's grid on the LinkState of the same process: no HTTP, no token, no polling.

Flower stamps new messages with a record of the process (`TaskIdentity`), so that a process executes one run. Here each
grid stamps the messages that it pushes, and any number of runs go side by side.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from flwr.app import Error, Message
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from coordinator.federation.answer_room import TOO_LARGE
from coordinator.federation.link_state import LinkState
from shared.federation.message_objects import read_message, write_chunks

LOST = int(ErrorCode.NODE_UNAVAILABLE)  # the error in place of a reply of a node that went offline
Pushed = Callable[[Collection[int]], None]  # called with the nodes for which messages now wait


class LinkGrid(Grid):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """The grid of one run; one thread uses it."""

    def __init__(self, state: LinkState, run_id: int, task_id: int, pushed: Pushed) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 0, SUPERLINK_NODE_ID  # until it is pushed
        self._state = state
        self._run_id = run_id
        self._stamp = {"_run_id": run_id, "_src_node_id": SUPERLINK_NODE_ID, "_src_task_id": task_id}
        self._pushed = pushed
        self._seen = 0

    def set_run(self, run: Any) -> None:
        """Nothing: the run is set from the start."""

    @property
    def run(self) -> Run:
        """Flower's record of the run."""
        return self._state.get_run_info(run_ids=[self._run_id])[0]

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Deprecated by Flower."""
        return Message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are online and may take part now."""
        self._seen = self._state.changes()
        nodes: Iterable[int] = self._state.get_nodes(self._run_id)
        return nodes

    def wait(self, seconds: float) -> None:
        """Wait until something changed since this grid last looked, at most for `seconds`."""
        self._state.wait(self._seen, seconds)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Store each node's message after its objects; returns their ids, an empty one for a node that may not.

        Objects go by their digests, so that what several messages share is kept once.
        """
        ids = {message.metadata.dst_node_id: self._push(message) for message in messages}
        self._pushed([node for node, message_id in ids.items() if message_id])
        return list(ids.values())

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are here whole, each once; an error for a node that is gone, or a reply that cannot be had.

        What belongs to a reply is forgotten.
        """
        self._seen = self._state.changes()
        replies, waited_for = self._state.message_ins_id_to_message_res_id, set(message_ids)
        refused = {each for each in waited_for if self._state.room.is_too_large(each)}
        with self._state.lock:  # or a reply that comes between the two is taken before its objects are here
            whole = {each for each in waited_for if each not in replies or self._state.is_whole(replies[each])}
            ready = whole - refused
            heads = self._state.get_message_res(ready, self._run_id) if ready else []
        pulled = [self._inflated(head) for head in heads] + [self._refused(each) for each in refused]
        self._state.delete_messages({reply.metadata.reply_to_message_id for reply in pulled})
        return pulled

    def forget(self, message_ids: Iterable[str]) -> None:
        """Forget messages whose replies come too late; what comes of them is not stored any more."""
        for message_id in message_ids:
            reply_id = self._state.message_ins_id_to_message_res_id.get(message_id, "")
            self._state.delete_messages({message_id})
            for name in (message_id, reply_id):
                self._state.object_store.delete(name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Not used: the roster's grid does this within its plan."""
        raise NotImplementedError

    def _push(self, message: Message) -> str:
        message.metadata.__dict__.update(self._stamp)
        store = self._state.object_store
        write_chunks(message)
        with no_object_id_recompute():
            message_id = message.metadata.__dict__["_message_id"] = str(message.object_id)
            tree = get_object_tree(message)
            objects = get_all_nested_objects(message)
            for missing in store.preregister(self._run_id, tree):
                store.put(missing, objects[missing].deflate())
        session = self._state.start_session(self._run_id)
        stored, _ = self._state.store_message_and_object_tree(remove_content_from_message(message), tree, session)
        if not stored:
            store.delete(message_id)
        return message_id if stored else ""

    def _refused(self, message_id: str) -> Message:
        error = Error(ErrorCode.MESSAGE_UNAVAILABLE, TOO_LARGE)
        return Message(error, reply_to=self._state.message_ins_store[message_id])

    def _inflated(self, head: Message) -> Message:
        """The reply with its content. A site may send anything: what is no message becomes an error of that site."""
        name, store = head.metadata.message_id, self._state.object_store
        try:
            tree = iterate_object_tree(store.get_object_tree(name))
            contents = {each.object_id: store.get(each.object_id) for each in tree}
            reply = read_message(name, contents, largest=self._state.largest_answer(self._run_id))
        except (ValueError, KeyError, TypeError, AttributeError, NoObjectInStoreError) as error:
            problem = f"its answer cannot be read ({type(error).__name__})"
            reply = make_message(head.metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, problem))
        store.delete(name)
        reply.metadata.__dict__.update(vars(head.metadata))  # as the LinkState checked it, whatever the content says
        return reply
