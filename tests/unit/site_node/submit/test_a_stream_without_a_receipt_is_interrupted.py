"""An upload that the coordinator ends without a receipt was not received, however far it said that it had come."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.transport import UploadInterrupted
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.signed import Signed
from shared.wire import to_signed
from site_node.submit.client import UploadClient

STUBS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = Signed(document="{}", signature="c2ln")


class Call:
    """An upload's call: it takes the whole stream, then answers."""

    def __init__(self, parts: Iterator[Any], answers: list[pb.UploadResponse]) -> None:
        self._taking = threading.Thread(target=lambda: list(parts), daemon=True)
        self._answers = answers

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """The call ends when its answers do."""
        self._end = callback
        return True

    def __iter__(self) -> Iterator[pb.UploadResponse]:
        self._taking.start()
        yield from self._answers
        self._end()
        self._taking.join()


def client(*answers: pb.UploadResponse) -> UploadClient:
    """A client whose coordinator answers so."""
    made = UploadClient(SimpleNamespace(**dict.fromkeys(STUBS, lambda *_, **__: None)), "centre")  # type: ignore[arg-type] # the stub needs these
    made._stub.Upload = lambda parts: Call(parts, list(answers))  # type: ignore[assignment] # what is called of it
    return made


@given(counts=st.lists(st.integers(0, 2**40), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_without_a_receipt_is_interrupted(tmp_path: Path, counts: list[int]) -> None:
    """No answer, or only answers of how much is durable."""
    (tmp_path / "study.age").write_bytes(b"ciphertext")
    durable = [pb.UploadResponse(durable=count) for count in counts]
    with pytest.raises(UploadInterrupted):
        client(*durable)._send(DOCUMENT, tmp_path / "study.age", 0, NOW, 0)
    answered = client(*durable, pb.UploadResponse(receipt=to_signed(DOCUMENT)))
    assert answered._send(DOCUMENT, tmp_path / "study.age", 0, NOW, 0).receipt == DOCUMENT
