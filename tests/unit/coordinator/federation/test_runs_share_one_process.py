"""Grids on one LinkState, and a site at the other end of Flower's Fleet handlers, without sockets."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, Error, Message
from flwr.common.constant import ErrorCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.federation import TooFewSites
from shared.federation import records
from shared.ids import SiteId
from tests.factories.centre import NODES, Centre, answer, question, roster_grid


@pytest.fixture
def centre() -> Centre:
    return Centre()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_answer_comes_back_to_the_run_that_asked(data: st.DataObject) -> None:
    """Any number of runs over the same nodes, answered in any order: each gets its own answers, each once."""
    centre = Centre()
    grids = [centre.grid() for _ in range(data.draw(st.integers(1, 4)))]
    asked = [list(grid.push_messages([question(node, n) for node in centre.nodes])) for n, grid in enumerate(grids)]
    assert sorted(set(centre.notified)) == sorted(centre.nodes)
    left = {node: len(grids) for node in centre.nodes}
    while any(left.values()):
        node = data.draw(st.sampled_from([node for node, count in left.items() if count]))
        left[node] -= 1
        message = centre.pull(node)
        assert message is not None
        run = next(n for n, grid in enumerate(grids) if grid.run.run_id == message.metadata.run_id)
        centre.push(node, answer(message, run * 10 + centre.nodes.index(node)))
    for n, grid in enumerate(grids):
        replies = list(grid.pull_messages(asked[n]))
        numbers = {reply.metadata.src_node_id: reply.content[records.CONFIG]["number"] for reply in replies}
        assert numbers == {node: n * 10 + place for place, node in enumerate(centre.nodes)}
        assert len(replies) == NODES
    for grid in grids:
        centre.state.close_run(grid.run.run_id)
    assert not centre.state.object_store.store
    assert not centre.state.message_ins_store


def test_a_model_for_many_sites_is_kept_once(centre: Centre) -> None:
    """The arrays of messages that share them are one object, however many sites get them."""
    model = Array(np.zeros(1_000_000))
    ids = centre.grid().push_messages([question(node, n, model) for n, node in enumerate(centre.nodes)])
    assert all(ids)
    assert sum(len(each.content) for each in centre.state.object_store.store.values()) < 8_200_000


def test_half_an_answer_is_not_taken(centre: Centre) -> None:
    """A reply is announced before its parts; until the last of them is there, nothing is pulled."""
    grid = centre.grid()
    asked = list(grid.push_messages([question(centre.nodes[0])]))
    message = centre.pull(centre.nodes[0])
    assert message is not None
    centre.push(centre.nodes[0], answer(message, 1), parts=1)
    assert not list(grid.pull_messages(asked))


def test_what_cannot_be_read_is_that_sites_error(centre: Centre) -> None:
    """A tree without the objects that its root names: an error from its node, and the others' answers stand."""
    grid = centre.grid()
    asked = list(grid.push_messages([question(node) for node in centre.nodes]))
    for node in centre.nodes:
        message = centre.pull(node)
        assert message is not None
        centre.push(node, answer(message), lie=b"" if node == centre.nodes[1] else None)
    replies = {reply.metadata.src_node_id: reply for reply in grid.pull_messages(asked)}
    assert [replies[node].has_error() for node in centre.nodes] == [False, True, False, False]
    assert replies[centre.nodes[1]].error.reason.startswith("its answer cannot be read")


def test_whoever_has_lost_its_part_gets_and_gives_nothing(centre: Centre) -> None:
    """A message to it is not stored; one that waits for it is gone; its answer to an earlier one is not taken."""
    grid, (first, second, *_) = centre.grid(), centre.nodes
    asked = list(grid.push_messages([question(first), question(second)]))
    message = centre.pull(first)
    assert message is not None
    centre.ended = {b"key 0", b"key 1"}
    assert centre.pull(second) is None
    centre.push(first, answer(message), parts=0)
    assert all(reply.has_error() for reply in grid.pull_messages(asked))
    assert list(grid.push_messages([question(first)])) == [""]
    assert sorted(grid.get_node_ids()) == sorted(centre.nodes[2:])


def test_an_answer_ends_the_wait(centre: Centre) -> None:
    """Nobody polls: who waits is woken by the last part of an answer, and by a node that comes or leaves."""
    grid = centre.grid()
    asked = list(grid.push_messages([question(centre.nodes[0])]))
    message = centre.pull(centre.nodes[0])
    assert message is not None
    for event in (
        lambda: centre.push(centre.nodes[0], answer(message)),
        lambda: centre.state.deactivate_node(centre.nodes[1]),
    ):
        list(grid.pull_messages(asked))
        start, waker = time.monotonic(), threading.Timer(0.2, event)
        waker.start()
        grid.wait(60)
        assert time.monotonic() - start < 30
        waker.join()


def test_a_node_may_register_again(centre: Centre) -> None:
    """As after a suspension; and one that was killed signs on again while it still counts as online."""
    node = centre.nodes[0]
    assert centre.state.activate_node(node, 30)
    centre.state.forget_node(node)
    again = centre.state.add_node(b"key 0")
    assert again != node
    assert centre.state.activate_node(again, 30)


@pytest.fixture
def sites(centre: Centre) -> dict[SiteId, int]:
    return {SiteId(f"{200000 + n}"): node for n, node in enumerate(centre.nodes)}


def test_an_absent_site_is_waited_for_once(
    centre: Centre, sites: dict[SiteId, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one run or another; once it is back it takes part again, and is waited for again."""
    monkeypatch.setattr("coordinator.federation.grid._GRACE_SECONDS", 1.0)
    absent = set[SiteId]()
    last = centre.nodes[-1]
    centre.state.deactivate_node(last)
    start = time.monotonic()
    for _ in range(3):
        assert len(roster_grid(centre, sites, absent).sites()) == NODES - 1
    assert 1 <= time.monotonic() - start < 2
    assert absent == {max(sites)}
    centre.state.activate_node(last, 30)
    assert len(roster_grid(centre, sites, absent).sites()) == NODES
    assert not absent


def test_too_few_sites_names_the_absent(
    centre: Centre, sites: dict[SiteId, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait has an end, and the run says for whom it waited, meanwhile and in the end."""
    monkeypatch.setattr("coordinator.federation.grid._GATHER_SECONDS", 0.2)
    for node in centre.nodes[2:]:
        centre.state.deactivate_node(node)
    grid, said = roster_grid(centre, sites, set()), list[str]()
    grid.progress = said.append
    with pytest.raises(TooFewSites):
        grid.get_node_ids()
    missing = sorted(sites)[2:]
    assert [(each.site, each.refusal) for each in grid.answers] == [(site, "it was absent") for site in missing]
    assert said[0] == f"gathering: waits for {missing[0]}, {missing[1]}"


def test_a_site_that_never_connected_is_named_too(
    centre: Centre, sites: dict[SiteId, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the fleet port knows no node of it: the run says for whom it waits, and never for nobody."""
    monkeypatch.setattr("coordinator.federation.grid._GATHER_SECONDS", 0.2)
    grid, said = roster_grid(centre, sites, set()), list[str]()
    never = max(sites)
    monkeypatch.setattr(grid, "plan", grid.plan.model_copy(update={"minimum_sites": len(sites)}))
    monkeypatch.setattr(grid, "_nodes", lambda: {site: node for site, node in sites.items() if site != never})
    grid.progress = said.append
    with pytest.raises(TooFewSites):
        grid.get_node_ids()
    assert said[0] == f"gathering: waits for {never}"


def test_a_site_that_does_not_answer_is_named(centre: Centre, sites: dict[SiteId, int]) -> None:
    """The round ends at its time, with the answers that came."""
    grid = roster_grid(centre, sites, set())
    present = grid.sites()
    message = question(present[min(sites)])
    message.content[records.CONFIG][records.ROUND] = 3
    assert grid.exchange([message]) == []
    assert [(each.site, each.refusal) for each in grid.answers] == [(min(sites), "it did not answer in time")]


def test_a_site_that_is_lost_is_named_in_our_words(centre: Centre, sites: dict[SiteId, int]) -> None:
    """Not in Flower's, which speak of heartbeats."""
    grid = roster_grid(centre, sites, set())
    message = question(grid.sites()[min(sites)])
    reply = Message(Error(ErrorCode.NODE_UNAVAILABLE, "Node Unavailable"), reply_to=message)
    assert grid._answer(min(sites), reply, message, 1).refusal == "it was lost before it answered"


def test_a_reply_that_is_being_stored_is_not_there_yet(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its head and the list of what it lacks it looks like one that lacks nothing: it would be lost."""
    grid, between = centre.grid(), threading.Event()
    asked = set(grid.push_messages([question(centre.nodes[0])]))
    message = centre.pull(centre.nodes[0])
    assert message is not None
    listed, stored = centre.state.preregister_object_tree, centre.state.store_object

    def late(*part: Any) -> bool:
        time.sleep(0.3)
        done: bool = stored(*part)
        return done

    def slowly(*tree: object) -> list[str]:
        between.set()
        time.sleep(0.3)
        missing: list[str] = listed(*tree)
        return missing

    monkeypatch.setattr(centre.state, "preregister_object_tree", slowly)
    monkeypatch.setattr(centre.state, "store_object", late)
    pushing = threading.Thread(target=centre.push, args=(centre.nodes[0], answer(message, 7)))
    pushing.start()
    assert between.wait(5)
    replies = list(grid.pull_messages(asked))
    pushing.join()
    replies += grid.pull_messages(asked) if not replies else []
    assert [reply.content[records.CONFIG]["number"] for reply in replies] == [7]


def test_a_reply_that_comes_while_replies_are_pulled_is_left(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head is there, its objects are not: it is pulled when they are."""
    grid, state = centre.grid(), centre.state
    asked = set(grid.push_messages([question(centre.nodes[0])]))
    message = centre.pull(centre.nodes[0])
    assert message is not None
    pulled = state.get_message_res
    pushing = threading.Thread(target=centre.push, args=(centre.nodes[0], answer(message, 7)), kwargs={"parts": 0})

    def while_it_comes(*about: object) -> object:
        pushing.start()
        pushing.join(0.3)
        return pulled(*about)

    with monkeypatch.context() as patched:
        patched.setattr(state, "get_message_res", while_it_comes)
        assert list(grid.pull_messages(asked)) == []
    pushing.join()
