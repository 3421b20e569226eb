"""Text does not stay as a code, number, time or technical text."""

from pathlib import Path

import pytest

from shared.protocol.profile import Action, Rule
from site_node.deidentify.value_forms import mended
from site_node.validate.values import has_form as is_standard
from site_node.validate.values import is_tolerable
from tests.factories.deidentified import run_one
from tests.factories.dicom import make_dx

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
RULE = Rule(tag=0x00080008, keyword="Any", vrs=frozenset(), action=Action.KEEP, multiplicity="1-n", source="")
HIDDEN = [
    ("CS", b"hiv+ Oak Rd 17"),
    ("DS", b"14-05-1961"),
    ("DS", b"0199-887"),
    ("IS", b"05-14"),
    ("TM", b"19610514"),
    ("TM", b"14.05.1961"),
]
REAL = [
    ("CS", b"ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI "),
    ("DS", b"-0.488281250000000001\\ 1e-3 \\.5\\5.\\"),
    ("IS", b"+12\\ 7 \\"),
    ("TM", b"101530.123456"),
    ("TM", b"10:15:30 "),
]


@pytest.mark.parametrize(("vr", "raw"), HIDDEN)
def test_text_is_no_number_time_or_code(vr: str, raw: bytes) -> None:
    """Neither stage lets it go on, whether the source has it or not."""
    assert mended(RULE, vr, raw) == b""
    assert not is_tolerable(raw, vr)
    assert not is_standard(raw + b" " * (len(raw) % 2), vr)


@pytest.mark.parametrize(("vr", "raw"), REAL)
def test_what_devices_write_stays(vr: str, raw: bytes) -> None:
    """Long decimals, blanks and colons hide nothing."""
    assert mended(RULE, vr, raw) is raw
    assert is_tolerable(raw, vr)


@pytest.mark.parametrize("text", ["call 0555-0199-887", "kel.jan@example.org", "see https://example.org/a"])
def test_no_contact_in_technical_text(tmp_path: Path, text: str) -> None:
    """An address or telephone number empties a kept text."""
    assert run_one(tmp_path, make_dx(SoftwareVersions=text)).dataset.SoftwareVersions == ""


def test_a_malformed_code_is_emptied(tmp_path: Path) -> None:
    """A code of small letters and signs is prose."""
    assert run_one(tmp_path, make_dx(BodyPartExamined="hiv+ Oak Rd 17")).dataset.BodyPartExamined in {"", None}
