"""Ask a PACS over the web: QIDO-RS (PS3.18 10.6) to find, WADO-RS (10.4) to fetch.

Each question has a session of its own. Images are read part by part as they come and kept with the bytes that were
sent: the client's own `iter_study` would give parsed data sets, and take an answer that was cut off for a whole one.
Foreign exceptions quote URLs, and so what was asked for; none of them leaves this module.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
import structlog
from dicomweb_client import DICOMwebClient

from shared.errors import (
    DicomUnreadable,
    DicomwebRefused,
    DiskFull,
    PacsFailed,
    PacsUnreachable,
    SettingsError,
    TransportError,
)
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve
from site_node.network.multipart import read_parts
from site_node.network.query import (
    INSTANCE_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Fetch,
    Outcome,
    Query,
    SeriesFound,
    StudyFound,
    is_uid,
    matched,
    series_found,
    study_found,
    text_of,
    told,
)
from site_node.network.web_session import check_files, session_with, silence
from site_node.receive.reading import read_header
from site_node.settings.dicomweb import DicomwebSettings

log = structlog.get_logger(__name__)

_MOST_ANSWERS = 10_000
_MOST_INSTANCES = 100_000  # in one answer, which may have no end
_PAGE = 1_000  # answers asked for at once
_CHUNK = 1 << 20
_AS_IT_LIES = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # compressed or not
_NONE_THERE: frozenset[int] = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_OURS = frozenset({"disk-full", "not-kept"})  # going on would not help
_OWN = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})  # what tells answers of a level apart

Answer = dict[str, Any]
Search = Callable[..., Any]


class Dicomweb(QueryRetrieve):
    """One server. `home` is where the files that the settings name lie; they are looked at once before the start."""

    def __init__(self, settings: DicomwebSettings, home: Path) -> None:
        silence()
        check_files(settings, home)
        self._settings = settings
        self._home = home

    def echo(self) -> None:
        """Ask for any one study; raises `PacsUnreachable`, `DicomwebRefused`, `PacsFailed`.

        Where the URL is wrong it fails with HTTP 404; some servers say that too where nothing fits a question.
        """
        with self._asking("QIDO-RS search") as session:
            self._client(session).search_for_studies(limit=1, fields=("StudyInstanceUID",))

    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        """The studies that fit; raises as `echo`, and `InvalidArgument` for a query that is not `checked`."""
        filters = matched(query.checked())
        found = self._search(lambda client: client.search_for_studies, STUDY_KEYS, filters, missing=self.echo)
        return tuple(map(study_found, found.values()))

    def series(self, study_uid: str) -> tuple[SeriesFound, ...]:
        """The series of a study; raises as `echo`."""
        found = self._search(lambda client: partial(client.search_for_series, study_uid), SERIES_KEYS)
        return tuple(map(series_found, found.values()))

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study. Raises as `echo`."""
        return {one.series_uid: self._of_series(study_uid, one.series_uid) for one in self.series(study_uid)}

    def _of_series(self, study_uid: str, series_uid: str) -> frozenset[str]:
        return frozenset(
            self._search(lambda client: partial(client.search_for_instances, study_uid, series_uid), INSTANCE_KEYS)
        )

    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """Fetch a study in one answer, or instances one by one. Raises as `echo`; what came until then is kept."""
        reasons: list[str] = []
        with self._asking("WADO-RS retrieve") as session, closing(self._sent(session, asked)) as sent:
            for content in sent:
                if len(reasons) == _MOST_INSTANCES:
                    raise _failed("WADO-RS retrieve", f"more than {_MOST_INSTANCES} images")
                reasons.append(_keep(content, asked, arrivals, reserve) if content else "pacs-could-not-send")
                if reasons[-1] in _OURS:
                    break
        completed = reasons.count("")
        return Outcome(reason=next(filter(None, reasons), ""), completed=completed, failed=len(reasons) - completed)

    def _search(
        self,
        search: Callable[[DICOMwebClient], Search],
        keys: tuple[str, ...],
        filters: dict[str, str] | None = None,
        missing: Callable[[], None] = lambda: None,
    ) -> dict[str, Answer]:
        """All answers by their UID, page by page until one brings nothing new; `missing` is called where HTTP says 404.

        A server may answer with fewer than asked for, or with all of them each time.
        """
        own = next(key for key in keys if key in _OWN)
        found: dict[str, Answer] = {}
        given = 0
        with self._asking("QIDO-RS search") as session:
            ask = search(self._client(session))
            while page := _page(partial(ask, fields=keys, search_filters=filters, limit=_PAGE, offset=given), missing):
                known = len(found)
                found.update({text_of(one, own): one for one in page})
                given += len(page)
                if len(found) > _MOST_ANSWERS:
                    raise _failed("QIDO-RS search", f"more than {_MOST_ANSWERS} answers; ask for less")
                if len(found) == known:
                    break
        if not all(map(is_uid, found)):
            raise _failed("QIDO-RS search", "it names something without a valid UID")
        return found

    def _sent(self, session: requests.Session, asked: Fetch) -> Generator[bytes, None, None]:
        """Each file that comes; an empty one where nothing of what was asked for is there."""
        study = f"{self._settings.url}/studies/{asked.study_uid}"
        named = [f"{study}/series/{asked.series_uid}/instances/{uid}" for uid in asked.sop_uids]
        seconds = (self._settings.answer_seconds, self._settings.retrieve_seconds)
        for url in named or [study]:
            with session.get(url, headers={"Accept": _AS_IT_LIES}, stream=True, timeout=seconds) as response:
                if response.status_code in _NONE_THERE:
                    yield b""
                    continue
                response.raise_for_status()
                yield from read_parts(response.headers.get("Content-Type", ""), response.iter_content(_CHUNK))

    def _client(self, session: requests.Session) -> DICOMwebClient:
        client = DICOMwebClient(
            self._settings.url, session=session, permissive_uid=True, timeout=self._settings.answer_seconds
        )
        client.set_http_retry_params(retry=False)  # the request is made again as a whole, in its hours
        return client

    @contextmanager
    def _asking(self, operation: str) -> Iterator[requests.Session]:
        """A session whose errors are ours, without what was asked for in their texts."""
        try:
            with session_with(self._settings, self._home) as session:
                yield session
        except SettingsError as error:  # a token that is just being renewed; the next attempt reads it again
            raise _failed(operation, f"a file of `[dicomweb]` cannot be used: {error.code}") from None
        except requests.HTTPError as error:
            raise self._refusal(operation, _status(error)) from None
        except requests.TooManyRedirects:
            raise _failed(operation, "it sends us to another address; name that in `url`") from None
        except requests.exceptions.InvalidJSONError:
            raise _failed(operation, "its answer is no JSON") from None
        except OSError as error:  # what requests raises is one
            raise PacsUnreachable(type(error).__name__, address=self._settings.url) from None

    def _refusal(self, operation: str, status: int) -> TransportError:
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return DicomwebRefused(address=self._settings.url, status=str(status))
        return _failed(operation, f"HTTP {status}")


def _page(ask: Search, missing: Callable[[], None]) -> list[Answer]:
    """One page of answers; none where there is nothing of what is asked for, which `missing` may know better."""
    try:
        page = ask()
    except requests.HTTPError as error:
        if _status(error) not in _NONE_THERE:
            raise
        missing()
        return []
    if not isinstance(page, list):
        raise _failed("QIDO-RS search", "its answer is no list")
    return [told(one) for one in page]


def _status(error: requests.HTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _keep(content: bytes, asked: Fetch, arrivals: Arrivals, reserve: int) -> str:
    """Keep one file; else the reason why not."""
    try:
        header = read_header(BytesIO(content), len(content))
    except DicomUnreadable:
        return "sent-broken"
    study_uid, sop_uid = header.study_instance_uid, header.sop_instance_uid
    if not asked.includes(study_uid, sop_uid):
        return "sent-other"
    try:
        arrivals.check_room(reserve + len(content))
        arrivals.store(study_uid, sop_uid, content)
    except DiskFull:
        log.error("dicomweb.disk_full")
        return "disk-full"
    except OSError as error:
        log.error("dicomweb.not_kept", errno=error.errno)
        return "not-kept"
    return ""


def _failed(operation: str, problem: str) -> PacsFailed:
    return PacsFailed(operation=operation, problem=problem)
