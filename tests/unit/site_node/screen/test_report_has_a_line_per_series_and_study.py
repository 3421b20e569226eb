"""What `screen --json` prints: one object a series and one a study."""

from pathlib import Path
from typing import Any

from shared.ids import Sha256, StudyKey
from shared.protocol.criteria import Criteria
from shared.protocol.loader import load_criteria
from site_node.screen.decide import assess
from site_node.screen.report import Line, UnassignedFile, study_lines, unassigned_lines
from site_node.study import Identity, Instance, Reason, Received, Severity
from tests.factories.dicom import make_ct, write_file

RICORD = load_criteria("ricord")
CUT = Reason(code="truncated", message="The file ends before its data do.", severity=Severity.REJECT)


def received(folder: Path, datasets: list[Any]) -> Received:
    instances = []
    for number, dataset in enumerate(datasets):
        path = folder / f"{number}.dcm"
        write_file(dataset, path)
        instance = Instance(
            path=path,
            size=1,
            sha256=Sha256("0" * 64),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            sop_class_uid=str(dataset.SOPClassUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )
        instances.append(instance)
    return Received(
        key=StudyKey("0" * 32), study_instance_uid=str(datasets[0].StudyInstanceUID),
        identity=Identity(issuer="", patient_id="P"), instances=tuple(instances),
    )  # fmt: skip


def lines(folder: Path, criteria: Criteria = RICORD, *, checked: bool = False, **more: Any) -> list[Line]:
    study = received(folder, make_ct(slices=8, rows=16))
    assessment = assess(study, criteria=criteria, clinical=None, clinical_checked=checked)
    return study_lines(assessment, criteria, checked=checked, **more)


def test_one_object_a_series_and_one_a_study_with_the_fields_agreed(tmp_path: Path) -> None:
    series, study = lines(tmp_path)
    assert study["series"] is None
    assert series["series"]
    assert study["study"] == series["study"]
    for line in (series, study):
        assert set(line) == {"study", "series", "outcome", "reasons"}
        for reason in line["reasons"]:
            assert {"code", "severity", "attribute", "message"} <= set(reason) <= {
                "code", "severity", "attribute", "message", "instance",
            }  # fmt: skip


def test_without_a_sheet_covid_status_and_linkage_are_not_checked_and_decide_nothing(tmp_path: Path) -> None:
    *_, study = lines(tmp_path)
    not_checked = {reason["code"] for reason in study["reasons"] if reason["severity"] == "not_checked"}
    assert not_checked == {"covid-status", "linkage"}
    assert study["outcome"] in {"accept", "warn"}
    *_, study = lines(tmp_path, checked=True)
    assert study["outcome"] == "review"
    assert not [reason for reason in study["reasons"] if reason["severity"] == "not_checked"]
    *_, study = lines(tmp_path, RICORD.model_copy(update={"covid": None, "linkage": None}))
    assert not [reason for reason in study["reasons"] if reason["severity"] == "not_checked"]


def test_a_file_that_was_cut_off_holds_its_series_and_study(tmp_path: Path) -> None:
    """It was refused on receipt but names its study, and a person must know of it."""
    dataset = make_ct(slices=9, rows=16)[8]
    uids = {"study": dataset.StudyInstanceUID, "series": dataset.SeriesInstanceUID, "instance": dataset.SOPInstanceUID}
    review = CUT.model_copy(update={"severity": Severity.REVIEW})
    refused = UnassignedFile(**uids, reason=review)
    assert "1." not in repr(refused)
    series, study = lines(tmp_path, unassigned=[refused])
    assert series["outcome"] == study["outcome"] == "review"
    (cut,) = [reason for reason in series["reasons"] if reason["code"] == "truncated"]
    assert (cut["instance"], cut["severity"]) == (str(dataset.SOPInstanceUID), "review")


def test_a_study_whose_files_were_all_refused_has_its_lines_too() -> None:
    review = CUT.model_copy(update={"severity": Severity.REVIEW})
    unassigned = [
        UnassignedFile(study="1.2", series=series, instance="1.2.3", reason=review)
        for series in ("1.5", "1.4", "1.5", "")
    ]
    shown = unassigned_lines("1.2", RICORD, unassigned, checked=True)
    assert [(line["series"], line["outcome"]) for line in shown] == [
        ("1.4", "review"),
        ("1.5", "review"),
        (None, "review"),
    ]


def test_a_study_that_a_person_must_see_first_is_under_review(tmp_path: Path) -> None:
    no_patient = Reason(code="no-patient-id", message="The study has no PatientID.", severity=Severity.REVIEW)
    *_, study = lines(tmp_path, held_reason=no_patient)
    assert study["outcome"] == "review"
    assert study["reasons"][0]["code"] == "no-patient-id"


def test_each_image_that_is_left_out_stands_in_its_series_with_why(tmp_path: Path) -> None:
    """By its UID; a series of which nothing is left is rejected, whatever was refused of it, and so is its study."""
    volume = make_ct(slices=8, rows=16)
    scouts = make_ct(plane="scout", slices=2, rows=16, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    for number, dataset in enumerate([*volume, *scouts]):
        dataset.SOPInstanceUID = f"1.2.{number}"
    uid = str(scouts[0].SeriesInstanceUID)
    refused = UnassignedFile(
        study="1.2", series=uid, instance="1.2.9", reason=CUT.model_copy(update={"severity": Severity.REVIEW})
    )
    held = Reason(code="no-patient-id", message="The study has no PatientID.", severity=Severity.REVIEW)
    for datasets, outcome in (([*volume, *scouts], "review"), (scouts, "reject")):
        (folder := tmp_path / outcome).mkdir()
        assessment = assess(received(folder, datasets), criteria=RICORD, clinical=None, clinical_checked=False)
        *by_series, study = study_lines(assessment, RICORD, checked=False, unassigned=[refused], held_reason=held)
        [line] = [line for line in by_series if line["series"] == uid]
        shown = [(why["instance"], why["code"]) for why in line["reasons"] if "instance" in why]
        assert shown == [("1.2.8", "localizer"), ("1.2.9", "localizer"), ("1.2.9", "truncated")]
        assert (line["outcome"], study["outcome"]) == ("reject", outcome)
        assert {"localizer", "truncated", "no-patient-id"} <= {why["code"] for why in study["reasons"]}
        assert len({tuple(why.items()) for why in study["reasons"]}) == len(study["reasons"])


def test_refused_files_of_a_series_that_is_not_there_are_a_series_of_their_own(tmp_path: Path) -> None:
    """Beside those that are there; a file without a series stands with the study alone."""
    review = CUT.model_copy(update={"severity": Severity.REVIEW})
    unassigned = [
        UnassignedFile(study="1.2", series=series, instance=f"1.3.{number}", reason=review)
        for number, series in enumerate(("1.5", "", "1.5"))
    ]
    present, refused, study = lines(tmp_path, unassigned=unassigned)
    assert [why["instance"] for why in refused["reasons"]] == ["1.3.0", "1.3.2"]
    assert (refused["series"], refused["outcome"], study["outcome"]) == ("1.5", "review", "review")
    assert "truncated" not in {why["code"] for why in present["reasons"]}
    assert [why["code"] for why in study["reasons"]].count("truncated") == 1
    for checked, expected in ((True, []), (False, ["covid-status", "linkage"])):
        *_, study = unassigned_lines("1.2", RICORD, unassigned, checked=checked)
        assert [why["code"] for why in study["reasons"]] == ["truncated", *expected]
    shown = repr(unassigned)
    assert not any(text in shown for text in ("1.2", "1.3", "1.5"))
