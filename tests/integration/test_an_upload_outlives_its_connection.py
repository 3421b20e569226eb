"""The coordinator ends each connection after a time; a slow upload that this cuts goes on with the next."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.service import server
from shared.errors.transport import CoordinatorUnreachable, UploadInterrupted
from shared.wire import UNACKNOWLEDGED
from site_node.submit import client
from site_node.submit.client import submitting
from site_node.submit.pace import Pace
from tests.factories.federation import running_federation, sealed_bytes

AGE_MS, GRACE_MS = 1000, 500
RATE = 4 << 20  # bytes a second
SIZE = 24 << 20  # bytes: six seconds, in which a connection ends three times at least
CUTS = 20  # more than can be: then the upload comes no further


def test_it_resumes_to_one_receipt(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is durable is not sent again, no cut is a defect or a refusal, and the study is received once."""
    sent, lock, parts = [0], threading.Lock(), client._parts

    def counted(*arguments: Any) -> Iterator[Any]:
        for part in parts(*arguments):
            with lock:
                sent[0] += len(part.chunk)
            yield part

    ages = {"grpc.max_connection_age_ms": AGE_MS, "grpc.max_connection_age_grace_ms": GRACE_MS}
    options = tuple((name, ages.get(name, value)) for name, value in server.MAIN_OPTIONS)
    assert options != server.MAIN_OPTIONS
    with running_federation(tmp_path, database=database) as federation:
        federation.curator()
        home, member = federation.site("Slow Hospital")
        sealed = sealed_bytes(home, member, SIZE)
    monkeypatch.setattr(server, "MAIN_OPTIONS", options)
    monkeypatch.setattr(client, "_parts", counted)
    monkeypatch.setattr(client, "_PAUSES", ())
    cuts, submitted = 0, None
    with federation.serving(), submitting(home, member, Pace(RATE)) as submit:
        while submitted is None:
            try:
                submitted = submit(sealed)
            except (CoordinatorUnreachable, UploadInterrupted):
                cuts += 1
                assert cuts < CUTS
    with federation.reading() as reading:
        rows = reading.submissions(member.site_id)
    assert cuts > 1
    assert sent[0] <= SIZE + cuts * UNACKNOWLEDGED
    assert [row.id for row in rows] == [sealed.manifest.manifest.submission]
    assert [file.name for file in home.receipts.iterdir()] == [submitted.receipt.name]
