"""Several sealed studies on their way at once, each in a thread; who moves studies hears how each ended."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Self

from shared.ids import StudyKey
from site_node.study import Submitted

Send = Callable[[], Submitted]


class Sending:
    """At most `at_once` studies on their way; at the end of the block all of them have ended."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="sending")
        self._under_way: dict[Future[Submitted], StudyKey] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def start(self, key: StudyKey, send: Send) -> None:
        """Send a study; there must be room."""
        self._under_way[self._threads.submit(send)] = key

    def make_room(self) -> Iterator[tuple[StudyKey, Send]]:
        """The studies that ended, with what returns or raises the end of each; waits for one if there is no room."""
        return self._ended(wait_for_one=len(self._under_way) >= self._at_once)

    def rest(self) -> Iterator[tuple[StudyKey, Send]]:
        """As `make_room`, until none is under way."""
        while self._under_way:
            yield from self._ended(wait_for_one=True)

    def _ended(self, *, wait_for_one: bool) -> Iterator[tuple[StudyKey, Send]]:
        if wait_for_one:
            wait(self._under_way, return_when=FIRST_COMPLETED)
        for future in [future for future in self._under_way if future.done()]:
            yield self._under_way.pop(future), future.result
