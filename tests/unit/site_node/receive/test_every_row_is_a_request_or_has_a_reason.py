"""Lists of accession numbers: every row becomes a request or has a reason, and nothing is guessed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from shared.errors.inputs import AccessionListInvalid, SourceMissing
from site_node.receive.accessions import PROBLEMS, AccessionList, of_text, read_accessions


def numbers(listed: AccessionList) -> list[str]:
    return [request.accession for request in listed.requests]


def codes(listed: AccessionList) -> dict[int, str]:
    return {problem.row: problem.code for problem in listed.problems}


def sheet(path: Path, *rows: tuple[object, ...]) -> Path:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@given(st.lists(st.text(max_size=20), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_row_ends_somewhere(lines: list[str]) -> None:
    """Whatever is pasted is a table without a heading, or every request is unique, whole and allowed.

    Every problem has a sentence.
    """
    try:
        listed = of_text("\n".join(lines))
    except AccessionListInvalid:
        assert any(set(line) & set(",;\t") for line in lines)
        return
    accessions = numbers(listed)
    assert len(accessions) == len(set(accessions)) == len(listed.rows)
    assert all(text == text.strip() and 1 <= len(text) <= 16 and not set(text) & set("*?\\") for text in accessions)
    assert {problem.code for problem in listed.problems} <= set(PROBLEMS)


def test_text_is_read_as_people_paste_it() -> None:
    """Lines separate, or in one line commas, semicolons and tabs; a heading is skipped; inner spaces stay."""
    assert numbers(of_text(" A1 , A2;A3\tA4\n")) == ["A1", "A2", "A3", "A4"]
    listed = of_text('Accession Number\r\n A1 ,\n\nA 5\nA1\nA*\nABCDEFGHIJKLMNOPQ\n="0012"\n=A1\n')
    assert numbers(listed) == ["A1", "A 5", "0012"]
    assert listed.rows == (2, 4, 8)
    assert codes(listed) == {5: "duplicate-in-list", 6: "wildcard", 7: "too-long", 9: "formula"}


def test_text_of_several_columns_is_a_table(tmp_path: Path) -> None:
    """No second column is asked for: the heading says which is meant, or a person does; rows are lines."""
    file = tmp_path / "list.txt"
    file.write_text("Accession\tMRN\n\nA1\t12345\nA2\t12346\n", encoding="utf-8")
    listed = read_accessions(file)
    assert (numbers(listed), listed.rows, codes(listed)) == (["A1", "A2"], (3, 4), {})
    assert numbers(of_text(file.read_text(encoding="utf-8"))) == ["A1", "A2"]
    file.write_text("Exam\tMRN\nA1\t12345\nA2\t12346\n", encoding="utf-8")
    for text in (file.read_text(encoding="utf-8"), "A1\t12345\nA2\n", "A1, A2\nA3, A4", "Case\tMRN\nA1\t1"):
        with pytest.raises(AccessionListInvalid, match="--column"):
            of_text(text)
    assert numbers(read_accessions(file, column="Exam")) == ["A1", "A2"]
    assert numbers(of_text("Accession\tMRN")) == [], "a table without a row"


def test_each_number_of_a_line_has_a_row_of_its_own() -> None:
    """The result of a number does not hide that of the next; if each has a line, the line is its row."""
    listed = of_text("A*, A1, A1, B*")
    assert (codes(listed), listed.rows) == ({1: "wildcard", 3: "duplicate-in-list", 4: "wildcard"}, (2,))
    assert of_text("A1\n\nA2\n").rows == (1, 3)


def test_a_second_sheet_with_numbers_is_not_overlooked(tmp_path: Path) -> None:
    """A person says which sheet is meant; a hidden one, or one with other columns, does not count."""
    book = Workbook()
    assert book.active is not None
    book.active.append(("Accession",))
    book.active.append(("A1",))
    other = book.create_sheet("2021")
    other.append(("Remark",))
    book.save(tmp_path / "list.xlsx")
    assert numbers(read_accessions(tmp_path / "list.xlsx")) == ["A1"]
    other.append(("Accession",))
    book.save(tmp_path / "list.xlsx")
    with pytest.raises(AccessionListInvalid, match="more than one of its sheets"):
        read_accessions(tmp_path / "list.xlsx")
    other.sheet_state = "hidden"
    book.save(tmp_path / "list.xlsx")
    assert numbers(read_accessions(tmp_path / "list.xlsx")) == ["A1"]


def test_the_column_of_a_workbook_is_found_below_a_title(tmp_path: Path) -> None:
    """A title row, the heading, numbers stored as numbers, a date, a hole, a fraction, sixteen digits."""
    file = sheet(
        tmp_path / "list.xlsx",
        ("Our export", None),
        ("Patient", "Accession No."),
        ("P1", 4711),
        ("P2", "0012"),
        ("P3", None),
        ("P4", datetime(2020, 3, 1, tzinfo=UTC).replace(tzinfo=None)),
        (None, None),
        ("P5", 1.5),
        ("P6", 1234567890123456),
        ("P7", 4711),
    )
    listed = read_accessions(file)
    assert numbers(listed) == ["4711", "0012"]
    assert listed.rows == (3, 4)
    assert codes(listed) == {
        5: "empty",
        6: "not-a-number-or-text",
        8: "not-a-number-or-text",
        9: "number-cell-too-long",
        10: "duplicate-in-list",
    }


def test_a_column_is_never_guessed(tmp_path: Path) -> None:
    """If no heading matches, or two do, a person names the column, and exactly that column is read."""
    other = sheet(tmp_path / "none.xlsx", ("Case", "Exam"), ("1", "A1"))
    both = sheet(tmp_path / "two.xlsx", ("Accession", "Accession Number"), ("A1", "B1"))
    for file in (other, both):
        with pytest.raises(AccessionListInvalid, match="--column"):
            read_accessions(file)
    assert numbers(read_accessions(other, column="exam")) == ["A1"]
    assert numbers(read_accessions(both, column="Accession")) == ["A1"]
    with pytest.raises(AccessionListInvalid):
        read_accessions(other, column="Nothing")


def test_the_patient_of_a_list_is_kept_with_its_number(tmp_path: Path) -> None:
    """A number that the list gives to two patients is reported, not requested twice."""
    file = tmp_path / "list.csv"
    file.write_text("MRN;Accession\nP1;A1\nP2;A2\nP3;A1\n", encoding="utf-8")
    listed = read_accessions(file, patient_column="mrn")
    assert [(request.accession, request.patient_id) for request in listed.requests] == [("A1", "P1"), ("A2", "P2")]
    assert codes(listed) == {4: "several-patients-in-list"}


@pytest.mark.parametrize("content", [b"PK\x03\x04 no workbook", b"\x00\x01\x02", bytes.fromhex("d0cf11e0a1b11ae1")])
@pytest.mark.parametrize("name", ["x.xlsx", "x.xls", "x.ods", "x.txt", "x.csv"])
def test_a_file_that_cannot_be_read_has_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    """A broken workbook, or bytes in place of text, raises no other exception."""
    file = tmp_path / name
    file.write_bytes(content)
    try:
        listed = read_accessions(file)
    except AccessionListInvalid:
        return
    assert not listed.requests or name == "x.txt"


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        read_accessions(tmp_path / "gone.xlsx")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.text(max_size=6), st.text(max_size=18)), max_size=8))
def test_a_table_never_raises_anything_else(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    """Whatever a CSV holds, it is read or refused as a whole."""
    file = tmp_path / "list.csv"
    file.write_text("Accession,x\n" + "\n".join(",".join(row) for row in rows), encoding="utf-8", newline="")
    try:
        listed = read_accessions(file)
    except AccessionListInvalid:
        return
    assert len(set(numbers(listed))) == len(listed.rows)
