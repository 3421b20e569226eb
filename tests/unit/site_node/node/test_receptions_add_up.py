"""Receptions add up: repeated, with more of the same study, too late, in conflict."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.ids import Sha256
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.conflicts import withdraw
from site_node.node.intake import Intake, enter_reception
from site_node.node.pipeline import Pipeline
from site_node.receive.folder import NO_PATIENT_ID, Reception
from site_node.receive.refusals import refused
from site_node.study import Identity, Received
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

KILLED = (
    *(
        "node.intake.copy_to_quarantine",
        "node.intake.remove_from_spool",
        "node.conflicts.copy_to_quarantine",
        "node.conflicts.remove_from_spool",
    ),
    *("home.ledger.Ledger.hold_instances", "home.records.Records.write"),
)


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def receive(home: SiteHome, ledger: Ledger, study: Received) -> Intake:
    return enter_reception(Reception(studies=(study,), refused=(), duplicates=0), home=home, ledger=ledger)


def test_the_same_study_again_is_a_duplicate(home: SiteHome, ledger: Ledger) -> None:
    first = receive(home, ledger, make_study(home, "good"))
    again = receive(home, ledger, make_study(home, "good"))
    assert (first.studies, first.instances, first.duplicates) == (1, 2, 0)
    assert (again.studies, again.instances, again.duplicates) == (0, 0, 2)


def test_a_submitted_study_again_leaves_no_copy(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "good"))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert receive(home, ledger, make_study(home, "good")).duplicates == 2
    assert list(home.spool.iterdir()) == []
    assert ledger.study(key_of("good")).state is State.SUBMITTED


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_reception_that_is_entered_twice_adds_nothing(
    home: SiteHome, ledger: Ledger, tmp_path: Path, is_sent: bool
) -> None:
    """As after a kill at its end, when its copies may be away already."""
    if is_sent:
        enter(home, ledger, make_study(home, "good"))
        Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    study = make_study(home, "good")
    receive(home, ledger, study)
    before = ledger.study(key_of("good")).state, ledger.instance_counts()
    assert receive(home, ledger, study) == Intake(studies=0, instances=0, duplicates=2, late=0, files={})
    assert (ledger.study(key_of("good")).state, ledger.instance_counts()) == before


def test_more_files_send_a_waiting_study_back_whole(home: SiteHome, ledger: Ledger) -> None:
    receive(home, ledger, make_study(home, "good", files=2))
    ledger.advance(key_of("good"), State.INCLUDED)
    more = make_study(home, "good", files=4)
    intake = receive(home, ledger, more.model_copy(update={"instances": more.instances[2:]}))
    assert (intake.instances, ledger.study(key_of("good")).state) == (2, State.RECEIVED)
    assert len(Records(home).read(key_of("good"), Received).instances) == 4


def test_files_after_the_study_left_are_quarantined(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    receive(home, ledger, make_study(home, "good", files=2))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert receive(home, ledger, make_study(home, "good", files=3)).late == 1
    assert ledger.instance_counts() == {"quarantined": 1, "submitted": 2}
    assert ledger.study(key_of("good")).state is State.SUBMITTED
    assert list(home.spool.iterdir()) == []
    (late,) = (home.quarantine / "arrivals").iterdir()
    assert late.read_bytes() == b"good/2", "for the person who looks"
    assert late.name in (home.quarantine / "files.jsonl").read_text()


def test_a_file_system_without_links_keeps_late_images_too(
    home: SiteHome, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError

    receive(home, ledger, make_study(home, "good", files=1))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    monkeypatch.setattr("os.link", refuses)
    receive(home, ledger, make_study(home, "good", files=2))
    (late,) = (home.quarantine / "arrivals").iterdir()
    assert (late.read_bytes(), late.stat().st_mode & 0o077) == (b"good/1", 0)


def test_a_later_version_of_an_instance_quarantines_both(home: SiteHome, ledger: Ledger) -> None:
    receive(home, ledger, make_study(home, "good", files=2))
    later = make_study(home, "good", files=2)
    path = later.instances[0].path.with_name("0" * 32 + ".dcm")
    path.write_bytes(b"another version")
    changed = later.instances[0].model_copy(update={"path": path, "sha256": Sha256("0" * 64)})
    receive(home, ledger, later.model_copy(update={"instances": (changed,)}))
    assert len(Records(home).read(key_of("good"), Received).instances) == 1
    assert ledger.instance_counts() == {"quarantined": 2, "waiting": 1}
    contents = {path.read_bytes() for path in (home.quarantine / "arrivals").iterdir()}
    assert contents == {b"good/0", b"another version"}, "for the person who looks"


def test_a_study_without_an_image_to_trust_waits_for_a_person(home: SiteHome, ledger: Ledger) -> None:
    """Its only image arrived twice, with other bytes: nothing of it goes on, and the ledger has the reason."""
    receive(home, ledger, make_study(home, "good", files=1))
    later = make_study(home, "good", files=1)
    path = later.instances[0].path.with_name("0" * 32 + ".dcm")
    path.write_bytes(b"another version")
    changed = later.instances[0].model_copy(update={"path": path, "sha256": Sha256("0" * 64)})
    receive(home, ledger, later.model_copy(update={"instances": (changed,)}))
    entry = ledger.study(key_of("good"))
    assert (entry.state, entry.lead) == (State.QUARANTINED, "other-bytes")
    assert ledger.instance_counts() == {"quarantined": 2}


def another(home: SiteHome, content: bytes = b"another version") -> Received:
    """The study's first image, with other bytes."""
    later = make_study(home, "good", files=1)
    path = later.instances[0].path.with_name(f"{content.hex():0<32}"[:32] + ".dcm")
    path.write_bytes(content)
    changed = later.instances[0].model_copy(update={"path": path, "sha256": Sha256("0" * 64)})
    return later.model_copy(update={"instances": (changed,)})


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("killed", KILLED)
def test_a_kill_amid_a_conflict_changes_nothing(
    home: SiteHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, files: int, killed: str
) -> None:
    """Received again, the same images are in conflict again: neither version goes on."""
    receive(home, ledger, make_study(home, "good", files=files))
    with monkeypatch.context() as patched:
        patched.setattr(f"site_node.{killed}", _killed)
        with suppress(KeyboardInterrupt):
            receive(home, ledger, another(home))
    receive(home, ledger, another(home))
    instances = Records(home).read(key_of("good"), Received).instances
    paths = [instance.path for instance in instances if instance.path.exists()]
    assert sorted(path.read_bytes() for path in paths) == [f"good/{number}".encode() for number in range(1, files)]
    assert ledger.instance_counts()["quarantined"] == 2
    contents = {path.read_bytes() for path in (home.quarantine / "arrivals").iterdir()}
    assert contents == {b"good/0", b"another version"}


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_version_in_quarantine_does_not_come_back_with_others(home: SiteHome, ledger: Ledger) -> None:
    """A PACS sends the whole study again, with one image more: images that were in conflict stay out."""
    receive(home, ledger, make_study(home, "good", files=2))
    receive(home, ledger, another(home))
    receive(home, ledger, make_study(home, "good", files=3))
    instances = Records(home).read(key_of("good"), Received).instances
    assert sorted(instance.path.read_bytes() for instance in instances) == [b"good/1", b"good/2"]
    assert ledger.instance_counts() == {"quarantined": 2, "waiting": 2}


def test_versions_that_arrive_together_end_the_known_one_too(home: SiteHome, ledger: Ledger) -> None:
    """None of the three goes on; the other images of the study are still there."""
    receive(home, ledger, make_study(home, "good", files=2))
    both = (another(home).instances[0], another(home, b"a third").instances[0])
    versions = make_study(home, "good", files=1).model_copy(update={"instances": both})
    enter_reception(Reception(studies=(), refused=(), conflicts=(versions,), duplicates=0), home=home, ledger=ledger)
    (remaining,) = Records(home).read(key_of("good"), Received).instances
    assert (remaining.path.read_bytes(), ledger.study(key_of("good")).state) == (b"good/1", State.RECEIVED)
    assert ledger.instance_counts() == {"quarantined": 3, "waiting": 1}
    assert len(list((home.quarantine / "arrivals").iterdir())) == 3
    assert len(list((home.spool / key_of("good")).iterdir())) == 1


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("killed", [None, *KILLED])
def test_versions_of_a_new_image_are_kept_for_a_person(
    home: SiteHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, others: int, killed: str | None
) -> None:
    """Its study goes on without it, or waits where it has no other image; a kill changes nothing."""

    def together() -> Intake:
        study = make_study(home, "good", files=1 + others)
        first, *rest = study.instances
        versions = study.model_copy(update={"instances": (first, another(home).instances[0])})
        studies = (study.model_copy(update={"instances": tuple(rest)}),) if rest else ()
        refusals = tuple(refused(f"{name}.dcm", "other-bytes") for name in "ab")
        reception = Reception(studies=studies, refused=refusals, conflicts=(versions,), duplicates=0)
        return enter_reception(reception, home=home, ledger=ledger)

    if killed is not None:
        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            patched.setattr(f"site_node.{killed}", _killed)
            together()
    assert together().files == {"other-bytes": 2}
    assert ledger.study(key_of("good")).state is (State.RECEIVED if others else State.QUARANTINED)
    assert ledger.instance_counts() == {"quarantined": 2, **({"waiting": others} if others else {})}
    contents = {path.read_bytes() for path in (home.quarantine / "arrivals").iterdir()}
    assert contents == {b"good/0", b"another version"}
    assert [path.read_bytes() for path in (home.spool / key_of("good")).iterdir()] == [b"good/1"] * others
    assert ledger.file_counts() == {}, "each is counted once, as an image"


def test_versions_that_come_together_after_their_study_left_are_late(
    home: SiteHome, ledger: Ledger, tmp_path: Path
) -> None:
    """The one that was sent is no news."""
    receive(home, ledger, make_study(home, "good", files=2))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    study = make_study(home, "good", files=1)
    versions = study.model_copy(update={"instances": (*study.instances, *another(home).instances)})
    reception = Reception(studies=(), refused=(), conflicts=(versions,), duplicates=0)
    assert enter_reception(reception, home=home, ledger=ledger).late == 1
    assert ledger.instance_counts() == {"quarantined": 1, "submitted": 2}
    assert [path.read_bytes() for path in (home.quarantine / "arrivals").iterdir()] == [b"another version"]
    assert not list(home.spool.rglob("*.dcm"))


def test_another_patient_in_the_same_study_holds_it(home: SiteHome, ledger: Ledger) -> None:
    receive(home, ledger, make_study(home, "good", files=1))
    receive(home, ledger, make_study(home, "good", files=2, identity=Identity(issuer="", patient_id="other")))
    assert (ledger.study(key_of("good")).state, ledger.study(key_of("good")).lead) == (
        State.QUARANTINED,
        "mixed-patients",
    )


def test_images_without_a_patient_stay_so_named(home: SiteHome, ledger: Ledger) -> None:
    """More of them do not make several patients of nobody; one image with a patient does."""
    for files, identity, lead in ((1, None, "no-patient-id"), (2, None, "no-patient-id"), (3, "P1", "mixed-patients")):
        study = make_study(home, "good", files=files)
        known = Identity(issuer="", patient_id=identity) if identity else None
        held = {} if known else {study.key: NO_PATIENT_ID}
        named = study.model_copy(update={"identity": known})
        enter_reception(Reception(studies=(named,), held=held, refused=(), duplicates=0), home=home, ledger=ledger)
        assert (ledger.study(study.key).state, ledger.study(study.key).lead) == (State.QUARANTINED, lead)


def test_an_image_whose_copy_is_away_is_in_no_record(home: SiteHome, ledger: Ledger) -> None:
    """A stage that begins anew could not read it."""
    study = make_study(home, "good", files=2)
    receive(home, ledger, study)
    study.instances[0].path.unlink()
    more = make_study(home, "good", files=3)
    more.instances[0].path.unlink()
    receive(home, ledger, more.model_copy(update={"instances": more.instances[2:]}))
    instances = Records(home).read(key_of("good"), Received).instances
    assert [instance.name for instance in instances] == [instance.name for instance in more.instances[1:]]


def test_an_excluded_study_with_new_files_is_screened_again(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    receive(home, ledger, make_study(home, "excluded", files=1))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert receive(home, ledger, make_study(home, "excluded", files=2)).studies == 1
    assert ledger.study(key_of("excluded")).state is State.RECEIVED


def test_refused_files_are_counted_once_and_named_for_the_person(home: SiteHome, ledger: Ledger) -> None:
    reception = Reception(studies=(), refused=(refused("DOE/letter.txt", "not-dicom"),), duplicates=0)
    enter_reception(reception, home=home, ledger=ledger)
    assert enter_reception(reception, home=home, ledger=ledger).files == {"not-dicom": 1}
    assert ledger.file_counts() == {("refused", "not-dicom"): 1}
    names = home.quarantine / "files.jsonl"
    assert "DOE/letter.txt" in names.read_text()
    assert names.stat().st_mode & 0o077 == 0


def test_versions_of_an_image_that_is_not_here_leave_a_study_as_it_is(home: SiteHome, ledger: Ledger) -> None:
    """However far it came."""
    receive(home, ledger, make_study(home, "good", files=1))
    ledger.advance(key_of("good"), State.INCLUDED)
    before = ledger.study(key_of("good"))
    other = make_study(home, "good", files=2).instances[1]
    withdraw(key_of("good"), [other], home, ledger)
    assert ledger.study(key_of("good")).is_as(before)
