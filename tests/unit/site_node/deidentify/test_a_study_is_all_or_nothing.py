"""The stage as a whole: all or nothing for a study, names and times that reveal nothing, the same output every time."""

import os
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from shared.errors.storage import DiskFull
from site_node.deidentify import output, study
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.deidentify.study import deidentify
from site_node.reasons import catalogue
from site_node.study import Deidentified, Ending, Included, Refused
from tests.factories.deidentified import PROFILE, PSEUDONYMS, run_study
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_included, make_received, make_study


def run(included: Included, out: Path) -> Deidentified | Refused:
    return deidentify(included, profile=PROFILE, pseudonyms=PSEUDONYMS, out=out, clinical={"age": 50})


def done(result: Deidentified | Refused) -> Deidentified:
    assert isinstance(result, Deidentified), result
    return result


def left_out(result: Deidentified | Refused) -> list[str]:
    return [entry.reasons[0].code for entry in done(result).left_out]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_study_comes_out_under_new_names(tmp_path: Path) -> None:
    """Every file lies at series/instance under new UIDs, is what the result says, and has the time of all others."""
    included = make_included(make_study(tmp_path / "spool", "ct"))
    result = done(run(included, tmp_path / "out"))
    assert len(result.instances) == len(included.kept)
    for instance in result.instances:
        assert instance.path == (tmp_path / "out" / instance.series_instance_uid / f"{instance.sop_instance_uid}.dcm")
        assert instance.path.stat().st_size == instance.size
        assert instance.path.stat().st_mtime == output.MTIME
        assert instance.sop_instance_uid == PSEUDONYMS.uid(instance.source.sop_instance_uid)
    assert result.study_instance_uid == PSEUDONYMS.uid(included.study.study_instance_uid)
    assert (result.clinical, result.profile_digest) == ({"age": 50}, PROFILE.digest)
    assert names(tmp_path) == ["out", "spool"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """A rerun is idempotent."""
    included = make_included(make_study(tmp_path / "spool", "ct"))
    first, second = (done(run(included, tmp_path / name)) for name in ("one", "two"))
    contents = [[instance.path.read_bytes() for instance in result.instances] for result in (first, second)]
    assert contents[0] == contents[1]


def test_sources_are_never_changed(tmp_path: Path) -> None:
    """The received files stay as they were."""
    included = make_included(make_study(tmp_path / "spool", "ct"))
    before = [instance.path.read_bytes() for instance in included.kept]
    run(included, tmp_path / "out")
    assert [instance.path.read_bytes() for instance in included.kept] == before


def test_one_bad_instance_is_left_out(tmp_path: Path) -> None:
    """The others go on, and the one left out has its reason."""
    datasets = make_ct()
    datasets[1].BurnedInAnnotation = "YES"
    result = done(run_study(tmp_path, datasets))
    assert len(result.instances) == len(datasets) - 1
    assert left_out(result) == ["burned-in-annotation"]


@pytest.mark.parametrize(
    ("change", "ending"),
    [({"BurnedInAnnotation": "YES"}, Ending.QUARANTINED), ({"SOPClassUID": "1.2.3"}, Ending.REFUSED)],
)
def test_nothing_left_is_a_refusal(tmp_path: Path, change: dict[str, str], ending: Ending) -> None:
    """A study without an instance is quarantined if a person could save one, else refused; no folder is left."""
    result = run_study(tmp_path, [make_dx(**change)])  # type: ignore[arg-type]  # attribute changes are any
    assert isinstance(result, Refused)
    assert result.ending is ending
    assert names(tmp_path) == ["spool"]


def test_no_patient_id_is_quarantined(tmp_path: Path) -> None:
    """Unknown patients are never merged."""
    result = run_study(tmp_path, [make_dx(PatientID=None)])
    assert isinstance(result, Refused)
    assert (result.ending, result.reasons[0].code) == (Ending.QUARANTINED, "no-identity")


def test_another_patients_file_does_not_come_along(tmp_path: Path) -> None:
    """A file whose own PatientID is another's waits for a person."""
    datasets = make_ct()
    datasets[2].PatientID = "somebody else"
    assert left_out(run_study(tmp_path, datasets)) == ["other-patient"]


@pytest.mark.parametrize("padded_id", [" P7", "P7 ", "P7"])
def test_padding_makes_no_other_patient(tmp_path: Path, padded_id: str) -> None:
    """`" P7"` and `"P7 "` are one patient."""
    plain = done(run_study(tmp_path / "a", [make_dx(PatientID="P7")]))
    assert done(run_study(tmp_path / "b", [make_dx(PatientID=padded_id)])).patient == plain.patient


def test_two_instances_of_one_name_do_not_overwrite(tmp_path: Path) -> None:
    """The second waits for a person."""
    datasets = make_ct(slices=2)
    datasets[1].SOPInstanceUID = datasets[0].SOPInstanceUID
    assert left_out(run_study(tmp_path, datasets)) == ["same-new-name"]


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    """Receiving and rewriting must read the same file."""
    included = make_included(make_study(tmp_path / "spool"))
    with included.kept[0].path.open("ab") as file:
        file.write(bytes(16))
    result = run(included, tmp_path / "out")
    assert isinstance(result, Refused)
    assert result.reasons[0].code == "changed-while-reading"


def test_a_source_that_vanished_is_refused(tmp_path: Path) -> None:
    """A reason, not a traceback."""
    included = make_included(make_study(tmp_path / "spool"))
    included.kept[0].path.unlink()
    assert isinstance(run(included, tmp_path / "out"), Refused)


def test_a_crash_leaves_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the last rename, there is no folder of the study's name, and the next run makes it whole."""
    included = make_included(make_study(tmp_path / "spool", "ct"))

    class _Killed(BaseException):
        """Not an exception anyone catches."""

    def killed(partial: Path, out: Path) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(study, "publish_folder", killed)
        with pytest.raises(_Killed):
            run(included, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / ".out.unfinished" / "left").mkdir(parents=True)
    assert len(done(run(included, tmp_path / "out")).instances) == len(included.kept)
    assert names(tmp_path) == ["out", "spool"]


def test_a_full_disk_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not the file's fault: the stage ends with an error and leaves nothing."""
    included = make_included(make_study(tmp_path / "spool"))

    def full(folder: Path) -> None:
        raise DiskFull(folder=str(folder))

    monkeypatch.setattr("site_node.deidentify.study.sync_filesystem", full)
    with pytest.raises(DiskFull):
        run(included, tmp_path / "out")
    assert names(tmp_path) == ["spool"]


def test_the_kernel_may_not_copy_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without `copy_file_range` are copied by `sendfile`, to the same bytes."""
    included = make_included(make_study(tmp_path / "spool"))
    first = done(run(included, tmp_path / "one"))

    def unknown(*_: object, **__: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "copy_file_range", unknown)
    second = done(run(included, tmp_path / "two"))
    assert second.instances[0].path.read_bytes() == first.instances[0].path.read_bytes()


def test_references_between_studies_resolve(tmp_path: Path) -> None:
    """A reference from one study to another's instance still resolves, though they run separately."""
    target = make_dx(study="first")
    first = done(run_study(tmp_path / "a", [target]))
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = target.SOPInstanceUID
    second = run_study(tmp_path / "b", [make_dx(study="second", SourceImageSequence=[reference])])
    new = pydicom.dcmread(done(second).instances[0].path)
    assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == first.instances[0].sop_instance_uid


@pytest.mark.parametrize("code", [code for code, meaning in catalogue().items() if meaning.severity])
def test_every_reason_is_a_sentence(code: str) -> None:
    """Each code has an ending, a sentence and the public text of its error."""
    ending, reason = reason_of(unsupported(code, "Rows"))
    assert ending in {Ending.REFUSED, Ending.QUARANTINED}
    assert (reason.code, reason.attribute) == (code, "Rows")
    assert reason.message in unsupported(code).public


def test_nothing_is_left_out_without_a_reason(tmp_path: Path) -> None:
    """A study of good files comes out whole."""
    received = make_received(tmp_path / "spool", make_ct())
    result = done(run(make_included(received), tmp_path / "out"))
    assert result.left_out == ()


def test_an_image_that_says_it_shows_text_goes_on_only_to_a_search(tmp_path: Path) -> None:
    """BurnedInAnnotation YES stays and goes on to the search for text; without a search the study stops here."""
    included = make_included(make_received(tmp_path / "spool", [make_dx(BurnedInAnnotation="YES")]))
    assert isinstance(run(included, tmp_path / "without"), Refused)
    result = deidentify(included, profile=PROFILE, pseudonyms=PSEUDONYMS, out=tmp_path / "with", searched=True)
    assert pydicom.dcmread(done(result).instances[0].path).BurnedInAnnotation == "YES"
