"""Of several versions of an image `review show` says what differs, and `review choose` lets one go on."""

import json
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.records import Records
from site_node.study import Received
from tests.factories.dicom import make_ct, write_file
from tests.unit.site_node.commands.conftest import Run

SECRET = "19610515"


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return tmp_path / "home"


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"PatientBirthDate": SECRET}, {}),
        ({"PatientID": "ELSE"}, {2: "mixed-patients"}),
        ({"PatientID": ""}, {1: "no-patient-id", 2: "no-patient-id"}),
    ],
    ids=["same", "another", "none"],
)
def test_versions_of_one_folder_are_chosen_among_too(
    run: Run, home: Path, slices: int, change: dict[str, str], ends: dict[int, str]
) -> None:
    """The chosen one goes on with its study, unless their patients differ: then the study still waits.

    The same folder again changes nothing.
    """
    folder = home.parent / "in"
    for number, dataset in enumerate(make_ct(slices=2)[:slices]):
        write_file(dataset, folder / f"{number}.dcm")
    version = make_ct(slices=2)[0]
    for name, value in change.items():
        setattr(version, name, value)
    write_file(version, folder / "version.dcm")
    answer = json.loads(run("--home", home, "receive", folder, "--json")[1])
    assert (answer["instances"], answer["files"]) == (slices - 1, {"other-bytes": 2})
    key, images, counts = recorded(home)
    assert (len(images), counts["quarantined"]) == (slices - 1, 2)
    (image,) = json.loads(run("--home", home, "review", "show", key, "--json")[1])["versions"]
    chosen = next(name for name in image["names"] if _is_version(home, name, change))
    assert run("--home", home, "review", "choose", key, chosen, "--reason", "asked the ward")[0] == 0
    assert recorded(home)[1] == images | {chosen}
    why = ends.get(slices, "")
    waiting = json.loads(run("--home", home, "review", "list", "--json")[1])
    assert [reason["code"] for item in waiting for reason in item["reasons"]] == ([why] if why else [])
    answer = json.loads(run("--home", home, "receive", folder, "--json")[1])
    assert (answer["studies"], answer["instances"], answer["files"]) == (0, 0, {})
    assert recorded(home)[1] == images | {chosen}


def _is_version(home: Path, name: str, change: dict[str, str]) -> bool:
    """Whether an image in quarantine is the one with the change."""
    image = dcmread(home / "quarantine" / "arrivals" / f"{name}.dcm")
    return all(str(image.get(attribute)) == value for attribute, value in change.items())


def receive(run: Run, home: Path, birth_date: str, slices: int, syntax: str = ExplicitVRLittleEndian) -> str:
    """Receive the first slices of always the same study; the first with this birth date. Return the answer."""
    folder = home.parent / "in"
    for number, dataset in enumerate(make_ct(slices=2)[:slices]):
        if number == 0:
            dataset.PatientBirthDate = birth_date
        write_file(dataset, folder / f"{number}.dcm", syntax)
    code, out, _ = run("--home", home, "receive", folder, "--json")
    assert code == 0
    return out


def recorded(home: Path) -> tuple[str, set[str], dict[str, int]]:
    """The only study's key, its images by opaque name, and the ledger's counts."""
    ledger = Ledger(SiteHome(home).ledger)
    ((entry),) = ledger.studies()
    record = Records(SiteHome(home)).read(entry.key, Received)
    counts = ledger.instance_counts()
    ledger.close()
    return entry.key, {instance.name for instance in record.instances if instance.path.exists()}, counts


@pytest.mark.parametrize("slices", [1, 2])
def test_a_version_is_shown_by_attribute_and_chosen_by_name(run: Run, home: Path, slices: int) -> None:
    """The chosen one goes on and the other stays out, also when either comes again, in whatever encoding."""
    receive(run, home, "19610514", slices)
    receive(run, home, SECRET, slices)
    key, images, counts = recorded(home)
    assert (len(images), counts["quarantined"]) == (slices - 1, 2)
    assert key in run("--home", home, "review", "list")[1]
    _, shown, logged = run("--home", home, "review", "show", key)
    assert "PatientBirthDate" in shown
    assert SECRET not in shown + logged, "values are for a terminal alone"
    (image,) = json.loads(run("--home", home, "review", "show", key, "--json")[1])["versions"]
    assert (image["attributes"], len(image["names"])) == (["PatientBirthDate"], 2)
    chosen, other = image["names"]
    assert run("--home", home, "review", "choose", key, chosen[:12], "--reason", "asked the ward")[0] == 0
    after = recorded(home)
    assert chosen in after[1]
    assert other not in after[1]
    assert len(after[1]) == slices
    assert "asked the ward" in run("--home", home, "review", "audit", "--json")[1]
    for birth_date in ("19610514", SECRET):
        answer = json.loads(receive(run, home, birth_date, slices))
        assert (answer["instances"], answer["files"]) == (0, {})
    assert recorded(home)[1] == after[1]
    assert run("--home", home, "review", "choose", key, other[:12], "--reason", "again")[0] != 0


@pytest.mark.parametrize(("image", "reason"), [("ffffffffffff", "why"), ("ff", "why"), ("", "why"), (None, " ")])
def test_what_names_no_version_or_gives_no_reason_changes_nothing(
    run: Run, home: Path, image: str | None, reason: str
) -> None:
    """Nothing is chosen by a short name, by another's, or without a word why."""
    receive(run, home, "19610514", 2)
    receive(run, home, SECRET, 2)
    key, *before = recorded(home)
    (versions,) = json.loads(run("--home", home, "review", "show", key, "--json")[1])["versions"]
    name = versions["names"][0] if image is None else image
    assert run("--home", home, "review", "choose", key, name, "--reason", reason)[0] != 0
    assert list(recorded(home)[1:]) == before


def test_another_encoding_is_no_other_version(run: Run, home: Path) -> None:
    """Nothing waits for a person."""
    receive(run, home, "19610514", 2)
    assert json.loads(receive(run, home, "19610514", 2, ExplicitVRBigEndian))["duplicates"] == 2
    assert json.loads(run("--home", home, "review", "list", "--json")[1]) == []
