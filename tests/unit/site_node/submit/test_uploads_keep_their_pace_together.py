"""All uploads together send no more bytes in a second than the settings allow, in pieces that never look idle."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.submission.streams import IDLE_SECONDS
from site_node.settings.submit import SubmitSettings
from site_node.submit import pace
from site_node.submit.client import _jitter
from site_node.submit.pace import CHUNK, Pace


class Clock:
    """Stands in for the module `time`; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(pace, "time", fake)
    return fake


def test_a_rate_is_kept_over_any_pieces(clock: Clock) -> None:
    """After n pieces at least the time of n - 1 has passed; without a rate none has."""
    limited, sizes = Pace(1000), [500, 1500, 1000, 250, 750]
    for size in sizes:
        limited.wait(size)
    assert clock.now - 100 == pytest.approx(sum(sizes[:-1]) / 1000)
    Pace().wait(10**12)
    assert clock.now - 100 == pytest.approx(sum(sizes[:-1]) / 1000)


def test_threads_share_it() -> None:
    """Eight threads of 20 kB at 400 kB/s take at least 0.3 s together."""
    limited = Pace(400_000)
    start = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(limited.wait, [20_000] * 8))
    assert time.monotonic() - start >= 0.3


@given(st.floats(0.001, 1_000_000))
def test_no_piece_takes_so_long_that_the_coordinator_gives_up(megabits: float) -> None:
    """Even with as many uploads as may be at once."""
    settings = SubmitSettings(megabits_per_second=megabits)
    limited = Pace(settings.bytes_per_second)
    assert 1024 <= limited.chunk <= CHUNK
    assert limited.chunk / settings.bytes_per_second * 4 < IDLE_SECONDS


def test_tries_differ() -> None:
    """By up to a half either way."""
    factors = [_jitter() for _ in range(200)]
    assert 0.5 <= min(factors) < 0.8
    assert 1.2 < max(factors) <= 1.5
