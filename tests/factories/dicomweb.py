"""A DICOMweb server for tests, on loopback: tests set its answers, so it can fail in every way a real one may."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, NamedTuple

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

_TAGS = {
    "00080050": "AccessionNumber", "00100020": "PatientID", "00080020": "StudyDate", "0020000D": "StudyInstanceUID",
    "0020000E": "SeriesInstanceUID", "00080018": "SOPInstanceUID", "00080060": "Modality",
}  # fmt: skip
BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'


class Answer(NamedTuple):
    """The server's answer to one request."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/dicom+json"
    extra_headers: tuple[tuple[str, str], ...] = ()


class FakeDicomweb:
    """It answers from `instances`, after the answers in `first`, each for one request; `paths` are the requests."""

    def __init__(self, instances: Sequence[Dataset]) -> None:
        self.instances = list(instances)
        self.first: list[Answer] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def answer(self, path: str) -> Answer:
        """The answer for a path of the service, as the single page of its results."""
        if self.first:
            return self.first.pop(0)
        location, _, query = path.partition("?")
        if "offset=" in query and "offset=0" not in query.split("&"):
            return Answer(body=b"[]")
        parts = location.strip("/").split("/")
        if len(parts) % 2:  # studies, or series and instances of something
            return search_answer(self._below(parts[1:], parts[-1]))
        return multipart_answer(*map(part_10, self._below(parts[1:], "instances")))

    def _below(self, parts: list[str], level: str) -> list[Dataset]:
        uid_key = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID"}.get(level, "SOPInstanceUID")
        matches: dict[str, Dataset] = {}
        for dataset in self.instances:
            uids = {dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID}
            if set(parts) - {"series", "instances"} <= uids:
                matches[dataset[uid_key].value] = dataset
        return list(matches.values())


def search_answer(datasets: Sequence[Dataset]) -> Answer:
    """Search results; this server counts nothing."""
    results = [
        {tag: {"vr": "LO", "Value": [str(entry.get(name, ""))]} for tag, name in _TAGS.items()} for entry in datasets
    ]
    return Answer(body=json.dumps(results).encode())


def multipart_answer(*files: bytes, end: bool = True, line_end: bytes = b"\r\n") -> Answer:
    """A multipart answer; without its `end` it is cut off."""
    delimiter = b"--" + BOUNDARY.encode()
    head = line_end.join((delimiter, b"Content-Type: application/dicom", b"", b""))
    parts = b"".join(head + file + line_end for file in files)
    return Answer(body=parts + (delimiter + b"--" + line_end if end else b""), content_type=MULTIPART)


def part_10(dataset: Dataset) -> bytes:
    """A data set as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


@contextmanager
def dicomweb(
    instances: Sequence[Dataset] = (), tls: ssl.SSLContext | None = None, fake: FakeDicomweb | None = None
) -> Iterator[FakeDicomweb]:
    """Serve until the block ends, what `fake` answers where it is given."""
    fake = fake or FakeDicomweb(instances)
    server = _Server(("127.0.0.1", 0), _handler(fake))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/web"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined at the end, when each of their sockets is closed

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: some tests make a handshake fail."""


def _handler(fake: FakeDicomweb) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.paths.append(self.path)
            fake.headers.append(dict(self.headers))
            answer = fake.answer(self.path.removeprefix("/web"))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            for name, value in answer.extra_headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)  # HTTP/1.0: its end is the end of the connection, as Orthanc's is

        def log_message(self, *_: object) -> None: ...

    return Handler
