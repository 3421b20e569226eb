"""A site learns of a message when its SuperNode fetched it, and an idle SuperNode asks seldom."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_node.federate import supernode
from site_node.federate.supernode import Pace, SuperNode, SuperNodeSettings

LONG = 30.0  # seconds that no test waits


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[SuperNode, socket.socket]]:
    """A SuperNode without its child, and the child's end of the socket."""
    settings = SuperNodeSettings(
        folder=tmp_path, fleet_address="127.0.0.1:1", root=tmp_path / "root.pem", node_key=tmp_path / "node.pem"
    )
    node = SuperNode(settings)
    with node._link, node._childs_end:
        yield node, node._childs_end


def waited(node: SuperNode, stop: threading.Event, seconds: float) -> float:
    """Seconds that `wait` took."""
    start = time.monotonic()
    node.wait(stop, seconds)
    return time.monotonic() - start


def test_word_from_the_child_its_end_and_a_stop_end_the_wait(ends: tuple[SuperNode, socket.socket]) -> None:
    node, child = ends
    stop = threading.Event()
    assert waited(node, stop, 0.3) >= 0.3
    child.send(b"\0")
    assert waited(node, stop, LONG) < LONG / 2
    child.close()
    assert waited(node, stop, LONG) < LONG / 2
    stop.set()
    assert waited(node, stop, LONG) < LONG / 2


def test_each_message_is_told_of_and_makes_the_next_questions_frequent(
    ends: tuple[SuperNode, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute after the last message the SuperNode waits as long as Flower lets it."""
    node, child = ends
    slept: list[float] = []
    now = [0.0]
    clock = type("Clock", (), {"monotonic": lambda: now[0], "sleep": slept.append})
    with monkeypatch.context() as patched:
        patched.setattr(supernode, "time", clock)
        pace = Pace(0.5, child)
        for moment, fetched in ((59.0, None), (61.0, None), (100.0, 7), (159.0, None), (161.0, None)):
            now[0] = moment
            assert pace.pull(lambda fetched=fetched: fetched) == fetched
            pace.sleep(3.0)
    assert slept == [0.5, 3.0, 0.5, 0.5, 3.0]
    assert node._link.recv(16) == b"\0"
