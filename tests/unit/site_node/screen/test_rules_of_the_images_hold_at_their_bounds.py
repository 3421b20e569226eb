"""Rules of an image, of a series and of what remains decide by what they state: millimetres, degrees, words."""

from dataclasses import replace
from math import cos, radians, sin
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.studies import DicomUnreadable
from shared.protocol.criteria import Criteria
from site_node.screen.decide import assess, decide, kept_of, without
from site_node.screen.facts import Facts, Slice, _numbers, read_facts
from site_node.screen.instance import check_instance, check_orientation, check_region, check_view, normal_of
from site_node.screen.reasons import gravest, unique, worst
from site_node.screen.series import check_geometry, check_kernel, check_series, check_thickness
from site_node.study import Ending, LeftOut, Reason, Received, Review, Severity
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.facts import RICORD, changed_facts, codes
from tests.factories.studies import make_instance, make_received

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Received:
    """Five axial slices that every rule accepts."""
    return make_received(tmp_path_factory.mktemp("volume"), make_ct(slices=5))


@pytest.mark.parametrize("rule", ["localizer", "orientation", "view", "region", "geometry", "thickness", "kernel"])
def test_a_rule_that_the_criteria_leave_out_is_not_asked(slice_facts: Facts, rule: str) -> None:
    """Nor is one whose modalities are others; all the others say what they said."""
    flawed = changed_facts(
        slice_facts,
        body_part="", codes=frozenset(), study_text="", series_text="", view="", view_codes=frozenset(),
        slices=(Slice(AXIAL, None, None),), kernels=(),
    )  # fmt: skip
    localizer = replace(flawed, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), modality="CT")
    oblique = replace(flawed, slices=(Slice((1.0, 0, 0, 0, 0, -1.0), None, None),))
    film = replace(flawed, modality="DX", sop_class="1.2.840.10008.5.1.4.1.1.1.1")
    own = {"localizer": {"localizer"}, "orientation": {"not-axial"}, "view": {"view-unknown"}}
    own |= {"region": {"region-unknown"}, "geometry": {"position-missing"}, "thickness": {"thickness-missing"}}
    own |= {"kernel": {"kernel-unknown"}}

    def said(criteria: Criteria) -> list[set[str]]:
        every = [*(check_instance(facts, criteria) for facts in (localizer, oblique, film))]
        return [{*codes(reasons)} for reasons in (*every, check_series([flawed], criteria))]

    whole = said(RICORD)
    assert own[rule] <= set().union(*whole)
    without = [kinds - own[rule] for kinds in whole]
    if rule == "localizer":
        assert said(RICORD.model_copy(update={rule: None}))[1:] == without[1:]
        assert "localizer" not in said(RICORD.model_copy(update={rule: None}))[0]
    else:
        assert said(RICORD.model_copy(update={rule: None})) == without
    if rule != "region":
        elsewhere = getattr(RICORD, rule).model_copy(update={"modalities": ("MR",)})
        assert said(RICORD.model_copy(update={rule: elsewhere})) == said(RICORD.model_copy(update={rule: None}))


def test_a_localizer_need_not_be_axial(slice_facts: Facts) -> None:
    """It is left out for what it is, by value 3 of ImageType and by no other."""
    scout = changed_facts(slice_facts, slices=(Slice((1.0, 0, 0, 0, 0, -1.0), None, None),))
    for values, expected in (
        (("ORIGINAL", "PRIMARY", "LOCALIZER"), ["localizer"]),
        (("ORIGINAL", "PRIMARY"), ["not-axial"]),
        (("LOCALIZER", "PRIMARY", "AXIAL"), ["not-axial"]),
        (("ORIGINAL", "PRIMARY", "AXIAL", "LOCALIZER"), ["not-axial"]),
    ):
        assert codes(check_instance(replace(scout, image_type=values), RICORD)) == expected


@given(degrees=st.floats(0, 89), mirrored=st.booleans())
def test_a_slice_is_axial_up_to_the_tolerance(slice_facts: Facts, degrees: float, mirrored: bool) -> None:
    """By the angle of its normal, of whichever sign; one frame that is not axial is enough."""
    assert RICORD.orientation
    tilt = radians(degrees)
    tilted = (1.0, 0.0, 0.0, 0.0, (-1 if mirrored else 1) * cos(tilt), sin(tilt))
    facts = changed_facts(slice_facts, slices=(Slice(AXIAL, None, None), Slice(tilted, None, None)))
    if abs(degrees - 30) > 0.001:
        expected = ["not-axial"] if degrees > 30 else []
        assert codes(check_orientation(facts, RICORD.orientation)) == expected


def test_the_tolerance_itself_is_within_it(slice_facts: Facts) -> None:
    """Where none is allowed, a slice that is axial to the last digit passes."""
    assert RICORD.orientation
    facts = changed_facts(slice_facts, slices=(Slice(AXIAL, None, None),))
    assert check_orientation(facts, RICORD.orientation.model_copy(update={"tolerance_degrees": 0})) == ()


def test_directions_that_span_no_plane_are_no_orientation(slice_facts: Facts) -> None:
    """Nor does a normal follow from them."""
    assert RICORD.orientation
    for directions in (None, (1.0, 0, 0, 1.0, 0, 0), (0.0,) * 6, (1.0, 0, 0, 0, 0.5, 0)):
        facts = changed_facts(slice_facts, slices=(Slice(directions, None, None), Slice(AXIAL, None, None)))
        assert codes(check_orientation(facts, RICORD.orientation)) == ["orientation-missing"]
    assert normal_of((0.0,) * 6) == (0, 0, 0)
    assert normal_of(AXIAL) == (0, 0, 1)
    assert normal_of((0.0, 1.0, 0, 0, 0, -1.0)) == (-1, 0, 0)
    assert normal_of((2.0, 0, 0, 0, 0, -2.0)) == (0, 1, 0)


@pytest.mark.parametrize(
    ("part", "coded", "text", "expected"),
    [
        ("CHEST", (), "", []),
        ("CHEST_ABD", (), "", []),  # a word is enough
        ("TORSO", (), "", []),  # and so is a defined term
        ("NECK_CHEST", (), "", []),
        ("", ("SCT:51185008",), "", []),  # a code alone says it
        ("", ("SCT:51185008",), "Hand", ["region-conflict"]),
        ("ABDOMEN", ("SCT:51185008",), "", ["region-conflict"]),
        ("", (), "Thorax", []),
        ("", (), "Thorax abdomen", []),
        ("", (), "", ["region-unknown"]),
        ("", (), "Hand", ["region"]),
        ("HAND", (), "", ["region-unlikely"]),
        ("HAND", (), "Hand", ["region"]),
        ("HAND", (), "Thorax", ["region-conflict"]),
        ("CHEST", (), "Hand", ["region-conflict"]),
        ("QUAGGA", (), "Quagga", ["region"]),  # the part's own words are another region's
    ],
)
def test_what_says_the_region_agrees(
    slice_facts: Facts, part: str, coded: tuple[str, ...], text: str, expected: list[str]
) -> None:
    """Body part, codes, and the descriptions of study and series."""
    assert RICORD.region
    facts = changed_facts(slice_facts, body_part=part, codes=frozenset(coded), study_text="", series_text=text)
    assert codes(check_region(facts, RICORD.region)) == expected
    swapped = replace(facts, study_text=text, series_text="")
    assert codes(check_region(swapped, RICORD.region)) == expected


@pytest.mark.parametrize(
    ("view", "coded", "series", "study", "expected"),
    [
        ("PA", (), "", "", []),
        ("PA", (), "lateral", "", ["view-conflict"]),
        ("PA", ("SCT:399067008",), "", "", []),  # the position goes first
        ("LL", (), "PA", "", ["view"]),
        ("", ("SCT:399067008",), "", "", ["view"]),
        ("", ("SCT:399067008", "SCT:399348003"), "", "", ["view"]),
        ("", ("SCT:399348003",), "lateral", "", ["view-conflict"]),
        ("", ("SCT:399348003",), "", "", []),
        ("", (), "PA", "lateral", []),  # the series goes before the study
        ("", (), "lateral", "PA", ["view"]),
        ("", (), "", "PA", []),
        ("", (), "", "lateral", ["view"]),
        ("", (), "PA lateral", "", ["view-unknown"]),
        ("", (), "", "", ["view-unknown"]),
    ],
)
def test_what_says_the_projection_goes_in_order(
    slice_facts: Facts, *, view: str, coded: tuple[str, ...], series: str, study: str, expected: list[str]
) -> None:
    """Position, then codes, then the series' descriptions, then the study's."""
    assert RICORD.view
    facts = changed_facts(slice_facts, view=view, view_codes=frozenset(coded), series_text=series, study_text=study)
    assert codes(check_view(facts, RICORD.view)) == expected


def places(*positions: float, thickness: float | None = 3.0) -> list[Slice]:
    return [Slice(AXIAL, (0.0, 0.0, position), thickness) for position in positions]


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (places(0, 3, 6, 9), []),
        (places(9, 0, 6, 3), []),
        (places(0), ["few-positions"]),
        (places(0, 3, 6), ["few-positions"]),
        (places(0, 3, 6, 6.005), ["few-positions"]),
        (places(0, 3, 6, 6, 9), ["repeated-position"]),
        (places(0, 0.01, 3, 6, 9), ["repeated-position"]),
        (places(0, 3, 6, 9, 12, 16.4), ["uneven-spacing"]),
        (places(0, 3, 6, 9, 12, 16.5), ["slice-missing"]),
        (places(0, 3, 6, 9, 12, 15.02), []),
        (places(0, 3, 6, 9, 12, 15.04), ["uneven-spacing"]),
        (places(0, 0.2, 0.4, 0.6, 0.8, 1.009), []),  # a hundredth of a millimetre is nothing
        (places(0, 0.2, 0.4, 0.6, 0.8, 1.011), ["uneven-spacing"]),
        ([*places(0, 3, 6, 9), Slice(AXIAL, None, 3.0)], ["position-missing"]),
        ([Slice(None, (0.0, 0.0, 3.0 * number), 3.0) for number in range(5)], ["position-missing"]),
        ([*places(0, 3, 6, 9), Slice((1.0, 0, 0, 0, 0.94, -0.342), (0.0, 0.0, 12.0), 3.0)], ["mixed-orientation"]),
        ([*places(0, 3, 6, 9), Slice((1.0, 0, 0, 0.009, 1.0, 0), (0.0, 0.0, 12.0), 3.0)], []),
        ([*places(0, 3, 6, 9), Slice((1.0, 0, 0, 0.01, 1.0, 0), (0.0, 0.0, 12.0), 3.0)], []),
        ([*places(0, 3, 6, 9), Slice((1.0, 0, 0, 0.011, 1.0, 0), (0.0, 0.0, 12.0), 3.0)], ["mixed-orientation"]),
        ([*places(0, 3, 6, 9), Slice(None, (0.0, 0.0, 12.0), 3.0)], []),
    ],
)
def test_a_volume_is_evenly_spaced(slices: list[Slice], expected: list[str]) -> None:
    """At least four positions along one normal, each once, at even distances; where one is unknown a person looks."""
    assert RICORD.geometry
    assert codes(check_geometry(slices, RICORD.geometry)) == expected


def test_a_gap_may_differ_by_the_tolerance_itself() -> None:
    """By a quarter where a quarter is allowed."""
    assert RICORD.geometry
    rule = RICORD.geometry.model_copy(update={"spacing_tolerance": 0.25})
    assert check_geometry(places(0, 4, 8, 12, 17), rule) == ()


def test_slices_lie_along_their_own_normal() -> None:
    """Distances are measured along it, not along an axis of the patient."""
    assert RICORD.geometry
    coronal = [Slice((1.0, 0, 0, 0, 0, -1.0), (7.0, 3.0 * number, number**2), 3.0) for number in range(5)]
    assert check_geometry(coronal, RICORD.geometry) == ()


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (places(0, 2.5, 5, thickness=2.5), []),
        (places(0, 5, 10, thickness=5.0), []),
        (places(0, 2.4, 4.8, thickness=2.4), ["thickness"]),
        (places(0, 5.1, 10.2, thickness=5.1), ["thickness"]),
        (places(0, 2.5, thickness=5.0), []),
        (places(0, 2.4, thickness=5.0), ["thickness-unlike-spacing"]),
        (places(0, 10, thickness=5.0), []),
        (places(0, 10.1, thickness=5.0), ["thickness-unlike-spacing"]),
        (places(0, thickness=5.0), []),
        (places(0, 0, thickness=5.0), []),
        (places(0, 0.01, thickness=5.0), []),  # in one place
        (places(0, 3, thickness=None), ["thickness-missing"]),
        (places(0, 3, thickness=0.0), ["thickness-missing"]),
        ([*places(0, 3), Slice(AXIAL, (0.0, 0.0, 6.0), 5.1)], ["thickness"]),
        ([*places(0, 3), Slice(AXIAL, (0.0, 0.0, 6.0), 2.4)], ["thickness"]),
        ([*places(0, 30), Slice(AXIAL, None, 3.0)], []),
        ([*places(0, 30), Slice(None, (0.0, 0.0, 60.0), 3.0)], []),
    ],
)
def test_slices_are_as_thick_as_is_preferred(slices: list[Slice], expected: list[str]) -> None:
    """From 2.5 to 5 mm, and within twice their distance, where that is known of all."""
    assert RICORD.thickness
    assert codes(check_thickness(slices, RICORD.thickness)) == expected


def test_every_kernel_is_a_preferred_one() -> None:
    """One that nobody knows, none, and one of another kind are each said."""
    assert RICORD.kernel
    for kernels, expected in (
        ({"B30F"}, []),
        ({"B30F", "STANDARD"}, []),
        ({"B30F", "LUNG"}, ["kernel"]),
        ({"B30F", "XYZZY"}, ["kernel-unknown"]),
        (set[str](), ["kernel-unknown"]),
    ):
        assert codes(check_kernel(kernels, RICORD.kernel)) == expected


def test_the_gravest_severity_counts_and_each_reason_stands_once() -> None:
    """Accept, warn, review, reject, in this order."""
    order = [Severity.ACCEPT, Severity.WARN, Severity.REVIEW, Severity.REJECT]
    for number, severity in enumerate(order):
        assert gravest(order[: number + 1]) is severity
    assert worst(()) is Severity.ACCEPT
    reasons = [Reason(code=code, message="It is so.", severity=Severity.WARN, attribute=None) for code in "abab"]
    assert unique(reasons) == tuple(reasons[:2])


def test_a_file_that_is_away_is_unreadable(slice_facts: Facts, tmp_path: Path) -> None:
    """As one that is no DICOM: the study waits for a person."""
    with pytest.raises(DicomUnreadable):
        read_facts(slice_facts.instance.model_copy(update={"path": tmp_path / "away"}))


def test_facts_show_nothing_of_the_patient(tmp_path: Path) -> None:
    """Whoever logs them shows no text, date, age, sex, number or place of the patient."""
    film = make_dx(
        StudyDescription="Zebrawood", SeriesDescription="Quagga", PatientAge="077Y", PatientBirthDate="19420304",
        StudyDate="20200401", PatientSex="M", PatientID="OKAPI", IssuerOfPatientID="BONGO", SliceThickness="7.5",
    )  # fmt: skip
    shown = repr(read_facts(make_instance(write_file(film, tmp_path / "film"))))
    study = make_received(tmp_path / "study", [film])
    shown += repr(assess(study, criteria=RICORD, clinical=None, clinical_checked=False))
    for value in ("Zebrawood", "Quagga", "077Y", "1942", "2020, 4", "'M'", "OKAPI", "BONGO", "7.5"):
        assert value not in shown
    assert str(film.SeriesInstanceUID) not in shown


@pytest.mark.parametrize(
    ("keyword", "value", "field"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 1], "orientation"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1, 0, 0], "orientation"),
        ("ImagePositionPatient", [1, 2], "position"),
        ("SliceThickness", [3, 3], "thickness"),
    ],
)
def test_of_numbers_there_are_as_many_as_the_attribute_has(
    tmp_path: Path, keyword: str, value: list[float], field: str
) -> None:
    """Any other count is no value at all."""
    [dataset] = make_ct(slices=1, **{keyword: value})  # type: ignore[arg-type]  # attribute changes are any
    assert _numbers({keyword: "three"}, keyword, len(value)) is None
    [frame] = read_facts(make_instance(write_file(dataset, tmp_path / "slice"))).slices
    assert getattr(frame, field) is None


def test_what_a_person_could_let_through_is_what_remains(tmp_path: Path) -> None:
    """Of a study that waits the kept images; of a rejected one, or one without any, nothing."""
    waiting = make_received(tmp_path / "waiting", [make_dx(ViewPosition="", SeriesDescription="", StudyDescription="")])
    child = make_received(tmp_path / "child", [make_dx(PatientBirthDate="20190101", PatientAge="001Y")])
    lateral = make_received(tmp_path / "lateral", [make_dx(view="LL")])
    unreadable = make_received(tmp_path / "unreadable", [make_dx()])
    unreadable.instances[0].path.write_bytes(b"no dicom at all")
    remaining = [
        kept_of(assess(study, criteria=RICORD, clinical=None, clinical_checked=False))
        for study in (waiting, child, lateral, unreadable)
    ]
    assert [kept and kept.kept for kept in remaining] == [waiting.instances, None, None, None]


def test_a_rejected_series_keeps_every_reason_and_a_kept_one_those_of_what_is_kept(tmp_path: Path) -> None:
    """What is left out says why by itself; a warning about an image that is gone is nobody's."""
    scout = make_ct(plane="scout", slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], BodyPartExamined="HAND")
    volume = make_ct(slices=5)
    scout[0].SeriesInstanceUID = volume[0].SeriesInstanceUID
    scout[0].SOPInstanceUID = "1.2.3"
    mixed = assess(
        make_received(tmp_path / "mixed", [*volume, *scout]), criteria=RICORD, clinical=None, clinical_checked=False
    )
    assert [codes(series.reasons) for series in mixed.series] == [[]]
    assert [{*codes(entry.reasons)} for entry in mixed.series[0].left_out] == [{"localizer"}]
    few = assess(
        make_received(tmp_path / "few", make_ct(slices=2, BodyPartExamined="HAND", SeriesDescription="CT")),
        criteria=RICORD, clinical=None, clinical_checked=False,
    )  # fmt: skip
    assert {*codes(few.series[0].reasons)} > {"few-positions"}


def test_a_study_of_which_nothing_is_kept_never_goes_on(tmp_path: Path) -> None:
    """Also where a person accepted that a file cannot be read, and nothing else is left."""
    study = make_received(tmp_path, [make_dx(view="LL"), make_dx()])
    study.instances[1].path.write_bytes(b"no dicom at all")
    accepting = frozenset({"unreadable"})
    decided = decide(assess(study, criteria=RICORD, clinical=None, clinical_checked=False, released=accepting))
    assert isinstance(decided, Review)


@given(endings=st.lists(st.sampled_from([None, Ending.EXCLUDED, Ending.QUARANTINED]), min_size=5, max_size=5))
def test_what_a_later_stage_leaves_out_is_left_out_already(volume: Received, endings: list[Ending | None]) -> None:
    """And nothing else; where nothing is kept, one image that a person may save holds the series for a person."""
    assessment = assess(volume, criteria=RICORD, clinical=None, clinical_checked=False)
    entries = [
        LeftOut(instance=instance, ending=ending, reasons=())
        for instance, ending in zip(volume.instances, endings, strict=True)
        if ending
    ]
    [series] = without(assessment, entries).series
    kept = [instance for instance, ending in zip(volume.instances, endings, strict=True) if not ending]
    assert [*series.kept] == kept
    assert [*series.left_out] == entries
    if not kept:
        assert series.outcome is (Severity.REVIEW if Ending.QUARANTINED in endings else Severity.REJECT)
