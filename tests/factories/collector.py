"""A collector of OpenTelemetry on loopback, which keeps what it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord


class Collector:
    """What it was sent, and the statuses that it answers next, the last of them for good."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.bodies: list[bytes] = []
        self.statuses = [200]
        self.silent = threading.Event()  # while set, it does not answer
        self.asked = threading.Event()

    def answer(self, body: bytes) -> int:
        """The status for a request; what it accepts it keeps."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 200:
            self.bodies.append(body)
        self.asked.set()
        return status

    @property
    def requests(self) -> list[ExportLogsServiceRequest]:
        """What it accepted."""
        return [ExportLogsServiceRequest.FromString(body) for body in self.bodies]

    @property
    def records(self) -> list[LogRecord]:
        """The lines that it accepted."""
        return [
            record
            for request in self.requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert (self.path, self.headers["Content-Type"]) == ("/v1/logs", "application/x-protobuf")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            while collector.silent.is_set():
                collector.asked.set()
                ended.wait(0.05)
            self.send_response(collector.answer(body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object, **__: object) -> None:
            pass

    ended = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            collector.silent.clear()
            ended.set()
            server.shutdown()
            thread.join()
