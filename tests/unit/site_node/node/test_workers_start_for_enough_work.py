"""Workers start where more work waits than their start costs, and stay while there is work."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.storage import HomeFailed
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import State, StudyEntry
from site_node.monitoring.watch import Watch
from site_node.node import crew, service
from site_node.node.acquisition import Acquisition
from site_node.node.crew import IMAGE_SECONDS, SEARCH_SECONDS, START_SECONDS, Crew
from site_node.node.open import Node, open_node
from site_node.node.passes import Pass
from site_node.node.pipeline import Progress
from site_node.settings.site import SiteSettings
from tests.factories.pipeline import key_of, make_home

CORES = 4
NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Processes:
    """In place of worker processes: says how many run, and hands back what it is given."""

    running = engines = 0

    def __init__(self, count: int, _preload: str, _halted: Callable[[], bool]) -> None:
        Processes.running = count
        Processes.engines += 1

    def run(self, _work: object, keys: Sequence[StudyKey]) -> Iterator[tuple[StudyKey, None]]:
        return ((key, None) for key in keys)

    def close(self) -> None:
        Processes.running = 0
        Processes.engines -= 1


@pytest.fixture(autouse=True, scope="module")
def _no_processes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew, "Processes", Processes)
        yield


def waiting(*images: int, state: State = State.RECEIVED, enrolled: bool = True, pixel_check: bool = True) -> Node:
    """A node of four cores where a study of each number of images waits."""
    sizes = {key_of(str(number)): count for number, count in enumerate(images)}
    rest = {"reasons": (), "released": frozenset[str](), "received_at": NOW, "changed_at": NOW}
    rest |= dict.fromkeys(("sequence", "study", "receipt", "stopped"))
    entries = [StudyEntry.model_validate({"key": key, "state": state, **rest}) for key in sizes]
    node = SimpleNamespace(
        home=SimpleNamespace(folder=Path("home")),
        settings=SiteSettings(name="Hospital", workers=CORES, pixel_check=pixel_check),
        ledger=SimpleNamespace(
            studies=lambda *states: [entry for entry in entries if entry.state in states], image_count=sizes.get
        ),
        membership=object() if enrolled else None,
    )
    return cast("Node", node)


def started(node: Node, until: State = State.SEALED) -> int:
    """How many workers start for what waits."""
    with closing(Crew()) as alone:
        has_workers = alone.workers(node, until) is not None
        assert has_workers == bool(Processes.running)
        return Processes.running


@given(st.lists(st.integers(1, 600), max_size=40))
def test_each_worker_has_more_to_do_than_its_start_costs(images: list[int]) -> None:
    """There are at least two, and never more than cores and studies; else this process works alone."""
    work = SEARCH_SECONDS * len(images) + IMAGE_SECONDS * sum(images)
    count = started(waiting(*images))
    most = min(CORES, len(images), int(work / START_SECONDS))
    assert count == (most if most > 1 else 0)


def test_a_small_job_starts_no_worker() -> None:
    """Three films and a CT of 40 slices are done as soon by one process; forty films are not."""
    assert started(waiting(1, 1, 1, 40)) == 0
    assert started(waiting(*[1] * 40)) == CORES
    assert started(waiting(10_000)) == 0, "one study is moved by one process"


def test_work_that_is_not_done_counts_nothing() -> None:
    """No search for text where it is off or done, and nothing but the screen before enrolment or where it is asked."""
    films = [1] * 40
    assert started(waiting(*films, pixel_check=False)) == 0
    assert started(waiting(*films, state=State.DEIDENTIFIED)) == 0
    assert started(waiting(*films, enrolled=False)) == 0
    assert started(waiting(*films), State.INCLUDED) == 0
    assert started(waiting(*films, state=State.VALIDATED)) == 0


def test_the_largest_study_is_first() -> None:
    """So that no worker begins it while the others are done; one that came since is last."""
    node = waiting(3, 300, 1, 600)
    with closing(Crew()) as alone:
        workers = alone.workers(node, State.SEALED)
        assert workers is not None
        keys = [key_of("new"), *(entry.key for entry in node.ledger.studies(State.RECEIVED))]
        ordered = [key for key, _ in workers(keys, State.SEALED)]
        assert ordered == [key_of(name) for name in ("3", "1", "0", "2", "new")]


def test_workers_stay_for_small_work_and_are_more_for_more() -> None:
    """Those that run cost nothing more; after `close` the start counts again."""
    some, many = waiting(*[1] * 9), waiting(*[1] * 40)
    with closing(Crew()) as standing:
        for node, count in ((waiting(1), 0), (some, 2), (waiting(1), 2), (many, CORES), (some, CORES)):
            assert (standing.workers(node, State.SEALED) is not None) == bool(count)
            assert (Processes.running, Processes.engines) == (count, int(count > 0))
        standing.close()
        assert standing.workers(waiting(1), State.SEALED) is None
        assert Processes.running == 0


def test_the_service_keeps_its_crew_while_passes_move_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that moves none, or fails, ends workers and detector, so that an idle node holds neither."""
    results: Iterator[int | HomeFailed] = iter([2, 1, 0, HomeFailed(folder="x", problem="y"), 3])
    stop, events, crews = threading.Event(), list[object](), set[Crew]()

    class Noting(Crew):
        def close(self) -> None:
            events.append("close")
            super().close()

    def run(*_: object, crew: Crew, **__: object) -> Pass:
        crews.add(crew)
        result = next(results)
        events.append(result)
        if result == 3:
            stop.set()
        if isinstance(result, HomeFailed):
            raise result
        return Pass(progress=Progress(moved=result, blocked=None))

    monkeypatch.setattr(service, "Crew", Noting)
    monkeypatch.setattr(service, "run_pass", run)
    home: SiteHome = make_home(tmp_path / "home")
    settings = home.settings_file.read_text()
    home.settings_file.write_text(settings.replace("poll_seconds = 10.0", "poll_seconds = 0.1"))
    with open_node(home) as node:
        service._serve(node, stop, Acquisition(node.home, node.settings, node.stages.names), Watch(home))
    assert len(crews) == 1
    assert [event if isinstance(event, (int, str)) else "failed" for event in events] == [
        *(2, 1, 0, "close", "failed", "close", 3, "close")
    ]
