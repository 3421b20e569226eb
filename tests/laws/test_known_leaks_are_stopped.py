"""Each kind of leak that was once seen ends clean or refused, by the small input that showed it."""

import runpy
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image
from pydicom import config

from shared.protocol.loader import load_profile
from site_node.blanking import FINDINGS_FILE, TextFindings
from site_node.deidentify.study import deidentify
from site_node.pixels.client import PixelChecker
from site_node.pixels.inspect import TEXT, inspect
from site_node.study import Deidentified, Ending, Received, Validated
from site_node.validate.validation import validate
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.studies import make_included, received_from

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults" / "deid"


def _in_high_bits(text: str) -> bytes:
    """A text four bits a word, above the twelve that are stored."""
    return b"".join(bytes((0, byte & 0xF0, 0, byte << 4 & 0xF0)) for byte in text.encode())


# What each generator plants, as it stands in its file. A space tells a word of a text from the value of an attribute
# that `tcia` keeps as the device's own.
PLANTED: Mapping[str, tuple[str | bytes, ...]] = MappingProxyType({
    "age_over_89_text": ("092Y", "F92", "92 Jahre", "aged 92"),
    "cross_study_name": ("KOWALCZYK",),
    "date_not_in_header": ("05-Mar-2019", "Mar-2019", "März 2019", "2019年", "3月", "05_03_2019"),
    "dob_year": ("1954",),
    "ds_is_multiplicity": ("447\\3921", "77712345", "4.473921e6"),
    "harvest_gap_ids": ("PPSQ", "FJORDCTA", "Ormskirk", "Quarry", " PLQZRT", "Fjordvik"),
    "harvest_gap_private_implicit": ("Peverell",),
    "header_date_partial": ("Nov 2021", "17 ноя", "ноя 2021", "17 XI", "XI 2021"),
    "initials_truncated_typo": ("B.K.", "KOWALCZ", "KOWALCYK"),
    "institution_acronym": ("SRH ", "SBRH "),
    "j2k_segments": ("Anna Schmidt", "Birch Lane"),
    "j2k_tile_slack": ("Anna Schmidt", "Birch Lane"),
    "jpeg_entropy_slack": ("Anna Schmidt", "Birch Lane"),
    "kept_text_length": ("Anna", "Schmidt", "Birch"),
    "kept_text_no_deny": ("Schmidt", "555-0199", "05/03/1949", "5512345"),
    "label_then_two_names": ("Anna", "Schmidt"),
    "lut_content": ("Anna Schmidt", "Birch Lane"),
    "mojibake": ("MÜLLER", "M&uuml;ller", "uuml"),
    "mrn_last_digits": ("3921", "7723"),
    "nonascii_digits": ("٤٤٧٣٩٢١",),
    "number_binary": (struct.pack("<d", 4473921.0), struct.pack("<d", 19540823.0)),
    "operator_username": ("plundqvist", "LUNDQVIST"),
    "phone_in_description": ("555-0199", "555.0199", "0199"),
    "pixel_unused_bits": (_in_high_bits("Kowalczyk"), _in_high_bits("4473921")),
    "place_word_in_kept": ("SILVERBROOK",),
    "rle_slack": ("Anna Schmidt", "Birch Lane"),
    "safe_private_text": ("Anna", "Schmidt", "555-0199", "Birch Lane", "12345678901"),
    "short_name_glued": ("DOE",),
    "short_uid_in_text": ("1.3.6.77",),
    "timesource_host": ("silverbrook", "10.12.14.16"),
    "transliteration": ("IVANOV", "PETR"),
})  # fmt: skip
OF_PICTURES = frozenset({"ct_middle_slice", "pixel_saturated_label"})  # text that is drawn: another search


@pytest.fixture
def modes() -> Iterator[None]:
    """The generators tell pydicom to check nothing; afterwards it checks as before."""
    reading, writing = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    yield
    config.settings.reading_validation_mode, config.settings.writing_validation_mode = reading, writing


def files_of(generator: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that a generator writes."""
    monkeypatch.setattr(sys, "argv", [generator, str(folder)])
    with suppress(SystemExit):
        runpy.run_path(str(FAULTS / f"{generator}.py"), run_name="__main__")
    return sorted(folder.iterdir())


def study_of(files: list[Path]) -> Received:
    """Files of one study."""
    studies = [received_from(file) for file in files]
    return studies[0].model_copy(update={"instances": tuple(file for study in studies for file in study.instances)})


def outputs(file: Path, profile_name: str, folder: Path) -> list[bytes]:
    """What goes on of a file after de-identification and validation."""
    profile, included = load_profile(profile_name), make_included(received_from(file))
    result = deidentify(included, profile=profile, pseudonyms=PSEUDONYMS, out=folder / "out")
    if not isinstance(result, Deidentified):
        return []
    verdict = validate(included, result, profile=profile, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    return [new.path.read_bytes() for new in verdict.study.instances] if isinstance(verdict, Validated) else []


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the developers' shared faults are not here")
def test_every_generator_is_listed() -> None:
    """What each generator plants is known, but for text in pictures."""
    assert {path.stem for path in FAULTS.glob("*.py")} == PLANTED.keys() | OF_PICTURES


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the developers' shared faults are not here")
@pytest.mark.usefixtures("modes")
@pytest.mark.parametrize("generator", PLANTED)
def test_the_leak_is_stopped(generator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted words stand in the source, and in nothing that goes on under any profile."""
    planted = {word if isinstance(word, bytes) else word.encode() for word in PLANTED[generator]}
    for file in files_of(generator, tmp_path / "source", monkeypatch):
        assert planted & {word for word in planted if word in file.read_bytes()}
        for name in ("ricord", "tcia"):
            for number, content in enumerate(outputs(file, name, tmp_path / name)):
                assert [word for word in planted if word in content] == [], (name, number)


@pytest.mark.slow
@pytest.mark.skipif(not FAULTS.is_dir(), reason="the developers' shared faults are not here")
@pytest.mark.usefixtures("modes")
@pytest.mark.parametrize(
    ("generator", "inside"), [("ct_middle_slice", (8, 12, 220, 28)), ("pixel_saturated_label", (112, 70, 500, 98))]
)
def test_the_text_of_a_picture_waits_with_its_box(
    generator: str, inside: tuple[int, int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study ends in quarantine; its picture is drawn with a line around the text, which boxes cover."""
    included = make_included(study_of(files_of(generator, tmp_path / "source", monkeypatch)))
    study = deidentify(included, profile=load_profile(), pseudonyms=PSEUDONYMS, out=tmp_path / "out")
    assert isinstance(study, Deidentified)
    with PixelChecker() as checker:
        refused = inspect(study, frozenset(), checker=checker, pictures=tmp_path)
    assert refused is not None
    assert (refused.ending, [reason.code for reason in refused.reasons]) == (Ending.QUARANTINED, [TEXT])
    (frame,) = TextFindings.model_validate_json((tmp_path / study.key / FINDINGS_FILE).read_bytes()).frames
    left, top, right, bottom = inside
    shown = np.zeros((bottom, right), dtype=bool)
    for box in frame.boxes:
        shown[box.top : box.bottom, box.left : box.right] = True
    assert shown[top:, left:].mean() > 0.95
    with Image.open(tmp_path / study.key / frame.picture) as picture:
        assert (255, 64, 0) in {colour for _, colour in picture.getcolors(1 << 24) or ()}
