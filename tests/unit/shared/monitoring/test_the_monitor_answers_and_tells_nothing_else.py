"""`/livez`, `/readyz` and `/metrics` answer what is asked; nothing else is there, and no error's text gets out."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from shared.errors.settings import PortInUse, ServiceStuck
from shared.monitoring.endpoint import Check, monitoring
from shared.monitoring.gauges import Gauges
from shared.monitoring.settings import MonitorSettings
from tests.factories.ports import free_port

SECRET = "DOE^JANE"


class Numbers(Collector):
    """A figure, or an error in its place."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def collect(self) -> Iterator[Metric]:
        """The figure."""
        if self.error is not None:
            raise self.error
        yield GaugeMetricFamily("ricord_test", "A test.", 7)


def stuck() -> None:
    raise ServiceStuck(program="serve", problem="waits for ever")


def broken() -> None:
    raise ValueError(SECRET)


@contextmanager
def answering(live: Check = bool, ready: Check = bool, error: Exception | None = None) -> Iterator[int]:
    port = free_port()
    with monitoring(MonitorSettings(port=port), lambda: Numbers(error), live=live, ready=ready):
        yield port


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        line.request(method, path)
        answer = line.getresponse()
        assert SECRET not in str(answer.headers)
        return answer.status, answer.read().decode()


def test_each_question_has_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """Well, not well by the code, a figure; and two questions, side by side or in turn, do not mix."""
    with answering() as port:
        assert ask(port, "/livez") == ask(port, "/readyz") == (200, "ok\n")
        assert ask(port, "/metrics")[1].endswith("ricord_test 7.0\n")
        assert ask(port, "/livez", "HEAD") == (200, "")
    with answering(ready=stuck) as port:
        assert (ask(port, "/livez"), ask(port, "/readyz")) == ((200, "ok\n"), (503, "service-stuck\n"))
        assert ask(port, "/livez") == (200, "ok\n")
    out, err = capfd.readouterr()
    assert "GET" not in out + err, "requests are not logged"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/%2e%2e/", f"/{SECRET}"])
def test_nothing_else_is_there(path: str) -> None:
    with answering() as port:
        assert ask(port, path)[0] == 404
        assert ask(port, "/metrics", "POST")[0] == 405


def test_a_defect_is_an_answer_without_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    """Its kind is said, to the caller and in the log; the next question is answered."""
    with capture_logs() as logs, answering(live=broken, error=OSError(SECRET)) as port:
        assert ask(port, "/livez") == (503, "ValueError\n")
        assert ask(port, "/metrics") == (503, "OSError\n")
        assert ask(port, "/readyz")[0] == 200
    assert [(entry["path"], entry["code"]) for entry in logs] == [("/livez", "ValueError"), ("/metrics", "OSError")]
    assert SECRET not in "".join(capfd.readouterr()) + str(logs)


def test_a_gauge_has_a_sample_for_each_value() -> None:
    """Under the program's prefix, by the first label."""
    gauge = Gauges("ricord").by("studies", "A test.", "state", values={"received": 2, "refused": 0})
    samples = [(sample.name, sample.labels["state"], sample.value) for sample in gauge.samples]
    assert samples == [("ricord_studies", "received", 2), ("ricord_studies", "refused", 0)]
    assert Gauges("ricord").by("studies", "A test.", "state").samples == []


def test_a_client_that_says_nothing_holds_nobody_up(capfd: pytest.CaptureFixture[str]) -> None:
    """Nor does one that goes away, or speaks another protocol."""
    with (
        answering() as port,
        socket.create_connection(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port)) as other,
    ):
        other.sendall(b"\x16\x03\x01\x02\0\x01")
        assert ask(port, "/livez")[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_nothing_listens_without_settings_or_after_the_end() -> None:
    """And a port in use stops the start, with the setting's name."""
    with monitoring(None, Numbers, live=bool, ready=bool):
        pass
    with (
        answering() as port,
        pytest.raises(PortInUse) as refused,
        monitoring(MonitorSettings(port=port), Numbers, live=bool, ready=bool),
    ):
        pass
    assert refused.value.fields["key"] == "monitor.port"
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/livez")
