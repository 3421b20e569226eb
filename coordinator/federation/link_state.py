"""Flower's LinkState in this process's memory: nodes, messages and their objects, gone with the process.

A restart begins every Flower run anew, so nothing in it is worth a disk. Ours says when something changed, so nobody
polls; asks at every message whether a node may take part; and forgets nodes and runs that ended.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID, SubStatus
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink.federation import NoOpFederationManager

from coordinator.federation.answer_room import AnswerRoom
from shared.errors.federation import RunFailed

LARGEST_ANSWER = 1 << 30  # bytes, where no plan says less

Result = TypeVar("Result")
Admits = Callable[[bytes], bool]  # a node's public key as PEM: may it take part now?


class LinkState(InMemoryLinkState):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """Flower's state of nodes, runs and messages. Any thread may use it."""

    def __init__(self, admits: Admits) -> None:
        super().__init__(_Admission(admits), Objects())
        self.room = AnswerRoom()
        self._largest: dict[int, int] = {}  # bytes of an answer, by run
        self._asked: dict[str, str] = {}  # which message a reply answers whose objects a session brings
        self._changed = threading.Condition()
        self._changes = 0

    def pass_locks(self) -> None:
        """Return once each lock was free."""
        with self.lock, self._lock_object_push_sessions, self.object_store.lock_store:
            pass

    def changes(self) -> int:
        """How often a message, an object or the presence of a node changed."""
        with self._changed:
            return self._changes

    def wait(self, since: int, seconds: float) -> None:
        """Wait until there are more changes than `since`, at most for `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._changes != since, seconds)

    def store_message_and_object_tree(self, message: Any, object_tree: Any, session_id: str) -> Any:
        """Flower's, and say so. A reply has the room that its run gives it."""
        about = message.metadata
        if not about.reply_to_message_id:
            self.room.open(about.message_id, self._largest[about.run_id])
        elif object_tree.object_id != about.message_id or not self.room.use(
            about.reply_to_message_id, object_tree.ByteSize()
        ):
            return self._after((False, []))
        else:
            self._asked[session_id] = about.reply_to_message_id
        return self._after(super().store_message_and_object_tree(message, object_tree, session_id))

    def store_object(self, run_id: int, session_id: str, object_id: str, object_content: bytes) -> Any:
        """Flower's, and say so. What does not fit ends the reply: nothing of it is kept."""
        if not self.room.use(self._asked.get(session_id, ""), len(object_content)):
            with self.lock:
                self._cleanup_push_session(session_id, cleanup_messages=True)
            return self._after(False)
        return self._after(super().store_object(run_id, session_id, object_id, object_content))

    def delete_messages(self, message_ins_ids: set[str]) -> None:
        """Flower's, and forget what room their answers had."""
        super().delete_messages(message_ins_ids)
        self.room.close(message_ins_ids)

    def _cleanup_push_session(self, session_id: str, *, cleanup_messages: bool) -> None:
        super()._cleanup_push_session(session_id, cleanup_messages=cleanup_messages)
        self._asked.pop(session_id, None)

    def activate_node(self, *node: Any) -> Any:
        """Flower's, and say so. A node that signs on again before it was missed, as after a kill, is let in as well."""
        return self._after(super().activate_node(*node) or super().acknowledge_node_heartbeat(*node))

    def acknowledge_node_heartbeat(self, *node: Any) -> Any:
        """Flower's, and say so."""
        return self._after(super().acknowledge_node_heartbeat(*node))

    def deactivate_node(self, *node: Any) -> Any:
        """Flower's, and say so."""
        return self._after(super().deactivate_node(*node))

    def add_node(self, public_key: bytes) -> int:
        """Register a node's key; returns its node id."""
        return int(self.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_key, 0))

    def forget_node(self, node_id: int) -> None:
        """Remove a node and its key, which may be registered again (Flower would keep it for ever)."""
        with self.lock:
            node = self.nodes.pop(node_id)
            self.node_public_key_to_node_id.pop(node.public_key, None)
            self.owner_to_node_ids[node.owner_aid].discard(node_id)
        self._after(None)

    def is_online(self, node_id: int) -> bool:
        """Whether the node has sent heartbeats."""
        return any(node.status == NodeStatus.ONLINE for node in self.get_node_info(node_ids=[node_id]))

    def has_message_for(self, node_id: int) -> bool:
        """Whether a message waits that the node has not fetched."""
        with self.lock:
            waiting = (message.metadata for message in self.message_ins_store.values())
            return any(each.dst_node_id == node_id and not each.delivered_at for each in waiting)

    def open_run(self, bundle: bytes, *, largest: int = LARGEST_ANSWER) -> tuple[int, int]:
        """A running run with this bundle as its FAB: the ids of the run and of its task. Raises `RunFailed`.

        An answer has `largest` bytes at most. Its task has no token: it runs in this process, so nothing has to keep
        it alive.
        """
        digest = self.store_fab(Fab(hash_str="", content=bundle, verifications={}))
        run_id = self.create_run(
            fab_id="",
            fab_version="",
            fab_hash=digest,
            override_config={},
            federation_id=NOOP_FEDERATION_ID,
            federation_config=None,
            flwr_aid=NOOP_FLWR_AID,
            primary_task_type=TaskType.SERVER_APP,
        )
        task_id = self.run_ids[run_id].run.primary_task_id if run_id else 0
        token = self.claim_task(task_id)
        if token is None or not self.activate_task(task_id):
            raise RunFailed(problem="Flower did not start it")
        with self.lock_task_store:
            self.task_token_to_task_id.pop(token)
            self.task_token_store.pop(task_id)
        self._largest[int(run_id)] = largest
        return int(run_id), int(task_id)

    def largest_answer(self, run_id: int) -> int:
        """Bytes that an answer in an open run has at most."""
        return self._largest[run_id]

    def close_run(self, run_id: int, *, problem: str = "") -> None:
        """End a run and forget it with all its messages; sites that ask about it are told that it has ended."""
        task_id, series_id = self.run_ids[run_id].run.primary_task_id, self.run_ids[run_id].run.series_id
        self.finish_task(task_id, SubStatus.FAILED if problem else SubStatus.COMPLETED, problem)
        self.cleanup_run(run_id)
        with self.lock_task_store, self.lock:
            self.run_ids.pop(run_id)
            self._largest.pop(run_id)
            self.flwr_aid_to_run_ids[NOOP_FLWR_AID].discard(run_id)
            self.task_store.pop(task_id)
        with self.lock_run_series_store, self.lock_run_series_context_store:
            self.run_series_store.pop(series_id, None)
            self.run_series_context_store.pop(series_id, None)

    def is_whole(self, reply_id: str) -> bool:
        """Whether every object of a stored reply has arrived.

        Flower stores a reply before it knows which of its objects are missing, both under one lock.
        """
        with self.lock, self._lock_object_push_sessions:
            session = self._object_push_sessions.get(self._object_push_session_by_root.get(reply_id, ""))
            return session is None or not session.pending_object_ids

    def _after(self, result: Result) -> Result:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()
        return result


class Objects(InMemoryObjectStore):  # type: ignore[misc] # as above
    """Flower's store of objects; a tree is registered whole.

    Flower takes the lock for each object by itself, from the parts to the whole. Meanwhile the end of another message
    could delete a part that both share, before the whole that needs it is counted.
    """

    def preregister(self, run_id: int, object_tree: Any) -> Any:
        """Flower's, under one lock. What no whole holds, such as parts that a liar names later, is neither kept."""
        with self.lock_store:
            missing = super().preregister(run_id, object_tree)
            for name in missing:
                if name != object_tree.object_id and name in self.store and not self.store[name].ref_count:
                    self.delete(name)
            return [name for name in missing if name in self.store]


class _Admission(NoOpFederationManager):  # type: ignore[misc] # as above
    """Admits the nodes whose agreement is in force now, and the SuperLink itself (node 1)."""

    def __init__(self, admits: Admits) -> None:
        super().__init__()
        self._admits = admits

    def filter_nodes(self, node_ids: set[int], federation_id: str) -> set[int]:
        """The nodes among `node_ids` that may take part; without node 1 every message would be lost."""
        del federation_id
        known = self.linkstate.nodes
        return {
            node_id
            for node_id in node_ids
            if node_id == SUPERLINK_NODE_ID
            or ((node := known.get(node_id)) is not None and self._admits(node.public_key))
        }

    def has_node(self, node_id: int, federation_id: str) -> bool:
        """Whether this node may take part."""
        return node_id in self.filter_nodes({node_id}, federation_id)
