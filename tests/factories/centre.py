"""Grids on one LinkState, and sites at the other end of Flower's Fleet handlers, without sockets."""

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.superlink.servicer.fleet import fleet_handlers

from coordinator.federation.grid import RosterGrid
from coordinator.federation.link_grid import LinkGrid
from coordinator.federation.link_state import LARGEST_ANSWER, LinkState
from shared.crypto.signing import SigningKey
from shared.federation import records
from shared.federation.bundle import build_bundle
from shared.federation.plan import Member, PlanRequest, complete_plan, sign_plan
from shared.federation.task import StatisticsTask
from shared.ids import Sha256, SiteId

KEY = SigningKey.generate()
NODES = 4


class Centre:
    """A LinkState with online nodes; `ended` names keys whose agreement has ended."""

    def __init__(self) -> None:
        self.ended = set[bytes]()
        self.state = LinkState(lambda key: key not in self.ended)
        self.nodes = [self.state.add_node(b"key %d" % n) for n in range(NODES)]
        for node in self.nodes:
            self.state.activate_node(node, 30)
        self.notified = list[int]()

    def grid(self, largest: int = LARGEST_ANSWER) -> LinkGrid:
        """The grid of a new run."""
        return LinkGrid(self.state, *self.state.open_run(build_bundle(), largest=largest), self.notified.extend)

    def pull(self, node: int) -> Message | None:
        """What the site's fleet client fetches, with its content."""
        pulled = fleet_handlers.pull_messages(
            PullMessagesRequest(node=Node(node_id=node)), self.state, self.state.object_store
        )
        if not pulled.messages_list:
            return None
        message: Message = message_from_proto(pulled.messages_list[0])
        objects = [each.object_id for each in pulled.message_object_trees[0].children]
        assert all(self.state.object_store.get(name) for name in objects)  # what a message needs is there before it
        return message

    def push(self, node: int, reply: Message, *, parts: int | None = None, lie: bytes | None = None) -> bool:
        """What the site's fleet client sends; only the first `parts` objects, or `lie` as the tree of its objects.

        Returns whether every object that was wanted, if any, was stored.
        """
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            tree: ObjectTree = get_object_tree(reply)
            objects = {name: each.deflate() for name, each in get_all_nested_objects(reply).items()}
        if lie is not None:
            tree.CopyFrom(ObjectTree(object_id=tree.object_id))
        head = message_to_proto(remove_content_from_message(reply))
        pushed = fleet_handlers.push_messages(
            PushMessagesRequest(node=Node(node_id=node), messages_list=[head], message_object_trees=[tree]), self.state
        )
        for name in list(pushed.objects_to_push)[:parts]:
            part = PushObjectRequest(
                node=Node(node_id=node),
                run_id=reply.metadata.run_id,
                object_id=name,
                object_content=objects[name],
                session_id=pushed.session_id,
            )
            if not fleet_handlers.push_object(part, self.state).stored:
                return False
        return bool(pushed.objects_to_push)


def question(node: int, number: int = 0, array: Array | None = None) -> Message:
    content = RecordDict({records.CONFIG: ConfigRecord({"number": number})})
    if array is not None:
        content[records.ARRAYS] = ArrayRecord({records.STATE: array})
    return Message(content, dst_node_id=node, message_type="query")


def answer(asked: Message, number: int = 0) -> Message:
    return Message(RecordDict({records.CONFIG: ConfigRecord({"number": number})}), reply_to=asked)


def roster_grid(centre: Centre, sites: dict[SiteId, int], absent: set[SiteId]) -> RosterGrid:
    members = tuple(Member(site_id=site, fingerprint=SigningKey.generate().fingerprint) for site in sites)
    request = PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort="ricord"), timeout_seconds=1)
    plan = complete_plan(request, members=members, protocol_digest=Sha256("0" * 64))
    return RosterGrid(centre.grid(), plan, sign_plan(plan, KEY), lambda: sites, absent=absent)
