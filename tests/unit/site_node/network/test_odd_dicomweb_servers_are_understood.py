"""DICOMweb servers that are unlike others: each answer that says what it means is used, any other has its reason."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors.transport import TransportError
from site_node.network.arrivals import Arrivals
from site_node.network.dicomweb import Dicomweb
from site_node.network.query import Fetch, Outcome, Query, StudyMatch
from site_node.settings.dicomweb import DicomwebSettings
from tests.factories.dicom import make_ct
from tests.factories.dicomweb import BOUNDARY, Answer, dicomweb, multipart_answer, part_10, search_answer
from tests.factories.pacs import key_of

SLICES = make_ct(slices=3, rows=8, AccessionNumber="0012345", PatientID="P1")
FILES = [part_10(dataset) for dataset in SLICES]
STUDY = str(SLICES[0].StudyInstanceUID)
SEARCH = search_answer(SLICES[:1])
IMAGES = multipart_answer(*FILES)
UNQUOTED = f"multipart/related;start=<a@b>;type=application/dicom; boundary={BOUNDARY}"
PART_HEAD = b"Content-Type: application/dicom"


def matches_of(answer: Answer, home: Path) -> tuple[StudyMatch, ...]:
    """The studies of a search that the server answers so."""
    with dicomweb() as fake:
        fake.first = [answer]
        return Dicomweb(DicomwebSettings(url=fake.url), home).studies(Query(accession="0012345"))


def fetched(answer: Answer, home: Path) -> tuple[Outcome, list[bytes]]:
    """The outcome of a retrieval that the server answers so, and the files that are here after it."""
    arrivals = Arrivals(home / "arrivals", key_of)
    with dicomweb() as fake:
        fake.first = [answer]
        outcome = Dicomweb(DicomwebSettings(url=fake.url), home).retrieve(Fetch(study_uid=STUDY), arrivals)
    return outcome, sorted(path.read_bytes() for path in arrivals.folder.glob("*/*.dcm"))


def changed(tag: str, element: dict[str, Any]) -> Answer:
    """The search's answer with another element."""
    return SEARCH._replace(body=json.dumps([{**json.loads(SEARCH.body)[0], tag: element}]).encode())


@pytest.mark.parametrize(
    "answer",
    [
        SEARCH._replace(content_type="application/json"),
        SEARCH._replace(body=b"\xef\xbb\xbf" + SEARCH.body),
        SEARCH._replace(body=gzip.compress(SEARCH.body), extra_headers=(("Content-Encoding", "gzip"),)),
        changed("00201208", {"vr": "IS", "Value": ["3"]}),
        changed("00080061", {"vr": "CS", "Value": []}),
    ],
    ids=["plain-json", "byte-order-mark", "gzip", "count-as-text", "no-modality"],
)
def test_an_answer_to_a_search_may_be_written_otherwise(tmp_path: Path, answer: Answer) -> None:
    (study,) = matches_of(answer, tmp_path)
    assert (study.study_uid, study.accession, study.patient_id) == (STUDY, "0012345", "P1")


@pytest.mark.parametrize("element", [{"vr": "SH"}, {"vr": "SH", "Value": [None]}, {"vr": "SH", "Value": [12345]}])
def test_an_accession_number_that_is_missing_or_a_number_is_not_the_one_asked_for(
    tmp_path: Path, element: dict[str, Any]
) -> None:
    """A number has lost its leading zeros: it may be another study's."""
    (study,) = matches_of(changed("00080050", element), tmp_path)
    assert study.accession == ("12345" if 12345 in element.get("Value", []) else "")


@pytest.mark.parametrize("answer", [Answer(status=204), Answer(body=b"")], ids=["204", "empty"])
def test_nothing_is_no_match(tmp_path: Path, answer: Answer) -> None:
    assert matches_of(answer, tmp_path) == ()


@pytest.mark.parametrize(
    "answer",
    [
        IMAGES._replace(content_type=UNQUOTED),
        IMAGES._replace(body=IMAGES.body.replace(PART_HEAD, PART_HEAD + b";transfer-syntax=1.2\r\nContent-ID: <x>")),
        IMAGES._replace(body=IMAGES.body.replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b"  \r\n")),
        IMAGES._replace(body=b"A preamble\r\n\r\n" + IMAGES.body + b"an epilogue\r\n"),
        IMAGES._replace(body=gzip.compress(IMAGES.body), extra_headers=(("Content-Encoding", "gzip"),)),
        multipart_answer(*FILES, line_end=b"\n"),
    ],
    ids=["unquoted", "longer-heads", "padded-boundary", "preamble", "gzip", "line-feeds"],
)
def test_images_may_be_wrapped_otherwise(tmp_path: Path, answer: Answer) -> None:
    assert fetched(answer, tmp_path) == (Outcome(completed=3, failed=0), sorted(FILES))


def test_a_part_of_the_images_is_kept_and_called_a_part(tmp_path: Path) -> None:
    """HTTP 206 is no whole study, and what came of it stays."""
    outcome, files = fetched(multipart_answer(*FILES[:2])._replace(status=206), tmp_path)
    assert (outcome.reason, files) == ("pacs-http-206", sorted(FILES[:2]))


REFUSALS: list[tuple[Callable[[Answer, Path], object], Answer, str]] = [
    (matches_of, Answer(body=b"<html>login</html>", content_type="text/html"), "answer-not-json"),
    (matches_of, Answer(body=b"\xef\xbb\xbf<html>login</html>"), "answer-not-json"),
    (matches_of, Answer(status=302, extra_headers=(("Location", "http://127.0.0.1:1/"),)), "pacs-redirects"),
    (matches_of, Answer(status=401), "dicomweb-refused"),
    (matches_of, Answer(status=429, extra_headers=(("Retry-After", "1"),)), "pacs-http-429"),
    (fetched, Answer(body=FILES[0], content_type="application/dicom"), "answer-not-multipart"),
    (fetched, Answer(body=b"PK", content_type="application/zip"), "answer-not-multipart"),
    (fetched, IMAGES._replace(body=IMAGES.body[: len(IMAGES.body) // 2]), "answer-cut-off"),
]


@pytest.mark.parametrize(("ask", "answer", "reason"), REFUSALS)
def test_any_other_answer_has_its_reason(
    tmp_path: Path, ask: Callable[[Answer, Path], object], answer: Answer, reason: str
) -> None:
    with pytest.raises(TransportError) as caught:
        ask(answer, tmp_path)
    assert caught.value.reason == reason
