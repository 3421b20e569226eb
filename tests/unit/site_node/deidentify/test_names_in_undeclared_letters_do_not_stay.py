"""A name does not stay where another system wrote it in another character set than the file declares."""

from pathlib import Path

import pytest

from tests.factories.deidentified import Outcome, run_bytes
from tests.factories.dicom import make_dx
from tests.factories.dicomweb import part_10

MISREAD = [
    ("ISO_IR 100", "latin-1", "Münsterlund^Jörg", "utf-8"),
    ("ISO_IR 126", "iso8859-7", "Παπαδόπουλος^N", "utf-8"),
    ("ISO_IR 144", "iso8859-5", "Иванченко^P", "cp1251"),
    ("ISO_IR 192", "utf-8", "Иванченко^P", "cp1251"),
    ("ISO_IR 192", "utf-8", "Münsterlund^Jörg", "latin-1"),
]


def described(folder: Path, charset: str, name: bytes, description: bytes) -> Outcome:
    """The stage on a file with these bytes as name and description."""
    dataset = make_dx(
        SpecificCharacterSet=charset, PatientName="@" * len(name), SeriesDescription="#" * len(description)
    )
    content = part_10(dataset).replace(b"@" * len(name), name).replace(b"#" * len(description), description)
    return run_bytes(folder, dataset, content)


@pytest.mark.parametrize(("charset", "declared", "name", "written"), MISREAD)
def test_a_name_in_undeclared_letters_empties_the_text(
    tmp_path: Path, charset: str, declared: str, name: str, written: str
) -> None:
    text = f"CHEST {name.partition('^')[0]}".encode(written)
    new = described(tmp_path, charset, name.encode(declared), text).raw
    assert new
    assert name.partition("^")[0].encode(written) not in new


def test_other_words_in_declared_letters_stay(tmp_path: Path) -> None:
    """Public words with marks stay, whichever part of the text goes; misread they are no words and go."""
    text = "SCHÄDEL SEITLICH"
    right = described(tmp_path / "right", "ISO_IR 100", b"Testington^Invented", text.encode("latin-1"))
    wrong = described(tmp_path / "wrong", "ISO_IR 100", b"Testington^Invented", text.encode())
    assert text.encode("latin-1") in right.raw
    assert b"SEITLICH" in wrong.raw
    assert b"SCH" not in wrong.raw
    assert b"DEL SEITLICH" not in wrong.raw
