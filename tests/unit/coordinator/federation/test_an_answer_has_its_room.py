"""Of a site's answer no more is kept than its run allows, nothing that comes too late, and all that is needed."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.object_store import in_memory_object_store
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.federation.answer_room import TOO_LARGE
from coordinator.federation.link_grid import LinkGrid
from coordinator.federation.link_state import Objects
from shared.federation import records
from shared.ids import SiteId
from tests.factories.centre import NODES, Centre, question, roster_grid


@pytest.fixture
def centre() -> Centre:
    return Centre()


@pytest.fixture
def sites(centre: Centre) -> dict[SiteId, int]:
    return {SiteId(f"{200000 + n}"): node for n, node in enumerate(centre.nodes)}


def large(asked: Message, size: int, seed: int = 0) -> Message:
    """An answer of so many bytes and some hundred."""
    payload = np.random.default_rng(seed).bytes(size)
    return Message(RecordDict({records.CONFIG: ConfigRecord({"payload": payload})}), reply_to=asked)


@settings(max_examples=25, deadline=None)
@given(largest=st.integers(5_000, 20_000), sizes=st.lists(st.integers(0, 20_000), min_size=NODES, max_size=NODES))
def test_of_one_answer_no_more_is_kept_than_its_run_allows(largest: int, sizes: list[int]) -> None:
    """Too large: that site's named refusal, nothing of it stays, and the others' answers count; none is lost."""
    centre = Centre()
    grid = centre.grid(largest)
    asked = list(grid.push_messages([question(node) for node in centre.nodes]))
    stored = []
    for node, size in zip(centre.nodes, sizes, strict=True):
        message = centre.pull(node)
        assert message is not None
        stored.append(centre.push(node, large(message, size)))
        assert sum(len(each.content) for each in centre.state.object_store.store.values()) <= NODES * (largest + 1000)
    replies = {reply.metadata.src_node_id: reply for reply in grid.pull_messages(asked)}
    assert len({reply.metadata.reply_to_message_id for reply in replies.values()} | set(asked)) == NODES
    refused = [reply for reply in replies.values() if reply.has_error()]
    assert {reply.error.reason for reply in refused} <= {TOO_LARGE}
    assert (
        [size + 2_000 > largest for size in sizes].count(True)
        >= len(refused)
        >= [size > largest for size in sizes].count(True)
    )
    assert stored.count(False) == len(refused)
    assert not list(grid.pull_messages([]))
    centre.state.close_run(grid.run.run_id)
    assert not centre.state.object_store.store


def test_an_answer_that_begins_again_has_no_more_room(centre: Centre) -> None:
    """One head with ever other parts, or a tree of another name: none of them is wanted, and none stays."""
    grid, node, state = centre.grid(30_000), centre.nodes[0], centre.state
    asked = list(grid.push_messages([question(node)]))
    message = centre.pull(node)
    assert message is not None
    first, before = large(message, 10_000), set(state.object_store.store)
    assert centre.push(node, first)
    kept = set(state.object_store.store)
    for seed in range(1, 6):
        other = large(message, 10_000, seed)
        tree: ObjectTree = get_object_tree(other)
        for name in (tree.object_id, first.object_id):
            tree.object_id = name
            session = state.start_session(message.metadata.run_id)
            assert not state.store_message_and_object_tree(remove_content_from_message(first), tree, session)[1]
        assert set(state.object_store.store) == kept
    (reply,) = grid.pull_messages(asked)
    assert reply.content[records.CONFIG]["payload"] == first.content[records.CONFIG]["payload"]
    assert set(state.object_store.store) == before


def test_an_answer_that_comes_too_late_is_not_kept(centre: Centre, sites: dict[SiteId, int]) -> None:
    """When its round has ended, whether nothing or a part of it was here: it would lie there until the run ends."""
    grid, (first, second, *_) = roster_grid(centre, sites, set()), centre.nodes
    pulled: list[Message] = []

    def pull_and_answer(seconds: float) -> None:
        if not pulled:
            pulled.extend(filter(None, map(centre.pull, (first, second))))
            centre.push(second, large(pulled[1], 10_000), parts=1)

    inner: LinkGrid = grid._grid
    inner.wait = pull_and_answer  # type: ignore[method-assign] # the sites, while the round waits
    assert grid.sites()
    assert grid.exchange([question(first), question(second)]) == []
    assert not centre.state.message_ins_store
    assert not centre.state.message_res_store
    assert not centre.push(first, large(pulled[0], 10_000))
    assert not centre.push(second, large(pulled[1], 10_000))
    assert not centre.state.object_store.store


def test_what_two_messages_share_outlasts_the_end_of_either(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree is registered whole: meanwhile no end of another message deletes a part that both hold."""
    centre.grid()
    store, model = Objects(), Array(np.zeros(1000))
    objects = []
    for number in range(2):
        message = Message(question(2, number, model).content, dst_node_id=2, message_type="query")
        objects.append((get_object_tree(message), get_all_nested_objects(message)))
    for missing in store.preregister(1, objects[0][0]):
        store.put(missing, objects[0][1][missing].deflate())
    ending = threading.Thread(target=store.delete, args=(objects[0][0].object_id,))
    first_of = iterate_object_tree

    def while_the_other_ends(tree: ObjectTree) -> Iterator[ObjectTree]:
        for number, each in enumerate(first_of(tree)):
            yield each
            if number == 0:
                ending.start()
                ending.join(0.3)

    monkeypatch.setattr(in_memory_object_store, "iterate_object_tree", while_the_other_ends)
    missing = store.preregister(1, objects[1][0])
    ending.join()
    assert all(name in store for name in objects[1][1])
    assert [name for name in objects[1][1] if not store.get(name)] == missing
