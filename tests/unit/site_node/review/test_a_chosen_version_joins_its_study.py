"""A version that a person chose joins the other images of its study, once and for its patient; the rest stays apart."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from shared.durable import sync_folder
from shared.errors.inputs import InvalidArgument, NotFound
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import NOT_CHOSEN, OTHER_BYTES, Ledger, State
from site_node.home.records import Records
from site_node.node.intake import enter_reception
from site_node.pseudonyms.names import KeyedNames
from site_node.receive.folder import receive_folder
from site_node.review import versions
from site_node.review.decisions import choose, show
from site_node.review.versions import ImageVersions, versions_of
from site_node.study import Received, Severity
from tests.factories.dicom import make_ct, write_file
from tests.factories.pipeline import make_home, reason

WARDS = ("North", "East", "South")  # in which the versions of an image differ
Site = tuple[SiteHome, Ledger]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    home = make_home(tmp_path / "home")
    with closing(Ledger(home.ledger, durable=False)) as ledger:
        yield home, ledger


def receive(site: Site, tmp_path: Path, *counts: int, **changes: str) -> StudyKey:
    """A study with so many versions of each of its images; of the last versions something more is changed."""
    home, ledger = site
    for number, count in enumerate(counts):
        for version in range(count):
            dataset = make_ct(slices=len(counts), rows=8)[number]
            dataset.CurrentPatientLocation = WARDS[version]
            for name, value in changes.items() if version and version == count - 1 else ():
                setattr(dataset, name, value)
            write_file(dataset, tmp_path / "in" / f"{number}-{version}.dcm")
    reception = receive_folder(tmp_path / "in", home.spool, KeyedNames(b"s" * 32))
    enter_reception(reception, home=home, ledger=ledger)
    (entry,) = ledger.studies()
    return entry.key


def choose_last(site: Site, key: StudyKey, image: ImageVersions) -> str:
    """Choose the version from the last ward, which is what was changed."""
    home, ledger = site
    arrived = home.quarantine / "arrivals"
    (name,) = [name for name in image.names if WARDS[len(image.names) - 1].encode() in _bytes(arrived, name)]
    assert choose(home, ledger, key, name, actor="dr", reason="asked the ward") == (key, name)
    return name


def _bytes(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.dcm").read_bytes()


def recorded(site: Site, key: StudyKey) -> list[str]:
    """The names of the images that go on, each as often as it does; every one of them lies in the spool."""
    home, _ = site
    instances = Records(home).read(key, Received).instances
    assert {instance.path for instance in instances} == set((home.spool / key).iterdir())
    return [instance.name for instance in instances]


def test_of_each_image_just_what_was_chosen_goes_on(site: Site, tmp_path: Path) -> None:
    """A choice concerns one image: of the other the versions still wait, and what was not chosen stays out for good."""
    home, ledger = site
    key = receive(site, tmp_path, 3, 1, 2)
    (rest,) = recorded(site, key)
    first, second = sorted(versions_of(home, ledger, key), key=lambda image: len(image.names), reverse=True)
    assert (len(first.names), len(second.names)) == (3, 2)
    assert [len(image.differences) for image in (first, second)] == [2, 1]
    chosen = choose_last(site, key, first)
    assert sorted(recorded(site, key)) == sorted([rest, chosen])
    assert versions_of(home, ledger, key) == (second,)
    assert ledger.names(key, NOT_CHOSEN) == {*first.names} - {chosen}
    last = choose_last(site, key, second)
    assert sorted(recorded(site, key)) == sorted([rest, chosen, last])
    assert versions_of(home, ledger, key) == ()
    assert (ledger.study(key).state, ledger.image_count(key)) == (State.RECEIVED, 3)


def test_a_study_of_versions_alone_grows_by_each_choice(site: Site, tmp_path: Path) -> None:
    """It goes on with what was chosen so far, and with nothing that still waits."""
    home, ledger = site
    key = receive(site, tmp_path, 2, 2)
    assert (ledger.study(key).state, ledger.study(key).lead) == (State.QUARANTINED, OTHER_BYTES)
    names = list[str]()
    for image in versions_of(home, ledger, key):
        names.append(choose_last(site, key, image))
        assert sorted(recorded(site, key)) == sorted(names)
        assert ledger.study(key).state is State.RECEIVED


def test_what_differs_is_shown_by_name_and_its_values_nowhere_else(site: Site, tmp_path: Path) -> None:
    """In what is printed, logged or written of it; a version whose file a person removed is no longer compared."""
    home, ledger = site
    key = receive(site, tmp_path, 3, PatientBirthDate="19610515")
    (image,) = versions_of(home, ledger, key)
    assert set(image.attributes) == {"CurrentPatientLocation", "PatientBirthDate"}
    values = {value for pair in image.differences for difference in pair for value in difference.values}
    assert {*WARDS, "19610515"} <= values
    case = show(home, ledger, key)
    assert case.versions == (image,)
    for text in (repr(image), image.model_dump_json(), repr(case), case.model_dump_json()):
        assert not any(value in text for value in (*WARDS, "19610515", "Difference("))
    (home.quarantine / "arrivals" / f"{image.names[0]}.dcm").unlink()
    assert [left.names for left in versions_of(home, ledger, key)] == [image.names[1:]]


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, ""), ({"PatientID": "ELSE"}, "mixed-patients"), ({"PatientID": ""}, "no-patient-id")],
    ids=["same", "another", "none"],
)
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_it_waits_for_what_it_waited_for_or_for_another_patient(
    site: Site, tmp_path: Path, *, change: dict[str, str], code: str, held: bool, others: int
) -> None:
    """A choice lifts no other reason of a person's, and joins no two patients, however the study came to be held."""
    home, ledger = site
    key = receive(site, tmp_path, 2, *[1] * others, **change)
    if held:
        look = (reason("look", Severity.REVIEW), *ledger.study(key).reasons)
        ledger.advance(key, State.QUARANTINED, reasons=look)
    (image,) = versions_of(home, ledger, key)
    choose_last(site, key, image)
    record = Records(home).read(key, Received)
    is_mixed = bool(code) and (others > 0 or code == "no-patient-id")
    assert (record.identity is None) == is_mixed
    if not is_mixed:
        assert record.identity is not None
        assert record.identity.patient_id == change.get("PatientID", make_ct()[0].PatientID)
    entry = ledger.study(key)
    wanted = ["look"] if held else [code] if is_mixed else []
    assert [why.code for why in entry.reasons] == wanted
    assert entry.state is (State.QUARANTINED if wanted else State.RECEIVED)


def test_a_study_that_an_error_refused_begins_again(site: Site, tmp_path: Path) -> None:
    """With the chosen image among its own, and without the reason for which it ended."""
    home, ledger = site
    key = receive(site, tmp_path, 2, 1)
    ledger.advance(key, State.REFUSED, reasons=(reason("corrupt"),))
    (image,) = versions_of(home, ledger, key)
    choose_last(site, key, image)
    assert (ledger.study(key).state, ledger.study(key).reasons) == (State.RECEIVED, ())


def test_a_study_whose_images_are_deleted_is_received_again_first(site: Site, tmp_path: Path) -> None:
    """Nothing is chosen, and no event says so."""
    home, ledger = site
    key = receive(site, tmp_path, 2, 1)
    (image,) = versions_of(home, ledger, key)
    (home.work(key) / "received.json").unlink()
    with pytest.raises(InvalidArgument, match="receive it again"):
        choose(home, ledger, key, image.names[0], actor="dr", reason="why")
    assert versions_of(home, ledger, key) == (image,)
    assert ledger.events() == ()


def test_a_version_is_chosen_by_a_name_of_its_own(site: Site, tmp_path: Path) -> None:
    """No other image's, though it is of the study."""
    home, ledger = site
    key = receive(site, tmp_path, 2, 1)
    for name in (*recorded(site, key), "0" * 32):
        with pytest.raises(NotFound):
            choose(home, ledger, key, name, actor="dr", reason="why")
    assert len(versions_of(home, ledger, key)) == 1


@pytest.mark.parametrize("links", [False, True])
def test_a_choice_that_was_cut_short_is_made_again(
    site: Site, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image lies in the spool, by a link or as a copy for nobody else to read, before any record names it."""
    home, ledger = site
    key = receive(site, tmp_path, 2)
    (home.spool / key).rmdir()
    (image,) = versions_of(home, ledger, key)
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EPERM, "no links here")))
    steps = Mock()
    steps.sync.side_effect, steps.write.side_effect = sync_folder, InterruptedError
    with monkeypatch.context() as patch:
        patch.setattr(versions, "sync_folder", steps.sync)
        patch.setattr(Records, "write", steps.write)
        with pytest.raises(InterruptedError):
            choose_last(site, key, image)
    assert [name for name, *_ in steps.mock_calls] == ["sync", "write"]
    assert steps.sync.call_args.args == (home.spool / key,)
    assert versions_of(home, ledger, key) == (image,)
    name = choose_last(site, key, image)
    assert recorded(site, key) == [name]
    assert (home.spool / key).stat().st_mode & 0o777 == 0o700
    assert (home.spool / key / f"{name}.dcm").stat().st_mode & 0o777 == 0o600
