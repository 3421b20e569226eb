"""The log of a service sent to a collector as well, by OTLP over HTTP: codes and numbers, nothing else.

The lines on standard error are the log. What is sent of them is closed: the fields in `FIELDS`, and of these numbers
and texts without a blank. A line waits for a thread that sends, in a queue with an end; one that finds no room is
dropped and counted, and nobody waits for a collector, whether it is slow, down or lost.
"""

import http.client
import queue
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from shared.extras import DISTRIBUTION, require_extra
from shared.monitoring.settings import OtlpSettings

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

log = structlog.get_logger(__name__)

FIELDS = frozenset(
    {
        "attempt",
        "changes",
        "code",
        "count",
        "digest",
        "doing",
        "edition",
        "ended",
        "entries",
        "errno",
        "files",
        "images",
    }
    | {"kind", "lists", "missing", "next_start_seconds", "purpose", "reason", "refused", "request", "restarts", "rows"}
    | {"run", "state", "status", "studies", "study"}
)
_CODE = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # also a key, a digest and the name of a call
_SEVERITY = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "FATAL"}
_WAITING = 2048  # lines
_AT_ONCE = 256  # lines in a request
_GATHER_SECONDS = 1.0  # between two requests
_SECONDS = 5.0  # of silence in which a collector is given up
_PAUSES = (1.0, 5.0, 15.0, 60.0)  # seconds after the first failure, the second and so on
_END_SECONDS = 3.0  # for the last lines, when a service ends
_LATER = frozenset({429, 502, 503, 504})  # by these a collector asks to be sent the same again


@contextmanager
def exporting(settings: OtlpSettings | None, program: str) -> Iterator[None]:
    """Send what this process logs in the block to a collector too; without settings nothing is sent.

    Raises `ExtraMissing` where the messages of OTLP are not installed.
    """
    if settings is None:
        yield
        return
    require_extra("otlp", "opentelemetry", otherwise=", or remove `[otlp]` from the settings")
    before = structlog.get_config()["processors"]
    exporter = Exporter(settings.endpoint, program)
    structlog.configure(processors=[*before[:-1], exporter.note, before[-1]])
    try:
        yield
    finally:
        structlog.configure(processors=before)
        exporter.close()


class Exporter:
    """Sends log lines from a thread of its own until it is closed. Any thread may note a line."""

    def __init__(self, endpoint: str, program: str) -> None:
        self._endpoint = urlsplit(endpoint)
        self._tls = ssl.create_default_context() if self._endpoint.scheme == "https" else None
        self._program = program
        self._lines: queue.Queue[LogRecord] = queue.Queue(_WAITING)
        self._batch: list[LogRecord] = []  # on its way
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._dropped = 0  # lines that nobody was told of yet
        self._thread = threading.Thread(target=self._send_all, name="otlp", daemon=True)
        self._thread.start()

    def note(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog: note a line, and leave it as it is."""
        try:
            self._lines.put_nowait(record_of(event))
        except queue.Full:
            self._drop(1)
        return event

    def close(self) -> None:
        """Send what waits, within seconds; what is left then is dropped."""
        self._closing.set()
        self._thread.join(_END_SECONDS)
        self._drop(len(self._batch) + self._lines.qsize())
        self._tell_dropped()

    def _send_all(self) -> None:
        while not (self._closing.is_set() and self._lines.empty()):
            self._gather()
            failures = 0
            while self._batch and not self._is_done():
                if failures == 0 and not self._closing.is_set():  # `close` says what it drops, and nothing comes after
                    log.warning("otlp.problem")
                if self._closing.wait(_PAUSES[min(failures, len(_PAUSES) - 1)]):
                    return
                failures += 1
            self._batch = []
            if self._lines.qsize() < _WAITING:
                self._tell_dropped()

    def _gather(self) -> None:
        """Take the lines that wait, at most `_AT_ONCE`; of an idle service none."""
        self._closing.wait(_GATHER_SECONDS)
        try:
            while len(self._batch) < _AT_ONCE:
                self._batch.append(self._lines.get_nowait())
        except queue.Empty:
            return

    def _is_done(self) -> bool:
        """Whether the lines were accepted, or refused for good, by which they are dropped."""
        try:
            status = self._post(self._request())
        except (OSError, http.client.HTTPException):
            return False
        if status not in _LATER and status != http.client.OK:
            self._drop(len(self._batch))
        return status not in _LATER

    def _request(self) -> bytes:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        request = ExportLogsServiceRequest()
        of_program = request.resource_logs.add()
        for key, value in (("service.name", self._program), ("service.version", version(DISTRIBUTION))):
            of_program.resource.attributes.add(key=key).value.string_value = value
        of_program.scope_logs.add().log_records.extend(self._batch)
        return request.SerializeToString()

    def _post(self, body: bytes) -> int:
        """Send a request on a connection of its own; returns the answer's status."""
        host, port = self._endpoint.hostname or "", self._endpoint.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=_SECONDS)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self._tls)
        )
        try:
            path = f"{self._endpoint.path}/v1/logs"
            connection.request("POST", path, body, {"Content-Type": "application/x-protobuf"})
            return connection.getresponse().status
        finally:
            connection.close()

    def _drop(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    def _tell_dropped(self) -> None:
        with self._lock:
            count, self._dropped = self._dropped, 0
        if count:
            log.warning("otlp.dropped", count=count)


def record_of(event: Mapping[str, Any]) -> "LogRecord":
    """What is sent of a line: its level, its event, and its fields that `FIELDS` has and that are codes or numbers."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

    level, now = event["level"], time.time_ns()
    record = LogRecord(
        time_unix_nano=now,
        observed_time_unix_nano=now,
        severity_number=SeverityNumber.Value(f"SEVERITY_NUMBER_{_SEVERITY[level]}"),
        severity_text=level,
    )
    record.body.string_value = event["event"]
    for field in sorted(FIELDS & event.keys()):
        value = event[field]
        if isinstance(value, bool):
            record.attributes.add(key=field).value.bool_value = value
        elif isinstance(value, int) and value.bit_length() < 64:
            record.attributes.add(key=field).value.int_value = value
        elif isinstance(value, float):
            record.attributes.add(key=field).value.double_value = value
        elif isinstance(value, str) and _CODE.fullmatch(value):
            record.attributes.add(key=field).value.string_value = value
    return record
