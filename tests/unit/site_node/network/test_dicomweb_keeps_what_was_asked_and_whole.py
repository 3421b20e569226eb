"""DICOMweb: whatever the server does, only requested and whole files are stored, and no query is logged."""

import logging
import ssl
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import KeyFileInvalid, KeyFileMissing, KeyFileOpen
from shared.errors.transport import DicomwebRefused, PacsFailed, PacsUnreachable
from site_node.network import dicomweb as module
from site_node.network.arrivals import Arrivals
from site_node.network.dicomweb import Dicomweb
from site_node.network.query import Fetch, Outcome, Query
from site_node.network.web_session import _TALKATIVE
from site_node.settings.dicomweb import DicomwebSettings
from tests.factories.dicom import make_ct
from tests.factories.dicomweb import Answer, FakeDicomweb, dicomweb, multipart_answer, part_10, search_answer
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files

ACCESSION = "ACC 77/31&5=ü"
SLICES = make_ct(slices=3, rows=8, AccessionNumber="A1", PatientID="P1")
FILES = [part_10(dataset) for dataset in SLICES]
STUDY = str(SLICES[0].StudyInstanceUID)
SERIES = str(SLICES[0].SeriesInstanceUID)
UIDS = tuple(str(dataset.SOPInstanceUID) for dataset in SLICES)
OTHER = part_10(make_ct(slices=1, rows=8, study="other")[0])


def asking(url: str, home: Path, **more: object) -> Dicomweb:
    return Dicomweb(DicomwebSettings.model_validate({"url": url, "answer_seconds": 2, **more}), home)


def fetched(fake: FakeDicomweb, home: Path, *sop_uids: str, reserve: int = 0) -> tuple[Outcome, list[bytes]]:
    """The outcome of a retrieval, and the files that are here after it."""
    arrivals = Arrivals(home / "arrivals", key_of)
    fetch = Fetch(study_uid=STUDY, series_uid=SERIES, sop_uids=sop_uids)
    outcome = asking(fake.url, home).retrieve(fetch, arrivals, reserve)
    return outcome, sorted(path.read_bytes() for path in arrivals.folder.glob("*/*.dcm"))


def test_a_server_that_counts_nothing_is_counted(tmp_path: Path) -> None:
    """A study is found by its keys; if the server does not count its instances, they are listed and counted."""
    with dicomweb(SLICES) as fake:
        pacs = asking(fake.url, tmp_path)
        (study,) = pacs.studies(Query(accession=ACCESSION, dates="20200101-20201231", modality="CT"))
        assert (study.accession, study.patient_id, study.study_uid, study.instances) == ("A1", "P1", STUDY, None)
        assert pacs.instances(STUDY) == {SERIES: frozenset(UIDS)}
        assert pacs.announced(study) == 3
    assert fake.paths[0].startswith("/web/studies?AccessionNumber=ACC+77%2F31%265%3D%C3%BC&ModalitiesInStudy=CT&")
    assert "StudyDate=20200101-20201231" in fake.paths[0]


def test_what_is_kept_is_what_was_sent(tmp_path: Path) -> None:
    """A whole study in one answer, or single instances: the very bytes."""
    with dicomweb(SLICES) as fake:
        assert fetched(fake, tmp_path / "one", UIDS[1]) == (Outcome(completed=1, failed=0), [FILES[1]])
        assert fetched(fake, tmp_path / "all") == (Outcome(completed=3, failed=0), sorted(FILES))


@pytest.mark.parametrize(
    ("answer", "reason", "kept_files"),
    [
        (multipart_answer(FILES[0], OTHER, FILES[1]), "sent-other", FILES[:2]),
        (multipart_answer(FILES[0][:-40], FILES[1]), "sent-broken", FILES[1:2]),
        (multipart_answer(b"<html>", FILES[1]), "sent-broken", FILES[1:2]),
        (Answer(status=404), "pacs-http-404", []),
        (Answer(status=204), "pacs-http-204", []),
        (multipart_answer(), "", []),
    ],
    ids=["other-study", "cut-file", "no-dicom", "gone", "nothing", "no-part"],
)
def test_what_was_not_asked_for_is_not_kept(
    tmp_path: Path, answer: Answer, reason: str, kept_files: list[bytes]
) -> None:
    """A file of another study, a broken or a missing one gives a reason; the good ones beside it are kept."""
    with dicomweb() as fake:
        fake.first = [answer]
        outcome, files = fetched(fake, tmp_path)
    assert (outcome.reason, files) == (reason, sorted(kept_files))


def test_an_instance_that_is_another_than_the_one_named_is_not_kept(tmp_path: Path) -> None:
    with dicomweb() as fake:
        fake.first = [multipart_answer(FILES[2])]
        outcome, files = fetched(fake, tmp_path, UIDS[0])
    assert (outcome.reason, files) == ("sent-other", [])


@pytest.mark.parametrize("status", [400, 406])
def test_a_server_that_cannot_give_any_syntax_is_asked_plainly(tmp_path: Path, status: int) -> None:
    """After HTTP 406 or 400 to `transfer-syntax=*` each file is asked for without it, and comes."""
    with dicomweb(SLICES) as fake:
        fake.first = [Answer(status=status)]
        assert fetched(fake, tmp_path, *UIDS) == (Outcome(completed=len(FILES), failed=0), sorted(FILES))
        assert ["transfer-syntax=*" in headers["Accept"] for headers in fake.headers] == [True, *[False] * len(FILES)]
        fake.first = [Answer(status=status)] * 2
        with pytest.raises(PacsFailed) as caught:
            fetched(fake, tmp_path)
        assert caught.value.reason == f"pacs-http-{status}"


@pytest.mark.parametrize(
    "answer",
    [
        multipart_answer(*FILES[:2], end=False),
        multipart_answer(*FILES, end=False)._replace(body=multipart_answer(*FILES).body[: -len(FILES[2]) // 2]),
        multipart_answer(*FILES)._replace(extra_headers=(("Content-Length", "9999999"),)),
        multipart_answer(*FILES)._replace(content_type="application/dicom"),
        multipart_answer(*FILES)._replace(content_type="multipart/related"),
        Answer(status=500),
        Answer(status=302, extra_headers=(("Location", "/web/elsewhere"),)),
    ],
    ids=["no-end", "cut", "short", "single", "no-boundary", "failure", "redirection"],
)
def test_an_answer_that_is_cut_off_is_no_success(tmp_path: Path, answer: Answer) -> None:
    """Its last part is not kept, since it may be cut; the parts before it are."""
    with dicomweb() as fake:
        fake.first = [answer]
        with pytest.raises((PacsFailed, PacsUnreachable)):
            fetched(fake, tmp_path)
    assert {path.read_bytes() for path in (tmp_path / "arrivals").glob("*/*.dcm")} <= set(FILES)


def test_the_part_before_the_cut_is_kept(tmp_path: Path) -> None:
    with dicomweb() as fake:
        fake.first = [multipart_answer(*FILES, end=False)]
        with pytest.raises(PacsFailed, match="ends before its end"):
            fetched(fake, tmp_path)
    assert sorted(path.read_bytes() for path in (tmp_path / "arrivals").glob("*/*.dcm")) == sorted(FILES[:2])


def test_images_are_kept_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks off costs what had not come whole, and no image before."""
    monkeypatch.setattr(module, "_CHUNK", 100)
    with dicomweb() as fake:
        fake.first = [multipart_answer(*FILES)._replace(extra_headers=(("Content-Length", "9999999"),))]
        with pytest.raises((PacsFailed, PacsUnreachable)):
            fetched(fake, tmp_path)
    kept = {path.read_bytes() for path in (tmp_path / "arrivals").glob("*/*.dcm")}
    assert kept >= set(FILES[:2])


def test_an_answer_with_ever_more_images_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never stops sending blocks nobody; the earlier arrivals are kept."""
    monkeypatch.setattr("site_node.network.dicomweb._MOST_INSTANCES", 2)
    with dicomweb() as fake:
        fake.first = [multipart_answer(*FILES)]
        with pytest.raises(PacsFailed, match="more than 2"):
            fetched(fake, tmp_path)
    assert sorted(path.read_bytes() for path in (tmp_path / "arrivals").glob("*/*.dcm")) == sorted(FILES[:2])


def test_a_full_disk_ends_a_retrieval_with_that_reason(tmp_path: Path) -> None:
    """The reserve is respected, and the other instances are not requested."""
    with dicomweb(SLICES) as fake:
        outcome, files = fetched(fake, tmp_path, *UIDS, reserve=1 << 60)
        assert (outcome.reason, files, len(fake.paths)) == ("disk-full", [], 1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=401), DicomwebRefused),
        (Answer(status=403), DicomwebRefused),
        (Answer(status=500), PacsFailed),
        (Answer(status=302, extra_headers=(("Location", "http://127.0.0.1:1/"),)), PacsFailed),
        (Answer(body=b"<html>no list</html>"), PacsFailed),
        (Answer(body=b'{"a": 1'), PacsFailed),
        (Answer(body=b'[{"0020000D": {"vr": "UI", "Value": ["../../secret"]}}]'), PacsFailed),
        (Answer(body=b"[1, null, {}]"), PacsFailed),
        (Answer(body=b"7"), PacsFailed),
    ],
    ids=["401", "403", "500", "redirection", "html", "cut", "no-uid", "no-objects", "no-list"],
)
def test_nobody_reads_what_was_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], answer: Answer, error: type[RicordError]
) -> None:
    """The accession number is in the URL, and the libraries log and quote URLs: no log and no error shows it."""
    records: list[logging.LogRecord] = []
    catcher = logging.Handler(level=0)
    catcher.emit = records.append  # type: ignore[method-assign, assignment] # the smallest handler there is
    root = logging.getLogger()
    level = root.level
    root.addHandler(catcher)
    root.setLevel(logging.DEBUG)
    try:
        with dicomweb() as fake:
            fake.first = [answer]
            with pytest.raises(error) as caught:
                asking(fake.url, tmp_path).studies(Query(accession=ACCESSION))
        with pytest.raises(PacsUnreachable) as unreachable:
            asking(f"http://127.0.0.1:{free_port()}/web", tmp_path).studies(Query(accession=ACCESSION))
    finally:
        root.setLevel(level)
        root.removeHandler(catcher)
    errors = (caught.value, unreachable.value)
    output = "".join(
        [*capfd.readouterr(), *(record.getMessage() for record in records)]
        + [text for error in errors for text in (*traceback.format_exception(error), error.public, error.private)]
    )
    assert not any(part in output for part in (ACCESSION, "ACC 77", "ACC+77", "77%2F31", "?Accession"))
    assert not [record.name for record in records if record.name.split(".")[0] in _TALKATIVE]


def test_a_failure_passes_and_the_next_question_is_answered(tmp_path: Path) -> None:
    """The client itself does not retry: the request does, in its hours."""
    with dicomweb(SLICES) as fake:
        fake.first = [Answer(status=503), Answer(status=500)]
        pacs = asking(fake.url, tmp_path)
        for _ in range(2):
            with pytest.raises(PacsFailed):
                pacs.echo()
        pacs.echo()
        assert len(fake.paths) == 3


def test_no_match_and_a_wrong_url_are_distinguished(tmp_path: Path) -> None:
    """204 and an empty list mean no match; so does 404, if the service exists at all."""
    with dicomweb(SLICES) as fake:
        pacs = asking(fake.url, tmp_path)
        for answer in (Answer(status=204), search_answer([]), Answer(status=404)):
            fake.first = [answer]
            assert pacs.studies(Query(accession="X")) == ()
        fake.first = [Answer(status=404)] * 2
        with pytest.raises(PacsFailed, match="404"):
            pacs.studies(Query(accession="X"))
        with pytest.raises(InvalidArgument):
            pacs.studies(Query(accession="X*"))


def test_answers_come_page_by_page_and_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pages, a page that repeats itself, and a server that never ends: each search ends."""
    studies = [make_ct(slices=1, rows=8, study=str(number))[0] for number in range(5)]
    with dicomweb() as fake:
        pacs = asking(fake.url, tmp_path)
        fake.first = [search_answer(studies[:2]), search_answer(studies[2:4]), search_answer(studies[4:])]
        assert len(pacs.studies(Query(patient_id="P"))) == 5
        assert [path.partition("offset=")[2] for path in fake.paths] == ["0", "2", "4", "5"]
        fake.first = [search_answer(studies)] * 3
        assert len(pacs.studies(Query(patient_id="P"))) == 5
        assert len(fake.first) == 1
        monkeypatch.setattr(module, "_MOST_ANSWERS", 4)
        fake.first = [search_answer(studies)]
        with pytest.raises(PacsFailed, match="ask for less"):
            pacs.studies(Query(patient_id="P"))


def test_a_search_may_have_just_so_many_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound itself is let through."""
    studies = [make_ct(slices=1, rows=8, study=str(number))[0] for number in range(3)]
    monkeypatch.setattr(module, "_MOST_ANSWERS", 3)
    with dicomweb() as fake:
        fake.first = [search_answer(studies), search_answer([])]
        assert len(asking(fake.url, tmp_path).studies(Query(patient_id="P"))) == 3


def test_each_service_is_tried_with_a_sample_or_without(tmp_path: Path) -> None:
    """A server that has no such study passes where there is no sample; with one its answer is what counts."""
    sample = Fetch(study_uid=STUDY, series_uid=SERIES, sop_uids=UIDS[:1])
    with dicomweb(SLICES) as fake:
        arrivals, trials = Arrivals(tmp_path / "arrivals", key_of), asking(fake.url, tmp_path).trials()
        assert list(trials) == ["QIDO-RS", "WADO-RS"]
        assert trials["QIDO-RS"](None, arrivals) == trials["QIDO-RS"](sample, arrivals) == Outcome()
        assert trials["WADO-RS"](sample, arrivals) == Outcome(completed=1, failed=0)
        assert arrivals.count(STUDY) == 1
        for answered in (None, sample):
            fake.first = [Answer(status=404)]
            outcome = trials["WADO-RS"](answered, arrivals)
            assert outcome.reason == ("pacs-http-404" if answered else "")


def test_a_password_or_a_token_is_read_from_a_file_of_ours_only(tmp_path: Path) -> None:
    """A renewed token is used at once; a file that others can read, an invalid or a missing one is refused."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("pä:ss\n")
    with dicomweb(SLICES) as fake:
        asking(fake.url, tmp_path, username="ricord", password_file=secret).echo()
        secret.write_text("token-1\n")
        pacs = asking(fake.url, tmp_path, token_file=secret)
        pacs.echo()
        secret.write_text("token-2\n")
        pacs.echo()
        authorizations = [headers["Authorization"] for headers in fake.headers]
        assert authorizations == ["Basic cmljb3JkOnDDpDpzcw==", "Bearer token-1", "Bearer token-2"]
        assert all(headers["Host"] in fake.url for headers in fake.headers)
        assert {headers["Accept-Encoding"] for headers in fake.headers} == {"identity"}
        secret.write_text("two\nlines")
        with pytest.raises(PacsFailed, match="key-file-invalid"):
            pacs.echo()
        for text in ("two\nlines", "two words", "t\u00f6ken", ""):
            secret.write_text(text)
            with pytest.raises(KeyFileInvalid):
                asking(fake.url, tmp_path, token_file=secret)
        secret.chmod(0o640)
        with pytest.raises(KeyFileOpen):
            asking(fake.url, tmp_path, token_file=secret)
        with pytest.raises(KeyFileMissing):
            asking(fake.url, tmp_path, token_file=tmp_path / "none")


def test_tls_is_verified_and_may_be_mutual(tmp_path: Path) -> None:
    """Only a server with a certificate of the authority is trusted; it may require our certificate."""
    (tmp_path / "other").mkdir()
    files, other = make_tls_files(tmp_path), make_tls_files(tmp_path / "other")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.authority))
    server.load_cert_chain(files.certificate, files.key)
    server.verify_mode = ssl.CERT_REQUIRED
    ours = {"authorities": files.authority, "certificate": files.certificate, "key": files.key}
    with dicomweb(SLICES, server) as fake:
        asking(fake.url, tmp_path, **ours).echo()
        for settings in ({}, {"authorities": files.authority}, {**ours, "authorities": other.authority}):
            with pytest.raises(PacsUnreachable):
                asking(fake.url, tmp_path, **settings).echo()
    with pytest.raises(KeyFileInvalid):
        asking(fake.url, tmp_path, **{**ours, "key": files.authority})
    with pytest.raises(KeyFileMissing):
        asking(fake.url, tmp_path, authorities=tmp_path / "none")


@pytest.mark.parametrize("url", ["http://localhost:8042/web/", "http://[::1]/web", "https://pacs.hospital.example/web"])
def test_an_address_is_kept_without_a_slash_at_its_end(url: str) -> None:
    assert DicomwebSettings(url=url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"url": url} for url in (
            "http://pacs.hospital.example/web", "http://10.0.0.1", "http://127.0.0.1.example.org", "ftp://localhost/",
            "https://", "pacs.hospital.example", "https://a:b@pacs.example/", "https://pacs.example/?a=b",
            "https://pacs.example/#a", "https://pacs.example:port/", "https://pacs example/", "https://[::1/", "",
            "https://pacs.example:0/",
        )),
        {"username": "a"},
        {"password_file": "a"},
        {"username": "a:b", "password_file": "a"},
        {"username": "a", "password_file": "a", "token_file": "b"},
        {"certificate": "a"},
        {"key": "a"},
        {"password": "secret"},
        {"hours": "20"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_are_unsafe_or_half_stop_the_start(wrong: dict[str, object]) -> None:
    """Unencrypted to another machine, a secret in the address or the file, half a pair."""
    with pytest.raises(ValidationError):
        DicomwebSettings.model_validate({"url": "https://pacs.example", **wrong})
