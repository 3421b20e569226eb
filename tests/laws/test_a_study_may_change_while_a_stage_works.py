"""A stage holds no lock: what is received or decided while it works counts, and the stage's own result is void."""

import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.settings import HomeBusy
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State, StudyChanged
from site_node.home.records import Records
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.receive.folder import Reception
from site_node.study import Received
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study, reason

STAGES = ("screen", "deidentify", "inspect", "validate", "seal", "submit")
KEY = key_of("good")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return make_home(tmp_path_factory.mktemp("template") / "home")


def interrupted(stage: Callable[..., Any], change: Callable[[], None], *, at_end: bool) -> Callable[..., Any]:
    """A stage during whose first call `change` happens."""
    calls: list[None] = []

    def call(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 1 and not at_end:
            change()
        result = stage(*arguments)
        if len(calls) == 1 and at_end:
            change()
        return result

    return call


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stage=st.sampled_from(STAGES), at_end=st.booleans(), files=st.integers(2, 5))
def test_images_that_come_meanwhile_are_sent_or_held(
    template: SiteHome, tmp_path_factory: pytest.TempPathFactory, stage: str, at_end: bool, files: int
) -> None:
    """Whenever further images come, all are submitted at once, or, where the study was sealed, held for a person."""
    folder = tmp_path_factory.mktemp("life")
    home = SiteHome(folder / "home")
    shutil.copytree(template.folder, home.folder)
    ledger = Ledger(home.ledger)
    stages = make_stages(home, folder / "submitted")

    def come() -> None:
        with closing(Ledger(home.ledger)) as other:
            enter(home, other, make_study(home, "good", files))

    change = interrupted(getattr(stages, stage), come, at_end=at_end)
    enter(home, ledger, make_study(home, "good", 2))
    pipeline = Pipeline(home, ledger, replace(stages, **{stage: change}))
    pipeline.run()
    pipeline.run()
    late = files - 2 if stage == "submit" else 0
    counts = {"submitted": files - late} | ({"quarantined": late} if late else {})
    assert (ledger.study(KEY).state, ledger.instance_counts()) == (State.SUBMITTED, dict(sorted(counts.items())))
    (manifest,) = (folder / "submitted").iterdir()
    assert f'"instance_count":{files - late}' in manifest.read_text()
    assert list(home.outbox.iterdir()) == []
    ledger.close()
    shutil.rmtree(folder)


def test_a_person_decides_while_the_screen_works(template: SiteHome, tmp_path: Path) -> None:
    """A study that is reopened during its screen is screened again, and ends by the second screen."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    ledger, other = Ledger(home.ledger), Ledger(home.ledger)
    stages = make_stages(home, tmp_path / "submitted")
    change = interrupted(stages.screen, lambda: other.reopen(key_of("review"), ["look"], ()), at_end=True)
    enter(home, ledger, make_study(home, "review"))
    Pipeline(home, ledger, replace(stages, screen=change)).run()
    assert ledger.study(key_of("review")).state is State.SUBMITTED
    ledger.close()
    other.close()


def test_a_study_that_a_person_moved_does_not_begin_again(template: SiteHome, tmp_path: Path) -> None:
    """Though what it was de-identified by is no longer in force: the decision counts."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    with closing(Ledger(home.ledger)) as ledger:
        enter(home, ledger, make_study(home, "good"))
        pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
        before = ledger.study(KEY)
        ledger.advance(KEY, State.EXCLUDED, reasons=(reason("rejected-in-review"),))
        with pytest.raises(StudyChanged):
            pipeline._begin_again(before)
        assert ledger.study(KEY).state is State.EXCLUDED
        assert pipeline._begin_again(ledger.study(KEY)) is ledger.study(KEY).state is State.RECEIVED


def test_originals_stay_while_somebody_receives(template: SiteHome, tmp_path: Path) -> None:
    """A reception may be about to add to them; the next pass deletes them. Only one reception goes on at a time."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "excluded"))
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    with home.receiving():
        pipeline.run()
        assert len(Records(home).read(key_of("excluded"), Received).instances) == 2
        assert len(list((home.spool / key_of("excluded")).iterdir())) == 2
        with pytest.raises(HomeBusy), home.receiving():
            pass
    pipeline.run()
    assert not (home.spool / key_of("excluded")).exists()
    ledger.close()


def test_a_record_being_written_is_not_cleared_away(template: SiteHome, tmp_path: Path) -> None:
    """A pass removes the temporary files of killed processes, and none while a study is entered."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    home.work(KEY).mkdir(parents=True)
    unfinished = home.work(KEY) / ".received.json.0.tmp"
    unfinished.touch()
    node = threading.Thread(target=with_pipeline, args=(home, Pipeline.run))
    with home.changing():
        node.start()
        node.join(0.3)
        assert unfinished.exists()
    node.join()
    assert not unfinished.exists()


def test_a_stage_begins_with_what_is_entered_whole(
    template: SiteHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two other versions of an image come: no stage sees the study between the first and the last change for them."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    ledger = Ledger(home.ledger)
    study = make_study(home, "good", 2)
    enter(home, ledger, study)
    version = study.instances[0].path.with_name(f"{'0' * 32}.dcm")
    version.write_bytes(b"another version")
    arrived = study.model_copy(update={"instances": (study.instances[0].model_copy(update={"path": version}),)})
    node = threading.Thread(target=with_pipeline, args=(home, lambda pipeline: pipeline.advance(KEY, State.SUBMITTED)))
    hold = Ledger.hold_instances

    def begin_a_pass(self: Ledger, key: StudyKey, names: Iterable[str], code: str) -> None:
        hold(self, key, names, code)
        if node.ident is None:
            node.start()
        node.join(0.5)  # the study's record, without the image, follows

    monkeypatch.setattr(Ledger, "hold_instances", begin_a_pass)
    reception = Reception(studies=(), conflicts=(arrived,), refused=(), duplicates=0)
    enter_reception(reception, home=home, ledger=ledger)
    node.join()
    assert ledger.instance_counts() == {"quarantined": 2, "submitted": 1}
    (manifest,) = (tmp_path / "submitted").iterdir()
    assert '"instance_count":1' in manifest.read_text()
    ledger.close()


def with_pipeline(home: SiteHome, act: Callable[[Pipeline], object]) -> None:
    """Act as another process would."""
    ledger = Ledger(home.ledger)
    act(Pipeline(home, ledger, make_stages(home, home.folder.parent / "submitted")))
    ledger.close()
