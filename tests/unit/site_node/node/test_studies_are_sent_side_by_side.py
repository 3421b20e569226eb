"""Several studies are on their way at once, each ends as it would alone, and a blocked sending starts no more."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import pytest

from shared.errors.agreements import AgreementSuperseded
from shared.errors.base import RicordError
from shared.errors.protocol import EditionOver
from shared.errors.studies import ManifestInvalid
from shared.errors.transport import CoordinatorUnreachable
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline, Progress
from site_node.node.sending import Sending
from site_node.study import Sealed, Submitted, Validated
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

NAMES = [f"good-{number}" for number in range(1, 9)]


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    with closing(Ledger(home.ledger)) as opened:
        yield opened


def states(ledger: Ledger) -> dict[str, State]:
    return {name: ledger.study(key_of(name)).state for name in NAMES}


def test_so_many_are_under_way_at_once(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Each call waits until four are under way, and there are never five; one that is refused ends alone."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    stages = make_stages(home, tmp_path / "submitted")
    assert stages.submit is not None
    send, four, lock, under_way = stages.submit, threading.Barrier(4), threading.Lock(), list[int]()
    count, bad = 0, key_of(NAMES[2])

    def submit(sealed: Sealed) -> Submitted:
        nonlocal count
        with lock:
            count += 1
            under_way.append(count)
        four.wait(timeout=30)
        try:
            if sealed.key == bad:
                raise ManifestInvalid(problem="of the test")
            return send(sealed)
        finally:
            with lock:
                count -= 1

    reached = list[State]()
    pipeline = Pipeline(
        home, ledger, replace(stages, submit=submit), at_once=4, report=lambda _key, step: reached.append(step.reached)
    )
    assert pipeline.run().moved == len(NAMES)
    assert max(under_way) == 4
    ends = states(ledger)
    assert ends.pop(NAMES[2]) is State.REFUSED
    assert set(ends.values()) == {State.SUBMITTED}
    assert reached.count(State.SUBMITTED) == len(NAMES) - 1


def test_an_absent_coordinator_is_asked_by_those_under_way_only(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """The others are sealed and wait; the next pass sends all."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    stages = make_stages(home, tmp_path / "submitted")
    attempts = list[Sealed]()

    def absent(sealed: Sealed) -> Submitted:
        attempts.append(sealed)
        raise CoordinatorUnreachable(address="nowhere:1")

    progress = Pipeline(home, ledger, replace(stages, submit=absent), at_once=3).run()
    assert isinstance(progress.blocked, CoordinatorUnreachable)
    assert 1 <= len(attempts) <= 3
    assert set(states(ledger).values()) == {State.SEALED}
    again = Pipeline(home, ledger, replace(stages, submit=absent), at_once=3).run()
    assert (again.moved, type(again.blocked)) == (0, CoordinatorUnreachable)
    assert Pipeline(home, ledger, stages, at_once=3).run() == Progress(moved=len(NAMES), blocked=None)
    assert set(states(ledger).values()) == {State.SUBMITTED}


def test_what_was_under_way_when_the_pass_broke_off_is_not_sent_again(
    home: SiteHome, ledger: Ledger, tmp_path: Path
) -> None:
    """As after a kill: what the coordinator has is received once, whatever the node had heard of it."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    stages = make_stages(home, tmp_path / "submitted")
    assert stages.submit is not None
    send, calls = stages.submit, list[int]()

    def breaking(sealed: Sealed) -> Submitted:
        calls.append(1)
        submitted = send(sealed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return submitted

    with pytest.raises(KeyboardInterrupt):
        Pipeline(home, ledger, replace(stages, submit=breaking), at_once=4).run()
    assert set(states(ledger).values()) <= {State.SEALED, State.SUBMITTED, State.RECEIVED}
    Pipeline(home, ledger, stages, at_once=4).run()
    assert set(states(ledger).values()) == {State.SUBMITTED}
    assert len(list((tmp_path / "submitted").iterdir())) == len(NAMES)


def test_nothing_is_under_way_after_the_end() -> None:
    """However the block ended: what was begun is heard of by the coordinator before the home's lock is free."""
    release, ended = threading.Event(), list[str]()

    def slow() -> Submitted:
        release.wait(60)
        ended.append("sent")
        raise CoordinatorUnreachable(address="nowhere:1")

    def broken_off() -> None:
        with Sending(2) as sending:
            sending.start(key_of("good-1"), slow)
            threading.Timer(0.05, release.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert ended == ["sent"]


def test_who_waits_for_the_rest_does_no_work() -> None:
    """The thread that moves studies sleeps until one has ended."""
    with Sending(1) as sending:

        def slow() -> Submitted:
            time.sleep(0.3)
            raise CoordinatorUnreachable(address="nowhere:1")

        sending.start(key_of("good-1"), slow)
        began = time.thread_time()
        ((key, _),) = sending.rest()
        assert time.thread_time() - began < 0.1
    assert key == key_of("good-1")


@pytest.mark.parametrize("is_newer", [False, True])
@pytest.mark.parametrize("error", [AgreementSuperseded(), EditionOver(edition="2020.1", until="2021-01-01")])
def test_what_cannot_be_sealed_anew_stays_sealed(tmp_path: Path, is_newer: bool, error: RicordError) -> None:
    """Where the agreement no longer covers sealing here, and where nothing is newer than what was sealed."""
    home = make_home(tmp_path / "home")
    with closing(Ledger(home.ledger)) as ledger:
        enter(home, ledger, make_study(home, NAMES[0]))
        stages = make_stages(home, tmp_path / "submitted")
        Pipeline(home, ledger, stages).run(State.SEALED)
        ends = [error, DEFAULT] if is_newer else [error] * 2
        refused = replace(
            stages,
            submit=Mock(side_effect=ends, wraps=stages.submit),
            is_superseded=lambda _: is_newer and isinstance(error, AgreementSuperseded),
            is_of_another_edition=lambda _: is_newer and isinstance(error, EditionOver),
        )
        without = replace(refused, seal=None, submit=Mock(side_effect=error))
        assert Pipeline(home, ledger, without).run() == Progress(moved=0, blocked=error)
        assert ledger.study(key_of(NAMES[0])).state is State.SEALED
        progress = Pipeline(home, ledger, refused).run()
        assert progress == Progress(moved=int(is_newer), blocked=None if is_newer else error)
        assert ledger.study(key_of(NAMES[0])).state is (State.SUBMITTED if is_newer else State.SEALED)


def test_what_was_sealed_of_a_study_that_changed_is_not_kept(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """A person decided while it was sealed: nothing of it waits in the outbox, and it begins anew."""
    enter(home, ledger, make_study(home, NAMES[0]))
    stages, calls = make_stages(home, tmp_path / "submitted"), list[StudyKey]()

    def seal(study: Validated, sequence: int) -> Sealed:
        assert stages.seal is not None
        sealed = stages.seal(study, sequence)
        calls.append(study.key)
        ledger.reopen(study.key, (), [])
        return sealed

    Pipeline(home, ledger, replace(stages, seal=seal), halted=lambda: bool(calls)).run(State.SEALED)
    assert calls == [key_of(NAMES[0])]
    assert ledger.study(key_of(NAMES[0])).state is State.RECEIVED
    assert list(home.outbox.iterdir()) == []


def test_a_copy_that_cannot_be_removed_stops_no_study(
    home: SiteHome, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again with the next pass."""
    enter(home, ledger, make_study(home, NAMES[0]))
    remove = shutil.rmtree

    def refused(folder: Path, *, ignore_errors: bool = False) -> None:
        if Path(folder).parent != home.spool:
            remove(folder, ignore_errors=ignore_errors)
        elif not ignore_errors:
            raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refused)
        assert Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run() == Progress(1, None)
    assert list(home.spool.iterdir())
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert list(home.spool.iterdir()) == []


def test_what_is_outdated_is_not_validated(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """It is de-identified again, by what is in force now."""
    enter(home, ledger, make_study(home, NAMES[0]))
    stages, outdated = make_stages(home, tmp_path / "submitted"), iter([True])
    deidentify, validate = Mock(side_effect=stages.deidentify), Mock(side_effect=stages.validate)
    made = replace(stages, deidentify=deidentify, validate=validate, is_outdated=lambda _: next(outdated, False))
    Pipeline(home, ledger, made).run(State.VALIDATED)
    assert (deidentify.call_count, validate.call_count) == (2, 1)
    assert ledger.study(key_of(NAMES[0])).state is State.VALIDATED
