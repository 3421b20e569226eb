"""Query a PACS over the web: QIDO-RS (PS3.18 10.6) to find, WADO-RS (10.4) to fetch.

Each operation has its own session. Images are read part by part as a stream and stored with the bytes that were sent:
the client's own `iter_study` gives parsed data sets, and accepts an answer that was cut off. Foreign exceptions quote
URLs, and so the query; none of them leaves this module.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
import structlog
from dicomweb_client import DICOMwebClient

from shared.errors.settings import SettingsError
from shared.errors.storage import DiskFull
from shared.errors.studies import DicomUnreadable
from shared.errors.transport import DicomwebRefused, PacsFailed, PacsUnreachable, TransportError
from site_node.dicom.reading import read_header
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve, Trial
from site_node.network.multipart import read_parts
from site_node.network.query import (
    INSTANCE_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Fetch,
    Outcome,
    Query,
    SeriesMatch,
    StudyMatch,
    from_dicom_json,
    is_uid,
    matching_keys,
    series_match,
    study_match,
    text_of,
)
from site_node.network.web_session import check_files, session_with, silence
from site_node.settings.dicomweb import DicomwebSettings

log = structlog.get_logger(__name__)

_MOST_ANSWERS = 10_000
_MOST_INSTANCES = 100_000  # in one answer, which may be endless
_NO_STUDY = "2.25.0"  # a UID that no PACS knows
_BYTE_ORDER_MARK = "\ufeff"
_PAGE = 1_000  # answers requested at once
_CHUNK = 1 << 20
_PLAINLY = 'multipart/related; type="application/dicom"'  # the server may then decompress, PS3.18 8.7.3.5.2
_ANY_SYNTAX = f"{_PLAINLY}; transfer-syntax=*"  # as stored, compressed or not
_NOT_ACCEPTABLE: frozenset[int] = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE})
_NOT_FOUND: frozenset[int] = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_OUR_FAILURES = frozenset({"disk-full", "not-kept"})  # continuing would not help
_UNIQUE_KEYS = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})  # of each query level

Answer = dict[str, Any]
Search = Callable[..., Any]


class Dicomweb(QueryRetrieve):
    """One server. The files named in the settings are relative to `home`; they are checked once, at the start."""

    def __init__(self, settings: DicomwebSettings, home: Path) -> None:
        silence()
        check_files(settings, home)
        self._settings = settings
        self._home = home

    def echo(self) -> None:
        """Search for any single study; raises `PacsUnreachable`, `DicomwebRefused`, `PacsFailed`.

        A wrong URL fails with HTTP 404; some servers answer so, too, if nothing matches a query.
        """
        with self._session("QIDO-RS search") as session:
            self._client(session).search_for_studies(limit=1, fields=("StudyInstanceUID",))

    def studies(self, query: Query) -> tuple[StudyMatch, ...]:
        """The studies that match; raises as `echo`, and `InvalidArgument` for a query that is not `checked`."""
        filters = matching_keys(query.checked())
        answers = self._search(lambda client: client.search_for_studies, STUDY_KEYS, filters, missing=self.echo)
        return tuple(map(study_match, answers.values()))

    def series(self, study_uid: str) -> tuple[SeriesMatch, ...]:
        """The series of a study; raises as `echo`."""
        answers = self._search(lambda client: partial(client.search_for_series, study_uid), SERIES_KEYS)
        return tuple(map(series_match, answers.values()))

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study. Raises as `echo`."""
        return {series.series_uid: self._sop_uids(study_uid, series.series_uid) for series in self.series(study_uid)}

    def _sop_uids(self, study_uid: str, series_uid: str) -> frozenset[str]:
        return frozenset(
            self._search(lambda client: partial(client.search_for_instances, study_uid, series_uid), INSTANCE_KEYS)
        )

    def retrieve(self, fetch: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """Fetch a study in one answer, or instances one by one. Raises as `echo`; earlier arrivals are kept."""
        reasons: list[str] = []
        with self._session("WADO-RS retrieve") as session, closing(self._files(session, fetch)) as files:
            for content in files:
                if len(reasons) == _MOST_INSTANCES:
                    raise _failed("WADO-RS retrieve", f"more than {_MOST_INSTANCES} images", "answers-too-many")
                if isinstance(content, bytes):
                    reasons.append(_store(content, fetch, arrivals, reserve))
                else:
                    reasons.append(f"pacs-http-{content}")
                if reasons[-1] in _OUR_FAILURES:
                    break
        completed = reasons.count("")
        return Outcome(reason=next(filter(None, reasons), ""), completed=completed, failed=len(reasons) - completed)

    def trials(self) -> Mapping[str, Trial]:
        """QIDO-RS and WADO-RS; without a sample a server that answers that it has no such study passes."""
        return {"QIDO-RS": self._try_search, "WADO-RS": self._try_retrieve}

    def _try_search(self, _sample: Fetch | None, _arrivals: Arrivals) -> Outcome:
        self.echo()
        return Outcome()

    def _try_retrieve(self, sample: Fetch | None, arrivals: Arrivals) -> Outcome:
        outcome = self.retrieve(sample or Fetch(study_uid=_NO_STUDY), arrivals)
        return outcome if sample is not None else Outcome()

    def _search(
        self,
        search: Callable[[DICOMwebClient], Search],
        keys: tuple[str, ...],
        filters: dict[str, str] | None = None,
        missing: Callable[[], None] = lambda: None,
    ) -> dict[str, Answer]:
        """All answers by their UID, page by page until one adds nothing new; `missing` is called for HTTP 404.

        A server may send fewer answers than the limit, or all of them each time.
        """
        uid_key = next(key for key in keys if key in _UNIQUE_KEYS)
        answers: dict[str, Answer] = {}
        offset = 0
        with self._session("QIDO-RS search") as session:
            ask = search(self._client(session))
            while page := _page(partial(ask, fields=keys, search_filters=filters, limit=_PAGE, offset=offset), missing):
                known = len(answers)
                answers.update({text_of(answer, uid_key): answer for answer in page})
                offset += len(page)
                if len(answers) > _MOST_ANSWERS:
                    problem = f"more than {_MOST_ANSWERS} answers; ask for less"
                    raise _failed("QIDO-RS search", problem, "answers-too-many")
                if len(answers) == known:
                    break
        if not all(map(is_uid, answers)):
            raise _failed("QIDO-RS search", "it names something without a valid UID", "answer-without-uid")
        return answers

    def _files(self, session: requests.Session, fetch: Fetch) -> Generator[bytes | int, None, None]:
        """Each file of the answers; the HTTP status for a URL that the server does not have, or sends in part.

        A server that cannot give any syntax is asked plainly from then on.
        """
        study = f"{self._settings.url}/studies/{fetch.study_uid}"
        urls = [f"{study}/series/{fetch.series_uid}/instances/{uid}" for uid in fetch.sop_uids] or [study]
        seconds = (self._settings.answer_seconds, self._settings.retrieve_seconds)
        accept = _ANY_SYNTAX
        while urls:
            with session.get(urls[0], headers={"Accept": accept}, stream=True, timeout=seconds) as response:
                if response.status_code in _NOT_ACCEPTABLE and accept == _ANY_SYNTAX:
                    accept = _PLAINLY
                    continue
                del urls[0]
                if response.status_code in _NOT_FOUND:
                    yield response.status_code
                    continue
                response.raise_for_status()
                yield from read_parts(response.headers.get("Content-Type", ""), response.iter_content(_CHUNK))
                if response.status_code == HTTPStatus.PARTIAL_CONTENT:  # not every instance was sent
                    yield response.status_code

    def _client(self, session: requests.Session) -> DICOMwebClient:
        client = DICOMwebClient(
            self._settings.url, session=session, permissive_uid=True, timeout=self._settings.answer_seconds
        )
        client.set_http_retry_params(retry=False)  # the whole request is retried, in its hours
        return client

    @contextmanager
    def _session(self, operation: str) -> Iterator[requests.Session]:
        """A session whose errors become ours, without the query in their texts."""
        try:
            with session_with(self._settings, self._home) as session:
                yield session
        except SettingsError as error:  # such as a token that is being renewed; the next attempt reads it again
            raise _failed(operation, f"a file of `[dicomweb]` cannot be used: {error.code}", "pacs-failed") from None
        except requests.HTTPError as error:
            raise self._refusal(operation, _status(error)) from None
        except requests.TooManyRedirects:
            raise _failed(operation, "it sends us to another address; name that in `url`", "pacs-redirects") from None
        except (requests.exceptions.InvalidJSONError, json.JSONDecodeError):
            raise _failed(operation, "its answer is no JSON", "answer-not-json") from None
        except OSError as error:  # the base class of the errors of requests
            raise PacsUnreachable(type(error).__name__, address=self._settings.url) from None

    def _refusal(self, operation: str, status: int) -> TransportError:
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return DicomwebRefused(address=self._settings.url, status=str(status))
        return _failed(operation, f"HTTP {status}", f"pacs-http-{status}")


def _page(ask: Search, missing: Callable[[], None]) -> list[Answer]:
    """One page of answers; empty for HTTP 404, unless `missing` raises."""
    try:
        page = _without_mark(ask)
    except requests.HTTPError as error:
        if _status(error) not in _NOT_FOUND:
            raise
        missing()
        return []
    if not isinstance(page, list):
        raise _failed("QIDO-RS search", "its answer is no list", "answer-not-json")
    return [from_dicom_json(answer) for answer in page]


def _without_mark(ask: Search) -> Any:
    """The answer's JSON; a byte order mark before it is ignored, as RFC 8259 8.1 permits."""
    try:
        return ask()
    except requests.exceptions.JSONDecodeError as error:
        return json.loads(error.doc.removeprefix(_BYTE_ORDER_MARK))


def _status(error: requests.HTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _store(content: bytes, fetch: Fetch, arrivals: Arrivals, reserve: int) -> str:
    """Store one file; returns the reason if it was not stored, else an empty text."""
    try:
        header = read_header(BytesIO(content), len(content))
    except DicomUnreadable:
        return "sent-broken"
    study_uid, sop_uid = header.study_instance_uid, header.sop_instance_uid
    if not fetch.includes(study_uid, sop_uid):
        return "sent-other"
    try:
        arrivals.check_space(reserve + len(content))
        arrivals.store(study_uid, sop_uid, content)
    except DiskFull:
        log.error("dicomweb.disk_full")
        return "disk-full"
    except OSError as error:
        log.error("dicomweb.not_kept", errno=error.errno)
        return "not-kept"
    return ""


def _failed(operation: str, problem: str, reason: str) -> PacsFailed:
    return PacsFailed(operation=operation, problem=problem, reason=reason)
