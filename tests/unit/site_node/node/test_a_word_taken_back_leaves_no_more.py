"""A study is judged by the list as it stood; it begins again where a word of it is taken back before it is sealed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pydicom
import pytest

from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.home.words import SiteWords
from site_node.membership.record import Membership
from site_node.node.composition import SiteStages
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.receive.folder import Reception
from site_node.settings.site import SiteSettings
from site_node.study import Deidentified, Included, Received, Validated
from site_node.validate.report import Report
from tests.factories.pipeline import make_home, make_stages
from tests.factories.studies import make_included, make_study

WORD = "spaetvenoes"
NAME = {"PatientName": "Hathersage^Ada"}


class Site:
    """A home with one chest CT, and the true stages of de-identification and validation between simple ones."""

    def __init__(self, folder: Path) -> None:
        self.home: SiteHome = make_home(folder / "home")
        self.ledger = Ledger(self.home.ledger)
        self.study: Received = make_study(folder / "spool", "ct", slices=1, SeriesDescription=f"CT {WORD}", **NAME)
        enter_reception(Reception(studies=(self.study,), refused=(), duplicates=0), home=self.home, ledger=self.ledger)
        settings = cast("SiteSettings", SimpleNamespace(**{**self.home.load().model_dump(), "pixel_check": False}))
        member = cast("Membership", SimpleNamespace(site_id="123456"))
        self.site = SiteStages(self.home, settings, self.ledger, member)
        simple = make_stages(self.home, folder / "submitted")
        self.stages = replace(
            simple,
            screen=lambda study, _released: make_included(study),
            deidentify=self.site._deidentify,
            is_outdated=self.site._is_outdated,
            inspect=None,
            validate=self.site._validate,
        )

    @property
    def words(self) -> SiteWords:
        return self.ledger.words(self.site.names)

    @property
    def key(self) -> StudyKey:
        return self.study.key

    def run(self, until: State, **changes: object) -> State:
        stages: Stages = replace(self.stages, **changes)  # type: ignore[arg-type] # any stage
        Pipeline(self.home, self.ledger, stages).run(until)
        return self.ledger.study(self.key).state

    def accept(self) -> None:
        self.words.accept(WORD, WORD, actor="A. Miller", reason="late venous phase")

    @property
    def description(self) -> str:
        (file,) = self.home.deidentified(self.key).rglob("*.dcm")
        return str(pydicom.dcmread(file).SeriesDescription)

    @property
    def report(self) -> Report:
        (file,) = self.home.reports.glob("*.json")
        return Report.model_validate_json(file.read_bytes())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.ledger.close()


def test_a_study_is_judged_by_the_list_as_it_stood(site: Site) -> None:
    """Words accepted or taken back meanwhile that it has not change nothing; the report says which list it was."""
    site.accept()
    listed = site.words.accepted()
    assert site.run(State.DEIDENTIFIED) is State.DEIDENTIFIED
    site.words.accept("hilusblick", "hilusblick", actor="A. Miller", reason="")
    assert site.run(State.VALIDATED) is State.VALIDATED
    assert site.description == f"CT {WORD}"
    assert (site.report.accepted_version, site.report.accepted_digest) == (listed.version, listed.digest)
    assert site.report.accepted_words == 1


@pytest.mark.parametrize("reached", [State.DEIDENTIFIED, State.VALIDATED])
def test_a_study_that_is_not_sealed_begins_again_without_the_word(site: Site, reached: State) -> None:
    site.accept()
    assert site.run(reached) is reached
    site.words.drop(WORD, actor="A. Miller", reason="a nickname")
    assert site.run(State.SEALED) is State.SEALED
    assert site.description == "CT"
    assert Records(site.home).read(site.key, Validated).study.accepted == ()
    assert (site.report.accepted_words, site.report.accepted_version) == (0, site.words.accepted().version)


def test_a_sealed_study_keeps_its_words(site: Site) -> None:
    """The coordinator may have it already."""
    site.accept()
    assert site.run(State.SEALED) is State.SEALED
    site.words.drop(WORD, actor="A. Miller", reason="a nickname")
    assert site.run(State.SUBMITTED) is State.SUBMITTED


def test_a_name_that_another_study_brings_takes_the_word_back(site: Site) -> None:
    """Nobody has to decide that."""
    site.accept()
    assert site.run(State.VALIDATED) is State.VALIDATED
    site.site._deidentify(
        make_included(make_study(site.home.folder / "other", "dx", ReferringPhysicianName=f"{WORD}^Ada")),
        site.home.folder / "other-out",
        None,
    )
    assert site.run(State.SEALED) is State.SEALED
    assert site.description == "CT"


def test_what_left_the_texts_is_kept_before_the_study_moves_on(site: Site) -> None:
    """A stage that is killed has kept all or nothing; done again, it counts the patient once."""

    def killed(study: Included, out: Path, blank: object) -> Deidentified:
        site.site._deidentify(study, out, None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.run(State.DEIDENTIFIED, deidentify=killed)
    assert site.words.patients(WORD) == 1
    assert site.run(State.DEIDENTIFIED) is State.DEIDENTIFIED
    assert site.words.patients(WORD) == 1
    assert site.words.is_removed("hathersage")
