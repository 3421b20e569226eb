"""A study that is withdrawn is not sent, however far it came; of one whose images are, the rest is sealed."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.home.withdrawals import Level
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from site_node.node.pipeline import Pipeline
from site_node.study import Deidentified, Sealed, Validated
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study


@pytest.mark.parametrize("level", [Level.SITE, Level.PATIENT, Level.STUDY])
@pytest.mark.parametrize("until", [State.SEALED, State.VALIDATED])
def test_it_ends_as_withdrawn(tmp_path: Path, level: Level, until: State) -> None:
    """Whether it was sealed before or is sealed after; nothing of it stays in the outbox."""
    home = make_home(tmp_path / "home")
    ledger, stages = Ledger(home.ledger), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, stages).run(until)
    study = Records(home).read(key_of("good-1"), Validated).study
    names = {Level.SITE: "", Level.PATIENT: study.patient, Level.STUDY: study.study_instance_uid}
    ledger.withdrawals.enter(level, [names[level]], 1)
    submit = Mock()
    Pipeline(home, ledger, replace(stages, submit=submit)).run()
    entry = ledger.study(key_of("good-1"))
    assert (entry.state, entry.lead) == (State.EXCLUDED, "withdrawn")
    assert not submit.called
    assert not list(home.outbox.iterdir())
    assert not list(home.library.iterdir())
    ledger.close()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_study_that_is_withdrawn_while_it_is_made_does_not_enter_the_library(tmp_path: Path, when: str) -> None:
    """Also where nothing is submitted, and where the library was cleared just before the study came."""
    home = make_home(tmp_path / "home")
    ledger, stages = Ledger(home.ledger), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, stages).run(State.DEIDENTIFIED)
    patient = Records(home).read(key_of("good-1"), Deidentified).patient

    def add(study: Validated) -> None:
        if when == "meanwhile":
            ledger.withdrawals.enter(Level.PATIENT, [patient], 1)
        assert stages.add_to_library is not None
        stages.add_to_library(study)

    if when == "before":
        ledger.withdrawals.enter(Level.PATIENT, [patient], 1)
    Pipeline(home, ledger, replace(stages, add_to_library=add, seal=None, submit=None)).run()
    entry = ledger.study(key_of("good-1"))
    assert (entry.state, entry.lead) == (State.EXCLUDED, "withdrawn")
    assert not list(home.library.iterdir())
    ledger.close()


def test_a_pass_clears_what_a_killed_command_left(tmp_path: Path) -> None:
    """The withdrawal was entered, the library not cleared; what a killed stage left half added goes, too."""
    home = make_home(tmp_path / "home")
    for name in ("1.2.3", ".1.2.4.unfinished"):
        (home.library / name).mkdir()
    with open_node(home) as node:
        node.ledger.withdrawals.enter(Level.STUDY, ["1.2.3"], 1)
        run_pass(node, State.RECEIVED)
        assert node.ledger.withdrawals.in_library() == ()
    assert not list(home.library.iterdir())


def test_the_rest_is_sealed(tmp_path: Path) -> None:
    """Without the images that were withdrawn."""
    home = make_home(tmp_path / "home")
    ledger, stages = Ledger(home.ledger), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, stages).run(State.VALIDATED)
    study = Records(home).read(key_of("good-1"), Validated).study
    withdrawn = study.instances[0].sop_instance_uid
    ledger.withdrawals.enter(Level.INSTANCE, [withdrawn], 1, study=study.study_instance_uid)
    seal = Mock(side_effect=stages.seal)
    Pipeline(home, ledger, replace(stages, seal=seal)).run(State.SEALED)
    sent = seal.call_args.args[0]
    rest = {each.sop_instance_uid for each in study.instances} - {withdrawn}
    assert {each.sop_instance_uid for each in sent.study.instances} == set(sent.digests) == rest
    assert Records(home).find(key_of("good-1"), Sealed) is not None
    ledger.close()


def test_a_study_of_which_every_image_is_withdrawn_is_not_sealed(tmp_path: Path) -> None:
    """Its images were withdrawn one by one: it ends as if it had been itself."""
    home = make_home(tmp_path / "home")
    ledger, stages = Ledger(home.ledger), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, stages).run(State.VALIDATED)
    study = Records(home).read(key_of("good-1"), Validated).study
    images = [each.sop_instance_uid for each in study.instances]
    ledger.withdrawals.enter(Level.INSTANCE, images, 1, study=study.study_instance_uid)
    seal = Mock(side_effect=stages.seal)
    Pipeline(home, ledger, replace(stages, seal=seal)).run(State.SEALED)
    entry = ledger.study(key_of("good-1"))
    assert (entry.state, entry.lead, seal.called) == (State.EXCLUDED, "withdrawn", False)
    assert not list(home.library.iterdir())
    ledger.close()
