"""`run --retry` sends a study that an error ended back to where it stopped, as far as its files are there."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from unittest.mock import Mock

import pytest

from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.studies import ManifestInvalid
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.review.retry import retry
from site_node.study import Ending
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study, reason

KEY = key_of("partly-1")  # of its two images one is left out


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "partly-1"))
    yield ledger
    ledger.close()


@pytest.fixture
def stages(home: SiteHome, tmp_path: Path) -> Stages:
    return make_stages(home, tmp_path / "submitted")


@pytest.mark.parametrize(
    ("failing", "back_at"),
    [
        ({"screen": ZeroDivisionError()}, State.RECEIVED),
        ({"deidentify": MemoryError()}, State.INCLUDED),
        ({"validate": ZeroDivisionError()}, State.DEIDENTIFIED),
        ({"seal": ManifestInvalid(problem="x")}, State.VALIDATED),
        ({"submit": ManifestInvalid(problem="x")}, State.VALIDATED),
    ],
)
def test_it_goes_back_to_where_it_stopped(
    home: SiteHome, ledger: Ledger, stages: Stages, failing: dict[str, Exception], back_at: State
) -> None:
    """What was left out before stays left out, each image ends once, and it is kept who decided so."""
    Pipeline(home, ledger, replace(stages, **{name: Mock(side_effect=error) for name, error in failing.items()})).run()
    assert retry(home, ledger, KEY[:8], actor="A. Miller") == KEY
    assert (ledger.study(KEY).state, ledger.study(KEY).reasons) == (back_at, ())
    (event,) = ledger.events()
    assert (event.actor, event.action, event.key) == ("A. Miller", "retry", KEY)
    assert event.detail.endswith(f", from {back_at}")
    assert ledger.instance_counts()["waiting"] == (2 if back_at is State.RECEIVED else 1)
    Pipeline(home, ledger, stages).run()
    assert ledger.instance_counts() == {"excluded": 1, "submitted": 1}
    assert list(home.outbox.iterdir()) == []


def test_one_that_is_sealed_anew_leaves_no_former_file(home: SiteHome, ledger: Ledger, stages: Stages) -> None:
    """After an amendment the contents name another agreement, and so do the files."""
    picky = replace(stages, submit=Mock(side_effect=ManifestInvalid(problem="x")))
    Pipeline(home, ledger, picky, originals_stay=None).run()
    former = list(home.outbox.iterdir())
    (home.work(KEY) / "deidentified" / "0.dcm").write_bytes(b"other contents")
    retry(home, ledger, KEY, actor="A. Miller")
    Pipeline(home, ledger, replace(stages, submit=None)).run()
    assert len(list(home.outbox.iterdir())) == len(former) == 2
    assert not any(path.exists() for path in former)


def test_files_that_are_deleted_send_it_further_back(home: SiteHome, ledger: Ledger, stages: Stages) -> None:
    """Without new files a sealed study is sent as it is, without sealed ones it begins anew, without originals not."""
    picky = replace(stages, submit=Mock(side_effect=ManifestInvalid(problem="x")))
    for lost, expected in [("work/*/deidentified/*", State.SEALED), ("outbox/*", State.RECEIVED)]:
        Pipeline(home, ledger, picky, originals_stay=None).run()
        for file in home.folder.glob(lost):
            file.unlink()
        retry(home, ledger, KEY, actor="A. Miller")
        assert ledger.study(KEY).state is expected
    Pipeline(home, ledger, picky, originals_stay=None).run()
    for folder in (home.spool / KEY, home.work(KEY)):
        shutil.rmtree(folder)
    for path in home.outbox.iterdir():
        path.unlink()
    with pytest.raises(InvalidArgument, match="receive it again"):
        retry(home, ledger, KEY, actor="A. Miller")
    assert ledger.study(KEY).state is State.REFUSED


# A study that stopped at a state goes on from the first of these whose files are here.
WAYS_BACK = {
    State.SEALED: (State.VALIDATED, State.SEALED, State.RECEIVED),
    State.VALIDATED: (State.VALIDATED, State.RECEIVED),
    State.DEIDENTIFIED: (State.DEIDENTIFIED, State.RECEIVED),
    State.INCLUDED: (State.INCLUDED,),
    State.RECEIVED: (State.RECEIVED,),
}
FILES = {"originals": "spool/*/*", "new": "work/*/deidentified/*", "sealed": "outbox/*.age", "signed": "outbox/*.json"}
NEEDS = {
    State.VALIDATED: {"new"},
    State.SEALED: {"sealed", "signed"},
    State.DEIDENTIFIED: {"new", "originals"},
    State.INCLUDED: {"originals"},
    State.RECEIVED: {"originals"},
}


@pytest.mark.parametrize("stopped", WAYS_BACK)
def test_it_goes_on_from_the_furthest_state_whose_files_are_here(
    home: SiteHome, stages: Stages, ledger: Ledger, stopped: State
) -> None:
    """Whatever else is deleted; a part of a state's files is as none.

    An image that was left out is judged anew where the study begins anew, and there alone.
    """
    left_out, _ = (instance.name for instance in make_study(home, "partly-1").instances)
    Pipeline(home, ledger, replace(stages, submit=None), originals_stay=None).run()
    lost = {name: min(home.folder.glob(pattern), key=str) for name, pattern in FILES.items()}
    for here in (set(names) for count in range(5) for names in combinations(FILES, count)):
        ledger.reopen(KEY, (), (), state=stopped)
        ledger.advance(KEY, stopped)
        scout = ((left_out, Ending.EXCLUDED, "scout"),)
        ledger.advance(KEY, State.REFUSED, reasons=(reason("corrupt"),), left_out=scout)
        for name, path in lost.items():
            if name not in here:
                path.rename(path.with_suffix(".away"))
        back_at = next((state for state in WAYS_BACK[stopped] if NEEDS[state] <= here), None)
        if back_at is None:
            with pytest.raises(InvalidArgument, match="receive it again"):
                retry(home, ledger, KEY, actor="A. Miller")
        else:
            retry(home, ledger, KEY, actor="A. Miller")
        assert ledger.study(KEY).state is (back_at or State.REFUSED)
        assert ledger.image_count(KEY) == (0 if back_at is None else 2 if back_at is State.RECEIVED else 1)
        for path in lost.values():
            if not path.exists():
                path.with_suffix(".away").rename(path)


def test_what_a_person_must_see_is_not_tried_again(home: SiteHome, ledger: Ledger, stages: Stages) -> None:
    """Nor is a study that did not end, or a key that names none."""
    enter(home, ledger, make_study(home, "review-2"))
    for reference in (KEY, key_of("review-2"), "0" * 32):
        with pytest.raises(NotFound):
            retry(home, ledger, reference, actor="A. Miller")
        Pipeline(home, ledger, stages).run()
    with pytest.raises(InvalidArgument):
        retry(home, ledger, "xyz", actor="A. Miller")
