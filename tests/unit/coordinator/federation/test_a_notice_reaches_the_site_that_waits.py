"""What the engine posts reaches the sites that it names, and no other, through the signals of any store."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from coordinator.federation.notices import Notice, Notices
from shared.ids import SiteId

SITES = [SiteId(str(200000 + n)) for n in range(1200)]


class Line:
    """Signals within one thread."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []

    def send(self, word: str) -> None:
        """To all who listen."""
        assert len(word.encode()) <= 4096
        for heard in self.listeners:
            heard(word)

    @contextmanager
    def listening(self, heard: Callable[[str], None]) -> Iterator[None]:
        """Until the block ends."""
        self.listeners.append(heard)
        yield
        self.listeners.remove(heard)


@given(
    named=st.sets(st.sampled_from(SITES)),
    waiting=st.sets(st.sampled_from(SITES)),
    notice=st.sampled_from(["work", "stop"]),
)
def test_a_notice_is_heard_by_those_it_names(named: set[SiteId], waiting: set[SiteId], notice: Notice) -> None:
    """Once each; whoever ended its subscription hears nothing."""
    line, heard = Line(), list[tuple[SiteId, Notice]]()
    engine, port = Notices(line), Notices(line)

    def note(site: SiteId, said: Notice) -> None:
        heard.append((site, said))

    with port.listening():
        ends = [port.subscribe(site, partial(note, site)) for site in waiting]
        for other in ("another topic 200000", "runs", "fleet", "fleet else 200000"):
            line.send(other)
        engine.post(notice, named)
        assert sorted(heard) == sorted((site, notice) for site in named & waiting)
        for end in ends:
            end()
        engine.post_to_everybody(notice)
        assert len(heard) == len(named & waiting)


def test_where_words_were_missed_everybody_looks_for_work() -> None:
    """As when the line to the database was cut, or a new engine starts."""
    line, heard = Line(), queue.Queue[Notice]()
    port = Notices(line)
    with port.listening():
        for site in SITES[:3]:
            port.subscribe(site, heard.put)
        line.send("")
        port.post_to_everybody("work")
    assert [heard.get_nowait() for _ in range(6)] == ["work"] * 6


def test_one_site_may_wait_twice() -> None:
    """Two streams of one site, as while a cut one has not been noticed yet: both hear, and each ends by itself."""
    line, first, second = Line(), threading.Event(), threading.Event()
    port = Notices(line)
    with port.listening():
        end = port.subscribe(SITES[0], lambda _: first.set())
        port.subscribe(SITES[0], lambda _: second.set())
        end()
        port.post("work", SITES[:1])
    assert second.is_set()
    assert not first.is_set()
