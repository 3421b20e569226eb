"""An upload has no more bytes under way than a cut may send again, and waits for nobody once its call has ended."""

import threading
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from shared.wire import UNACKNOWLEDGED
from site_node.submit.pace import CHUNK
from site_node.submit.window import Window

LATEST = 30.0


@given(
    sizes=st.lists(st.integers(1, CHUNK), min_size=12, max_size=24),
    steps=st.lists(st.integers(1, UNACKNOWLEDGED), max_size=4),
    start=st.integers(0, 1 << 40),
)
def test_what_is_under_way_is_bounded(sizes: list[int], steps: list[int], start: int) -> None:
    """Whatever is acknowledged of what was sent, as much goes as fits into the window, and no byte more."""
    window, sent, changed = Window(start), [start], threading.Condition()

    def send() -> None:
        for size in sizes:
            if not window.wait(size):
                return
            with changed:
                sent[0] += size
                changed.notify()

    sender = threading.Thread(target=send)
    sender.start()
    durable = start
    for step in [0, *steps]:
        durable = min(durable + step, sent[0])
        window.acknowledge(durable)
        window.acknowledge(start)  # an answer of before takes nothing back
        most = max(end for end in accumulate([start, *sizes]) if end <= durable + UNACKNOWLEDGED)
        with changed:
            assert changed.wait_for(lambda most=most: sent[0] >= most, LATEST)  # type: ignore[misc]
            assert sent[0] == most
    window.end()
    sender.join(LATEST)
    assert not sender.is_alive()
    assert sent[0] <= durable + UNACKNOWLEDGED
    assert not window.wait(1)
