"""Answer `/metrics`, `/livez` and `/readyz` over HTTP beside a service."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog

from shared.errors.base import RicordError
from shared.errors.settings import PortInUse
from shared.extras import require_extra
from shared.monitoring.settings import MonitorSettings

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)

Check = Callable[[], object]  # raises a `RicordError` where the answer is no
_REQUEST_SECONDS = 5.0  # of silence in which a client is dropped


@contextmanager
def monitoring(
    settings: MonitorSettings | None, figures: "Callable[[], Collector]", *, live: Check, ready: Check
) -> Iterator[None]:
    """Answer while the block runs; without settings nothing listens.

    `figures` makes what is collected at each request for `/metrics`. Raises `PortInUse`, and `ExtraMissing` where
    prometheus-client is not installed.
    """
    if settings is None:
        yield
        return
    require_extra("monitoring", "prometheus_client", otherwise=", or remove `[monitor]` from the settings")
    try:
        server = make_server(
            settings.host,
            settings.port,
            _application(figures(), {"/livez": live, "/readyz": ready}),
            server_class=_Server,
            handler_class=_Handler,
        )
    except OSError as error:
        raise PortInUse(str(error), host=settings.host, port=str(settings.port), key="monitor.port") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="monitor")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that a slow client keeps nobody else waiting."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or sent what is no HTTP, is no news."""
        del request, client_address


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def address_string(self) -> str:
        """The caller's address; its name is not looked up."""
        return str(self.client_address[0])

    def log_message(self, *_: object, **__: object) -> None:
        """Requests are no news."""


def _application(figures: "Collector", checks: Mapping[str, Check]) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The WSGI application."""
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry()
    registry.register(figures)
    metrics = make_wsgi_app(registry)

    def answer(environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if environment["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _say(start, "405 Method Not Allowed", "there are GET and HEAD")
        if path != "/metrics" and path not in checks:
            return _say(start, "404 Not Found", "there are /metrics, /livez and /readyz")
        try:
            if path == "/metrics":
                return metrics(environment, start)  # type: ignore[no-any-return]
            checks[path]()
        except Exception as error:  # noqa: BLE001 -- a defect, or a store that is locked, is an answer too
            code = error.code if isinstance(error, RicordError) else type(error).__name__
            log.warning("monitor.problem", path=path, code=code)
            return _say(start, "503 Service Unavailable", code)
        return _say(start, "200 OK", "ok")

    return answer


def _say(start: Any, status: str, text: str) -> Iterable[bytes]:
    """Answer a line."""
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
    return [text.encode() + b"\n"]
