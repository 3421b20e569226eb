"""A collector is sent codes and numbers of listed fields; a service never waits for it, and says what it dropped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import LogCapture

from shared.errors.settings import ExtraMissing
from shared.logs import log_json_lines
from shared.monitoring import otlp
from shared.monitoring.otlp import FIELDS, exporting, record_of
from shared.monitoring.settings import OtlpSettings
from tests.factories.collector import collecting
from tests.factories.ports import free_port

log = structlog.get_logger("test")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = structlog.get_config()
    monkeypatch.setattr(otlp, "_GATHER_SECONDS", 0.01)
    monkeypatch.setattr(otlp, "_PAUSES", (0.01,))
    yield
    structlog.configure(**before)


@contextmanager
def sending(endpoint: str) -> Iterator[LogCapture]:
    """A service that logs JSON lines, which are captured, and sends them."""
    log_json_lines("ricord-site")
    capture = LogCapture()
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], capture])
    with exporting(OtlpSettings(endpoint=endpoint), "ricord-site"):
        yield capture


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_line_arrives_with_its_level_and_its_codes() -> None:
    """And without a field that is not listed, and without a text that is no code, such as a sentence or a name."""
    with collecting() as collector:
        with sending(collector.endpoint) as capture:
            log.error("submit.blocked", code="DISK_FULL", count=3, refused=True, message="Doe^Jane", reason="Doe Jane")
        [record] = collector.records
        [resource] = collector.requests[0].resource_logs
    assert (record.body.string_value, record.severity_text, record.severity_number) == ("submit.blocked", "error", 17)
    sent = {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in record.attributes}
    assert sent == {"code": "DISK_FULL", "count": 3, "refused": True}
    assert abs(record.time_unix_nano - time.time_ns()) < 60e9
    about = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert about["service.name"] == "ricord-site"
    assert set(about) == {"service.name", "service.version"}
    assert capture.entries[0]["message"] == "Doe^Jane"  # the line itself is as it was


VALUES = st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.lists(st.text()))


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(min_size=1), VALUES))
def test_what_is_sent_is_closed(fields: dict[str, Any]) -> None:
    """Whatever a line holds."""
    record = record_of({**fields, "level": "info", "event": "study"})
    assert {each.key for each in record.attributes} <= FIELDS
    texts = [each.value.string_value for each in record.attributes if each.value.HasField("string_value")]
    assert all(text.isascii() and not set(text) & set(" ^=\\\n/,") for text in texts)


@pytest.mark.parametrize("is_silent", [False, True])
def test_nobody_waits_for_a_collector(monkeypatch: pytest.MonkeyPatch, *, is_silent: bool) -> None:
    """Down, or silent: thousands of lines are logged at once, the queue has an end, and what is lost is said."""
    monkeypatch.setattr(otlp, "_END_SECONDS", 0.3)
    with collecting() as collector:
        collector.silent.set()
        endpoint = collector.endpoint if is_silent else f"http://127.0.0.1:{free_port()}"
        began = time.monotonic()
        with sending(endpoint) as capture:
            for number in range(5000):
                log.info("study", count=number)
            logged = time.monotonic() - began
        ended = time.monotonic() - began - logged
    dropped = [entry["count"] for entry in capture.entries if entry["event"] == "otlp.dropped"]
    problems = [entry for entry in capture.entries if entry["event"] == "otlp.problem"]
    assert 0 <= sum(dropped) - 5000 <= len(problems)  # a problem that is met after the end is not to be sent
    assert logged < 2
    assert ended < 2


def test_a_collector_that_comes_back_gets_what_waited() -> None:
    """Each line once, in order; of an outage there is one warning."""
    with collecting() as collector:
        collector.statuses = [503, 429, 200]
        with sending(collector.endpoint) as capture:
            log.info("study", count=1)
            log.info("study", count=2)
            wait_for(lambda: len(collector.records) == 3)
    counts = [record.attributes[0].value.int_value for record in collector.records if record.attributes]
    assert counts == [1, 2]
    assert [entry["event"] for entry in capture.entries] == ["study", "study", "otlp.problem"]


def test_what_a_collector_refuses_is_dropped_and_counted() -> None:
    """It would be refused again."""
    with collecting() as collector:
        collector.statuses = [400, 200]
        with sending(collector.endpoint) as capture:
            log.info("study", count=1)
            wait_for(collector.asked.is_set)
            wait_for(lambda: len(capture.entries) == 2)
        assert capture.entries[1]["event"] == "otlp.dropped"
        assert capture.entries[1]["count"] == 1
        assert [record.body.string_value for record in collector.records] == ["otlp.dropped"]


def test_without_settings_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With them and without the extra, the sentence names it."""
    monkeypatch.setattr("shared.extras.find_spec", lambda _: None)
    before = structlog.get_config()["processors"]
    with exporting(None, "ricord-site"):
        assert structlog.get_config()["processors"] is before
    settings = OtlpSettings(endpoint="http://localhost:4318/")
    with pytest.raises(ExtraMissing, match="otlp"), exporting(settings, "ricord-site"):
        pass


@pytest.mark.parametrize("endpoint", ["http://10.0.0.1:4318", "https://a:b@collector.example", "collector:4318"])
def test_a_collector_elsewhere_is_sent_to_under_tls(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        OtlpSettings(endpoint=endpoint)
    assert OtlpSettings(endpoint="https://collector.example/otlp").endpoint == "https://collector.example/otlp"
