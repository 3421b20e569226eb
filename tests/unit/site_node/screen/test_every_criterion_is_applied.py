"""Every rule of RICORD's inclusion table, planted one at a time in otherwise good studies."""

from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from shared.protocol.criteria import Criteria
from site_node.dicom.patient_age import age_between, parse_age
from site_node.screen.decide import assess, screen
from site_node.screen.series import kind_of
from site_node.study import ClinicalRow, Ending, Excluded, Included, NoRowReason, Received, Review
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_received

DATA = Path(__file__).resolve().parents[4] / "shared" / "protocol" / "data" / "criteria"
RICORD = Criteria.from_toml((DATA / "ricord.toml").read_text(encoding="utf-8"))
GOOD_ROW = {
    "covid_status": "positive",
    "covid_method": "rt-pcr",
    "covid_timing": "during-admission",
    "age": None,
    "sex": None,
}


def _decide(study: Received, criteria: Criteria = RICORD) -> Included | Review | Excluded:
    return screen(study, criteria=criteria, clinical=None, clinical_checked=False)


def _codes(decided: Included | Review | Excluded) -> set[str]:
    reasons = decided.warnings if isinstance(decided, Included) else decided.reasons
    return {why.code for why in reasons}


def test_a_good_film_and_a_good_volume_are_included_whole(tmp_path: Path) -> None:
    for name, datasets in (("film", [make_dx()]), ("volume", make_ct())):
        decided = _decide(make_received(tmp_path / name, datasets))
        assert isinstance(decided, Included), _codes(decided)
        assert len(decided.kept) == len(datasets)
        assert not decided.warnings


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"Modality": "MR"}, Excluded, "modality"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Excluded, "sop-class"),
        ({"ViewPosition": "LL"}, Excluded, "view"),
        ({"ViewPosition": "", "SeriesDescription": "Chest lat."}, Excluded, "view"),
        ({"ViewPosition": "AP", "SeriesDescription": "Chest lateral"}, Review, "view-conflict"),
        ({"ViewPosition": "", "SeriesDescription": "", "StudyDescription": "Chest"}, Review, "view-unknown"),
        ({"BodyPartExamined": "", "SeriesDescription": "PA", "StudyDescription": ""}, Review, "region-unknown"),
        ({"BodyPartExamined": "ABDOMEN", "SeriesDescription": "Chest PA"}, Review, "region-conflict"),
        (
            {"BodyPartExamined": "CHEST", "SeriesDescription": "Hand PA", "StudyDescription": ""},
            Review,
            "region-conflict",
        ),
        ({"BodyPartExamined": "BREAST", "SeriesDescription": "PA", "StudyDescription": ""}, Review, "region-unlikely"),
        (
            {"BodyPartExamined": "ABDOMEN", "SeriesDescription": "Abdomen AP", "StudyDescription": ""},
            Excluded,
            "region",
        ),
        ({"PatientBirthDate": "20190101", "StudyDate": "20200601", "PatientAge": None}, Excluded, "under-age"),
        ({"PatientBirthDate": "20190101", "StudyDate": "20200601", "PatientAge": "045Y"}, Review, "age-conflict"),
        ({"PatientBirthDate": "", "PatientAge": "000Y"}, Review, "age-placeholder"),
        ({"PatientBirthDate": "", "PatientAge": "999Y"}, Review, "age-placeholder"),
        ({"PatientBirthDate": "", "PatientAge": "018M"}, Excluded, "under-age"),
        ({"PatientBirthDate": "", "PatientAge": "003W"}, Excluded, "under-age"),
        ({"PatientBirthDate": "", "PatientAge": ""}, Review, "age-missing"),
    ],
)
def test_a_film_with_one_flaw_ends_as_the_table_says(
    tmp_path: Path, changes: dict[str, object], kind: type, code: str
) -> None:
    film = make_dx(AnatomicRegionSequence=None, **changes)  # type: ignore[arg-type]  # attribute changes are any
    decided = _decide(make_received(tmp_path, [film]))
    assert isinstance(decided, kind), _codes(decided)
    assert code in _codes(decided)


def test_views_are_read_from_codes_and_descriptions_where_the_position_is_empty(tmp_path: Path) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "399348003", "SCT"
    coded = make_dx(ViewPosition="", SeriesDescription="", StudyDescription="Chest", ViewCodeSequence=Sequence([code]))
    spoken = make_dx(ViewPosition="", SeriesDescription="Thorax portable", StudyDescription="")
    for name, dataset in (("coded", coded), ("spoken", spoken)):
        assert isinstance(_decide(make_received(tmp_path / name, [dataset])), Included)


def test_scouts_coronals_and_laterals_are_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A study may be included in part; what is left out says why, and by which rule."""
    datasets = [
        *make_ct(),
        *make_ct(plane="coronal"),
        *make_ct(plane="scout", slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        make_dx(view="LL"),
    ]
    decided = _decide(make_received(tmp_path, datasets))
    assert isinstance(decided, Included), _codes(decided)
    assert len(decided.kept) == 4
    assert {why.code for entry in decided.left_out for why in entry.reasons} == {"not-axial", "localizer", "view"}
    assert {entry.ending for entry in decided.left_out} == {Ending.EXCLUDED}


@pytest.mark.parametrize(
    ("degrees", "kept"), [((1.0, 0, 0, 0, 0.94, -0.342), True), ((1.0, 0, 0, 0, 0.766, -0.643), False)]
)
def test_gantry_tilt_is_axial_up_to_30_degrees(tmp_path: Path, degrees: tuple[float, ...], kept: bool) -> None:
    """20 degrees of tilt pass, 40 do not; AXIAL in ImageType proves nothing."""
    decided = _decide(make_received(tmp_path, make_ct(ImageOrientationPatient=list(degrees))))
    assert isinstance(decided, Included) is kept


def test_missing_orientation_or_position_goes_to_a_person(tmp_path: Path) -> None:
    for attribute, code in (
        ("ImageOrientationPatient", "orientation-missing"),
        ("ImagePositionPatient", "position-missing"),
    ):
        decided = _decide(make_received(tmp_path / attribute, make_ct(**{attribute: None})))  # type: ignore[arg-type]  # attribute changes are any
        assert isinstance(decided, Review)
        assert code in _codes(decided)


def test_a_series_at_one_place_is_not_a_volume(tmp_path: Path) -> None:
    """Bolus tracking is rejected by geometry, not by name."""
    decided = _decide(make_received(tmp_path, make_ct(slices=12, ImagePositionPatient=[0, 0, 40])))
    assert isinstance(decided, Excluded)
    assert _codes(decided) == {"few-positions"}


def test_gaps_repeats_and_uneven_slices_are_reported(tmp_path: Path) -> None:
    gap = [dataset for number, dataset in enumerate(make_ct(slices=9)) if number != 4]
    repeated = [*make_ct(slices=6)]
    repeated[3].ImagePositionPatient = repeated[2].ImagePositionPatient
    uneven = make_ct(slices=6)
    x, y, z = (float(value) for value in uneven[3].ImagePositionPatient)
    uneven[3].ImagePositionPatient = [x, y, z + 0.4]
    tilted = make_ct(slices=6)
    tilted[2].ImageOrientationPatient = [1.0, 0, 0, 0, 0.94, -0.342]
    for name, datasets, code in (
        ("gap", gap, "slice-missing"), ("repeated", repeated, "repeated-position"),
        ("uneven", uneven, "uneven-spacing"), ("tilted", tilted, "mixed-orientation"),
    ):  # fmt: skip
        assert code in _codes(_decide(make_received(tmp_path / name, datasets))), name


def test_thickness_and_kernel_only_warn(tmp_path: Path) -> None:
    """They are preferences of the programme: the study goes on with a warning."""
    thin = _decide(make_received(tmp_path / "thin", make_ct(thickness=1.0)))
    assert isinstance(thin, Included)
    assert "thickness" in _codes(thin)
    strange = _decide(
        make_received(tmp_path / "odd", make_ct(SliceThickness=5.0, thickness=2.0, ConvolutionKernel="B70f"))
    )
    assert isinstance(strange, Included)
    assert _codes(strange) == {"kernel", "thickness-unlike-spacing"}


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [("B30F", "soft"), ("B70F", "lung"), ("STANDARD", "soft"), ("LUNG", "lung"), ("BONE", "bone"), ("FC08", "soft"),
     ("FC52", "lung"), ("I31F", "soft"), ("BR40D", "soft"), ("BL57D", "lung"), ("XYZZY", None)],
)  # fmt: skip
def test_the_kernel_map_knows_the_vendors_names(kernel: str, kind: str | None) -> None:
    assert RICORD.kernel
    assert kind_of(kernel, RICORD.kernel) == kind


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({}, Included, None),
        ({"covid_status": None}, Review, "covid-status-missing"),
        ({"covid_status": "pending"}, Review, "covid-status"),
        ({"covid_method": None}, Review, "covid-method-missing"),
        ({"covid_status": "negative", "covid_method": "clinical"}, Review, "covid-method-missing"),
        ({"covid_timing": None}, Included, "covid-timing-missing"),
        ({"sex": "O"}, Review, "sex-disagrees"),
        ({"age": 19}, Review, "age-disagrees"),
    ],
)
def test_the_clinical_row_decides_status_and_linkage(
    tmp_path: Path, values: dict[str, str], kind: type, code: str | None
) -> None:
    row = ClinicalRow(row=2, keys={"mrn": "x"}, values={**GOOD_ROW, **values})
    study = make_received(tmp_path, [make_dx(PatientBirthDate="19610514", StudyDate="20200601", PatientSex="F")])
    decided = screen(study, criteria=RICORD, clinical=row, clinical_checked=True)
    assert isinstance(decided, kind), _codes(decided)
    assert code is None or code in _codes(decided)


def test_without_a_row_a_study_waits_and_without_a_sheet_it_does_not(tmp_path: Path) -> None:
    study = make_received(tmp_path, [make_dx()])
    waiting = screen(study, criteria=RICORD, clinical=None, clinical_checked=True)
    assert isinstance(waiting, Review)
    assert _codes(waiting) == {"clinical-row-missing"}
    assert isinstance(screen(study, criteria=RICORD, clinical=None, clinical_checked=False), Included)


@pytest.mark.parametrize(
    ("no_row", "code"),
    [
        (NoRowReason.NO_ROW, "clinical-row-missing"),
        (NoRowReason.OTHER_EXAM, "clinical-other-exam"),
        (NoRowReason.KEYS_DISAGREE, "clinical-keys-disagree"),
        (NoRowReason.SEVERAL_ROWS, "clinical-rows-several"),
    ],
)
def test_why_no_row_joins_has_its_own_code_and_sentence(tmp_path: Path, no_row: NoRowReason, code: str) -> None:
    """Each waits for a person, who reads what to mend, and no two look alike."""
    decided = screen(make_received(tmp_path, [make_dx()]), criteria=RICORD, clinical=no_row, clinical_checked=True)
    assert isinstance(decided, Review)
    assert _codes(decided) == {code}


def test_the_sheets_age_counts_where_the_images_say_none(tmp_path: Path) -> None:
    study = make_received(tmp_path, [make_dx(PatientBirthDate="", PatientAge="", PatientSex="F")])
    for age, kind in ((17, Excluded), (44, Included)):
        row = ClinicalRow(row=2, keys={}, values={**GOOD_ROW, "age": age})
        assert isinstance(screen(study, criteria=RICORD, clinical=row, clinical_checked=True), kind)


def test_a_person_may_release_a_review_but_not_a_rejection(tmp_path: Path) -> None:
    """A released code only warns; what the criteria reject stays out."""
    unknown = make_received(
        tmp_path / "unknown", [make_dx(ViewPosition="", SeriesDescription="", StudyDescription="Chest")]
    )
    decided = screen(
        unknown, criteria=RICORD, clinical=None, clinical_checked=False, released=frozenset({"view-unknown"})
    )
    assert isinstance(decided, Included)
    assert _codes(decided) == {"view-unknown"}
    child = make_received(tmp_path / "child", [make_dx(PatientBirthDate="20190101", PatientAge="001Y")])
    decided = screen(child, criteria=RICORD, clinical=None, clinical_checked=False, released=frozenset({"under-age"}))
    assert isinstance(decided, Excluded)


def test_a_file_that_cannot_be_read_is_left_out_and_a_person_must_know(tmp_path: Path) -> None:
    study = make_received(tmp_path, make_ct())
    study.instances[0].path.write_bytes(b"no dicom at all")
    decided = _decide(study)
    assert isinstance(decided, Review)
    assert "unreadable" in _codes(decided)
    assessment = assess(
        study, criteria=RICORD, clinical=None, clinical_checked=False, released=frozenset({"unreadable"})
    )
    assert [entry.ending for entry in assessment.unreadable] == [Ending.REFUSED]


def test_two_patients_in_one_study_and_doubled_identifiers_stop_it(tmp_path: Path) -> None:
    mixed = make_ct()
    mixed[1].PatientID = "SOMEBODYELSE"
    assert "mixed-patients" in _codes(_decide(make_received(tmp_path / "mixed", mixed)))
    doubled = make_ct()
    doubled[1].SOPInstanceUID = doubled[0].SOPInstanceUID
    assert "duplicate-uid" in _codes(_decide(make_received(tmp_path / "doubled", doubled)))


def test_an_enhanced_object_is_read_from_its_functional_groups(tmp_path: Path) -> None:
    """Orientation and positions of a multi-frame CT stand in its functional groups (PS3.3 C.7.6.16)."""
    for orientation, kind in (([1, 0, 0, 0, 1, 0], Included), ([1, 0, 0, 0, 0, -1], Excluded)):
        study = make_received(tmp_path / kind.__name__, [_enhanced(orientation)])
        decided = _decide(study)
        assert isinstance(decided, kind), _codes(decided)
        assert "kernel-unknown" not in _codes(decided)


def _enhanced(orientation: list[int]) -> Dataset:
    frames = []
    for number in range(5):
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, number * 3.0]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    plane, measures, kernel, shared = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = orientation
    measures.SliceThickness = 3.0
    kernel.ConvolutionKernel = "B30f"
    shared.PlaneOrientationSequence = Sequence([plane])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.CTReconstructionSequence = Sequence([kernel])
    dataset = make_ct(slices=1, ImageOrientationPatient=None, ImagePositionPatient=None, SliceThickness=None)[0]
    del dataset.ConvolutionKernel
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    return dataset


def test_ages_in_days_weeks_and_months_are_a_childs() -> None:
    ages = [parse_age(text) for text in ("003W", "018M", "999M", "017Y", "092Y", "12Y", "045", "")]
    assert [age and age.years for age in ages] == [0, 1, 17, 17, 92, 12, 45, None]
    assert age_between(date(2002, 3, 2), date(2020, 3, 1)) == 17
    assert age_between(date(2002, 3, 1), date(2020, 3, 1)) == 18
