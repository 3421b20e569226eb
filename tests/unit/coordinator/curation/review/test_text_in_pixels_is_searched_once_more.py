"""What the site may have let pass is searched again: text, what declares text, and what nobody could search."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.burned_text import check_burned_text
from coordinator.curation.review.verdict import Verdict
from site_node.pixels.client import PixelChecker
from tests.factories.dicom import make_ct, make_dx
from tests.factories.reviewed import open_datasets


@pytest.fixture(scope="module")
def checker() -> Iterator[PixelChecker]:
    with PixelChecker() as started:
        yield started


def findings(study: OpenedStudy, checker: PixelChecker) -> dict[str, set[str]]:
    results = list(check_burned_text(study, checker))
    assert {result.verdict for result in results} <= {Verdict.REVIEW}
    return {result.code: set(result.instances) for result in results}


@pytest.mark.parametrize(("text", "codes"), [("LUNDQVIST PETRA 1961", {"burned-in-text"}), ("", set())])
def test_text_waits_for_a_person(tmp_path: Path, checker: PixelChecker, text: str, codes: set[str]) -> None:
    """The finding names the image, and not what is written there."""
    film = Image.new("F", (512, 512), 1000.0)
    pen = ImageDraw.Draw(film)
    pen.text((40, 60), text, fill=3500, font=ImageFont.load_default(28))
    dataset = make_dx(rows=512)
    dataset.PixelData = np.asarray(film).astype(np.uint16).tobytes()
    study = open_datasets(tmp_path, [dataset])
    assert findings(study, checker) == {code: {path.stem for path in study.instances} for code in codes}
    assert not any("LUNDQVIST" in result.reason for result in check_burned_text(study, checker))


def test_what_cannot_be_searched_is_named(tmp_path: Path, checker: PixelChecker) -> None:
    """A file without a header, and one whose pixels do not decode; the others are searched."""
    study = open_datasets(tmp_path, make_ct(slices=4))
    headless, cut = study.instances[0], study.instances[2]
    headless.write_bytes(b"no dicom")
    cut.write_bytes(cut.read_bytes()[:-600])
    assert findings(study, checker) == {"pixels-not-readable": {headless.stem, cut.stem}}


def test_a_search_that_cannot_start_is_no_pass(tmp_path: Path) -> None:
    """On a machine without the models every image waits for a person."""
    study = open_datasets(tmp_path, make_ct(slices=4))
    with PixelChecker(("false",)) as broken:
        assert findings(study, broken) == {"pixels-not-checked": {path.stem for path in study.instances}}
