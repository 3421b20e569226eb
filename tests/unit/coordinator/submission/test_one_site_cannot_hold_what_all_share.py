"""One site cannot hold what all sites share."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.curation.fetching import write_at_most
from coordinator.submission.streams import IdleWatch, watching
from shared.errors.studies import SealedFileInvalid


def test_a_stream_on_which_nothing_comes_is_cancelled() -> None:
    """Earlier parts are passed on; time spent on processing a part does not count."""
    cancelled = threading.Event()

    def parts() -> Iterator[int]:
        yield from (1, 2, 3)
        assert cancelled.wait(10)

    with watching(IdleWatch(0.1)) as idle:
        timed = idle.watched(parts(), cancelled.set)
        assert next(timed) == 1
        time.sleep(0.3)
        assert not cancelled.is_set()
        assert list(timed) == [2, 3]
    assert cancelled.is_set()


def test_a_stream_that_ends_is_not_cancelled() -> None:
    """Nor is a stream cancelled after its block."""
    cancelled = threading.Event()
    with watching(IdleWatch(0.05)) as idle:
        assert list(idle.watched(iter([1]), cancelled.set)) == [1]
        assert not cancelled.wait(0.2)


@pytest.mark.parametrize(("seconds", "late"), [(60.0, False), (-1.0, True)])
def test_a_stream_that_waits_is_cancelled_when_it_is_late(seconds: float, *, late: bool) -> None:
    """Not before, however often somebody looks; and once."""
    idle, cancelled = IdleWatch(seconds), list[None]()

    def parts() -> Iterator[int]:
        for _ in range(3):
            idle.cancel()
        yield 1

    assert list(idle.watched(parts(), lambda: cancelled.append(None))) == [1]
    assert bool(cancelled) is late
    assert len(cancelled) <= 1


def test_a_stream_that_does_not_wait_is_never_late() -> None:
    """While a part is worked on, and once it has ended or broken off."""
    idle, cancelled = IdleWatch(-1.0), list[None]()

    def parts() -> Iterator[int]:
        yield 1
        raise ConnectionResetError

    watched = idle.watched(parts(), lambda: cancelled.append(None))
    assert next(watched) == 1
    idle.cancel()
    with pytest.raises(ConnectionResetError):
        next(watched)
    idle.cancel()
    assert not cancelled


def test_nobody_looks_at_streams_after_the_block() -> None:
    """A look that has begun ends before it does."""
    begun, ended = threading.Event(), threading.Event()

    class Slow(IdleWatch):
        def cancel(self) -> None:
            begun.set()
            time.sleep(0.1)
            ended.set()

    with watching(Slow(0.01)):
        assert begun.wait(60)
    assert ended.is_set()


@pytest.mark.parametrize("size", [0, 5, 9, 10])
def test_a_fetch_stops_where_the_manifest_says(tmp_path: Path, size: int) -> None:
    """However much a coordinator sends, no more than the signed size lies on the curator's disk."""
    sent, target = iter([b"12345"] * 1000), tmp_path / "sealed.age"
    with pytest.raises(SealedFileInvalid):
        write_at_most(size, target, sent)
    assert target.stat().st_size <= size
    assert len(list(sent)) >= 997
