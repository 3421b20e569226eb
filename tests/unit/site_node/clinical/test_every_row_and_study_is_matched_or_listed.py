"""Every row and every study is either joined or listed as unmatched, with its reason."""

from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import StudyKey
from site_node.clinical.cell_problem import CellProblem
from site_node.clinical.matching import JoinedRows, KnownStudy, match_row, unmatched
from site_node.clinical.sheet import ClinicalSheet
from site_node.study import ClinicalRow, NoRowReason


def key(number: int) -> StudyKey:
    return StudyKey(f"{number:032x}")


def sheet(*rows: dict[str, str]) -> ClinicalSheet:
    clinical_rows = (ClinicalRow(row=at, keys=keys, values={}) for at, keys in enumerate(rows, start=2))
    return ClinicalSheet(rows=tuple(clinical_rows), problems=())


def test_each_reason_is_distinguished() -> None:
    rows = sheet(
        {"mrn": "P1", "accession": "A1"},
        {"mrn": "P2", "accession": "A2"},
        {"mrn": "P3"},
        {"mrn": "P9", "accession": "A9"},
    )
    problem = CellProblem(row=9, column=None, code="no-key", message="m")
    studies = [
        KnownStudy(key(1), {"mrn": "P1", "accession": "A1"}),
        KnownStudy(key(2), {"mrn": "P7", "accession": "A2"}),  # the sheet gives the accession to another patient
        KnownStudy(key(3), {"mrn": "P4", "accession": "A4"}),
        KnownStudy(key(4), None, joined=True),
        KnownStudy(key(5), None),
    ]
    listed = unmatched([("sheet", rows.model_copy(update={"problems": (problem,)}))], studies)
    assert [(row.row, row.code) for row in listed.rows] == [
        (3, "keys-disagree"), (4, "no-study"), (5, "no-study"), (9, "no-key"),
    ]  # fmt: skip
    assert [(study.study, study.code) for study in listed.studies] == [
        (key(2), "keys-disagree"), (key(3), "no-row"), (key(5), "no-row"),
    ]  # fmt: skip


def test_a_row_whose_keys_disagree_is_not_the_same_as_none() -> None:
    """The patient with another exam, the exam with another patient, two rows of one exam, and nobody at all."""
    listed = sheet({"mrn": "P1", "accession": "A1"}, {"mrn": "P2", "accession": "A2"})
    twice = listed.model_copy(update={"doubled": frozenset({("accession", "A3")})})
    for keys, reason in (
        ({"mrn": "P1", "accession": "A9"}, NoRowReason.OTHER_EXAM),
        ({"mrn": "P9", "accession": "A2"}, NoRowReason.KEYS_DISAGREE),
        ({"mrn": "P1", "accession": "A2"}, NoRowReason.KEYS_DISAGREE),
        ({"mrn": "P3", "accession": "A3"}, NoRowReason.SEVERAL_ROWS),
        ({"mrn": "P4", "accession": "A4"}, NoRowReason.NO_ROW),
        ({}, NoRowReason.NO_ROW),
    ):
        assert match_row(keys, [twice]) is reason, keys
    assert match_row({"mrn": "P1", "accession": "A1"}, [listed]) == (0, listed.rows[0])
    assert match_row({"mrn": "P1", "accession": "A9"}, []) is NoRowReason.NO_ROW


def test_several_rows_of_a_patient_join_no_study_without_accession() -> None:
    rows = sheet({"mrn": "P1", "study_uid": "1.2"}, {"mrn": "P2"})
    twice = ClinicalSheet(rows=(*rows.rows, ClinicalRow(row=9, keys={"mrn": "P2"}, values={})), problems=())
    listed = unmatched([("sheet", twice)], [KnownStudy(key(1), {"mrn": "P2"})])
    assert [study.code for study in listed.studies] == ["several-rows"]


def test_a_row_that_a_later_sheet_repeats_is_listed_once() -> None:
    later, earlier = sheet({"mrn": "P1"}), sheet({"mrn": "P1"}, {"mrn": "P2"})
    listed = unmatched([("b", later), ("a", earlier)], [KnownStudy(key(1), {"mrn": "P1"})])
    assert [(row.sheet, row.row) for row in listed.rows] == [("a", 3)]


def test_a_row_stays_joined_when_its_study_is_gone(tmp_path: Path) -> None:
    """Originals are deleted after submission; what they joined is remembered, and no identifier is readable."""
    joined = JoinedRows(tmp_path / "joined", lambda text: f"{hash(text):x}")
    (row,) = sheet({"mrn": "P1"}).rows
    assert not joined.tokens()
    joined.note(key(1), row)
    assert joined.has(key(1))
    tokens = joined.tokens()
    listed = unmatched(
        [("a", sheet({"mrn": "P1"}))], [KnownStudy(key(1), None, joined=True)],
        was_joined=lambda row: joined.token_of(row) in tokens,
    )  # fmt: skip
    assert not listed.rows
    assert not listed.studies
    joined.note(key(1), None)
    assert not joined.has(key(1))


def test_of_several_sheets_the_best_reason_counts() -> None:
    """Whichever of them knows most of the study, in any order."""
    nobody, patient = sheet({"mrn": "P9"}), sheet({"mrn": "P1", "accession": "A9"})
    exam, twice = sheet({"mrn": "P7", "accession": "A1"}), sheet({"mrn": "P1"}, {"mrn": "P1"})
    keys = {"mrn": "P1", "accession": "A1"}
    by_detail = (nobody, "no-row"), (patient, "other-exam"), (exam, "keys-disagree"), (twice, "several-rows")
    for (worse, _), (better, reason) in combinations(by_detail, 2):
        assert match_row(keys, [worse, better]) == match_row(keys, [better, worse]) == reason
    assert match_row(keys, [nobody, joins := sheet({"mrn": "P1"})]) == (1, joins.rows[0])


def test_what_is_shown_names_nobody() -> None:
    """Of a sheet the beginning of its digest, of a study its key."""
    listed = unmatched([("0123456789abcdef", sheet({"mrn": "P1"}))], [])
    assert [row.sheet for row in listed.rows] == ["0123456789ab"]
    assert "P1" not in repr(KnownStudy(key(1), {"mrn": "P1"}))
    assert not KnownStudy(key(1), None).joined


def test_joined_rows_are_kept_for_nobody_else_to_read(tmp_path: Path) -> None:
    """Each noted as often as its study is screened; a file that a kill left is none."""
    joined = JoinedRows(tmp_path / "joined", lambda text: text.replace(" ", "-"))
    rows = sheet({"mrn": "P1"}, {"mrn": "P2"}).rows
    joined.note(key(1), None)
    for study, row in ((1, rows[0]), (1, rows[1]), (2, rows[0])):
        joined.note(key(study), row)
    (tmp_path / "joined" / ".killed.tmp").write_text("half")
    assert joined.tokens() == {"clinical-row-mrn=P1", "clinical-row-mrn=P2"}
    assert (tmp_path / "joined").stat().st_mode & 0o777 == 0o700
    assert {(tmp_path / "joined" / key(number)).stat().st_mode & 0o777 for number in (1, 2)} == {0o600}


KEYS = st.fixed_dictionaries(
    {"mrn": st.sampled_from(["P1", "P2", "P3"])}, optional={"accession": st.sampled_from(["A1", "A2", "A3"])}
)


@given(rows=st.lists(KEYS, max_size=6), studies=st.lists(KEYS, max_size=6))
def test_nobody_is_left_out_of_the_count(rows: list[dict[str, str]], studies: list[dict[str, str]]) -> None:
    """A study is listed exactly when no row joins it, a row exactly when it joins no study."""
    clinical_sheet = sheet(*rows)
    listed = unmatched([("s", clinical_sheet)], [KnownStudy(key(at), keys) for at, keys in enumerate(studies)])
    joins = [clinical_sheet.rows_for(keys) for keys in studies]
    assert {study.study for study in listed.studies} == {key(at) for at, row in enumerate(joins) if len(row) != 1}
    used = {row[0].row for row in joins if len(row) == 1}
    assert {row.row for row in listed.rows} == {row.row for row in clinical_sheet.rows} - used
