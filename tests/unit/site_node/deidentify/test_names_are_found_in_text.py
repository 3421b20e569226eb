"""Names are found in text when glued, re-cased, accented or split; what is not a name is left alone."""

import pytest

from site_node.deidentify.identifiers import IdentifyingValue, cut, find_identifiers

KNOWN = frozenset({"chest", "head", "ct"})
VALUES = {
    0x00100010: b"O'Donnell-Ng^Zo\xeb^Li",
    0x00100020: b"MRN-77 31",
    0x00080050: b"4711",
    0x00080090: b"Head^Georg",
    0x00080080: b"Mercy Hill Hospital",
}
NAMES = find_identifiers([IdentifyingValue(tag, ("iso8859",), raw) for tag, raw in VALUES.items()], ("MRN-77 31", ""))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT chest O'DONNELL", "CT chest"),
        ("CT o.donnell-ng routine", "CT routine"),
        ("odonnellngzoe PA", "PA"),
        ("ZOE", ""),
        ("Zoë 3.0", "3.0"),
        ("Zoe\u0301 3.0", "3.0"),
        ("mrn7731x axial", "axial"),
        ("MRN 7731 axial", "axial"),
        ("a4711b", ""),
        ("Li axial", "axial"),
        ("axial limb", "axial limb"),
        ("for georg", "for"),
        ("georgian", "georgian"),
        ("mercyhillhospital CT", "CT"),
        ("nothing here", "nothing here"),
        ("  spaces   stay  ", "  spaces   stay  "),
        ("", ""),
    ],
)
def test_descriptions(text: str, left: str) -> None:
    """Words that hold an identifier go, the rest stays as it was."""
    assert cut(text, NAMES, KNOWN, description=True) == left


def test_places_and_known_terms_in_technical_text() -> None:
    """In technical text neither a word of a place's name nor a known term that is somebody's name is an identifier."""
    assert cut("HILL 5", NAMES, KNOWN, description=False) == "HILL 5"
    assert cut("HEAD", NAMES, KNOWN, description=False) == "HEAD"
    assert cut("HEAD", NAMES, KNOWN, description=True) == ""
    assert cut("Hill 5", NAMES, KNOWN, description=True) == "5"


def test_a_number_is_never_a_known_term() -> None:
    """A patient whose number is a known term is still protected."""
    identifiers = find_identifiers([IdentifyingValue(0x00100020, ("iso8859",), b"CHEST")], ())
    assert cut("CHEST", identifiers, KNOWN, description=False) == ""
