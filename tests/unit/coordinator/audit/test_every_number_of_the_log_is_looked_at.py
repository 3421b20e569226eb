"""The audit log is proven, checked and kept from its first event to its last, and from its newest to the kept head."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from coordinator.audit import kept_head, service
from coordinator.audit.export import FirstLine, read_export, write_export
from coordinator.audit.kept_head import keeping_head
from coordinator.audit.service import MOST_NUMBERS, PAGE, AuditService, every_event, receipt_heads
from coordinator.audit.servicer import AuditServicer
from coordinator.home.identity import Identity
from coordinator.store.audit_chain import AuditEvent, link
from coordinator.store.sql import SqlStore, open_store
from shared.audit_head import AuditHead
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import AuditBroken
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.protocol.loader import load_protocol
from shared.receipt import Receipt
from shared.signed import Signed
from shared.token import Addresses
from tests.factories.rows import NOW, make_submission

CHANGE = "UPDATE audit_events SET actor = 'other' WHERE number = :number"
REMOVE = "DELETE FROM audit_events WHERE number = :number"
KEY = SigningKey.generate()
AUTHORITY = make_ca("test-federation")


class Log:
    """An audit log of a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'store.sqlite'}"
        self.store: SqlStore = open_store(self.url)
        self.kept = folder / "audit-head.json"
        identity = Identity(
            federation="test-federation",
            addresses=Addresses(enrolment="a:1", main="a:2"),
            authority=AUTHORITY,
            signing_key=KEY,
            protocol=load_protocol().named,
        )
        self.audit = AuditService(self.store, identity, self.kept, lambda: NOW)

    def grow(self, count: int) -> None:
        with self.store.begin() as work:
            for number in range(count):
                work.append_event(at=NOW, actor="a", action=f"b{number}", about="c")

    def damage(self, statement: str, number: int) -> None:
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(statement), {"number": number})
        engine.dispose()

    @property
    def kept_size(self) -> int:
        return head_of(Signed.model_validate_json(self.kept.read_bytes())).size


def head_of(signed: Signed) -> AuditHead:
    return signed.verified(KEY.public, AuditHead, what="the head")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.store.close()


def test_a_head_is_kept_once_the_log_grew(log: Log) -> None:
    """Of an empty log, too; for its owner only; signed now and not again while nothing happens."""
    for size in (0, 1, 3):
        log.grow(size - (log.kept_size if log.kept.exists() else 0))
        log.audit.keep_head()
        before = log.kept.read_bytes()
        assert log.kept_size == size
        assert stat.S_IMODE(log.kept.stat().st_mode) == 0o600
        log.audit._now = lambda: NOW.replace(year=2027)
        log.audit.keep_head()
        assert log.kept.read_bytes() == before


@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_event_is_proven_and_no_other(log: Log, size: int) -> None:
    """From 1 to the newest; and each earlier head, of which the one of now needs no proof."""
    log.grow(size)
    with log.store.read() as reading:
        events = list(every_event(reading))
    proof = log.audit.prove(size, [0, *range(1, size + 1), size + 1])
    now = head_of(proof.head)
    assert (now.size, now.signed_at, now.federation) == (size, NOW, "test-federation")
    assert list(proof.consistency) == []
    assert [list(proof.paths[0]), list(proof.paths[-1])] == [[], []]
    for event, path in zip(events, proof.paths[1:-1], strict=True):
        assert now.contains(event.number, event.digest, path)
    for earlier in range(1, size):
        assert list(log.audit.prove(earlier, ()).consistency)


def test_at_most_so_many_are_proven_and_read_at_once(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the number; a page holds what was asked for, and never more than a page."""
    log.grow(7)
    assert (MOST_NUMBERS, PAGE) == (200, 1000)
    assert len(log.audit.prove(0, [1] * MOST_NUMBERS).paths) == MOST_NUMBERS
    with pytest.raises(InvalidArgument):
        log.audit.prove(0, [1] * (MOST_NUMBERS + 1))
    monkeypatch.setattr(service, "PAGE", 4)
    for after, limit, expected in (
        (0, 0, [1, 2, 3, 4]), (0, 9, [1, 2, 3, 4]), (0, 2, [1, 2]), (5, 0, [6, 7]), (7, 0, []), (2**64 - 1, 0, []),
    ):  # fmt: skip
        assert [event.number for event in log.audit.events(after=after, limit=limit)] == expected
    with log.store.read() as reading:
        assert [event.number for event in every_event(reading)] == list(range(1, 8))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_of_the_newest_events_is_checked(log: Log, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As many as can be looked at in a moment; an older one only by the whole check, and by whoever asks for it."""
    log.grow(4)
    assert (service._NEWEST, log.audit.check_newest()) == (100, 4)
    monkeypatch.setattr(service, "_NEWEST", 3)
    log.damage(CHANGE, number)
    assert log.audit.verify()[0].broken_at == number
    with pytest.raises(AuditBroken, match=str(number)):
        log.audit.prove(0, [number])
    if number == 1:
        assert log.audit.check_newest() == 4
    else:
        with pytest.raises(AuditBroken, match=str(number)):
            log.audit.check_newest()
    monkeypatch.setattr(service, "_NEWEST", 4)
    with pytest.raises(AuditBroken, match=str(number)):
        log.audit.check_newest()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_event_is_not_proven(log: Log, number: int) -> None:
    """Nor is the one after it, whose link is gone."""
    log.grow(4)
    log.damage(REMOVE, number)
    for asked in (number, number + 1):
        with pytest.raises(AuditBroken, match=str(asked)):
            log.audit.prove(0, [asked])


def test_the_newest_are_compared_with_the_kept_head(log: Log) -> None:
    """A log that was cut to below it, and one of the same length that says something else."""
    log.grow(4)
    log.audit.keep_head()
    log.damage(REMOVE, 4)
    with pytest.raises(AuditBroken, match="4"):
        log.audit.check_newest()
    with log.store.begin() as work:
        work.append_event(at=NOW, actor="other", action="other", about="c")
    for check in (log.audit.check_newest, log.audit.keep_head):
        with pytest.raises(AuditBroken, match="4"):
            check()
    assert log.kept_size == 4


def test_every_receipt_is_compared_with_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages of them there are."""
    monkeypatch.setattr(service, "PAGE", 2)
    with log.store.begin() as work:
        for _ in range(5):
            event = work.append_event(at=NOW, actor="a", action="study received", about="c")
            row = make_submission(event.number)
            same = {name for name in Receipt.model_fields if name in type(row).model_fields}
            receipt = Receipt(
                submission=row.id, audit_number=event.number, audit_head=event.digest, **row.model_dump(include=same)
            )
            work.add_submission(row.model_copy(update={"receipt": Signed.by(KEY, receipt)}))
    with log.store.read() as reading:
        assert [number for number, _ in receipt_heads(reading)] == [1, 2, 3, 4, 5]
    assert log.audit.verify()[0].intact
    log.damage(REMOVE, 5)
    assert log.audit.verify()[0].broken_at == 5


def test_the_wire_says_what_the_service_says(log: Log) -> None:
    """Of a log without a kept head, with one, and of one that was changed."""
    servicer, context = AuditServicer(log.audit), None
    log.grow(2)
    for kept in (0, 2):
        answer = servicer.VerifyAudit(pb.VerifyAuditRequest(), context)  # type: ignore[arg-type] # it is not asked
        assert (answer.intact, answer.events, answer.broken_at, answer.kept) == (True, 2, 0, kept)
        log.audit.keep_head()
    events = servicer.ListAuditEvents(pb.ListAuditEventsRequest(after=1, limit=1), context).events  # type: ignore[arg-type] # likewise
    assert [(event.number, event.action, event.result) for event in events] == [(2, "b1", "done")]
    proof = servicer.GetProof(pb.GetProofRequest(size=1, numbers=[1, 2]), context)  # type: ignore[arg-type] # likewise
    assert (len(proof.consistency), len(proof.paths)) == (1, 2)
    log.damage(CHANGE, 2)
    answer = servicer.VerifyAudit(pb.VerifyAuditRequest(), context)  # type: ignore[arg-type] # likewise
    assert (answer.intact, answer.broken_at) == (False, 2)


def test_an_export_is_its_owners_alone_and_names_what_does_not_fit(log: Log, tmp_path: Path) -> None:
    """It says who did what; the number is that of the first event that was changed, is missing or is too many."""
    log.grow(5)
    file, first = tmp_path / "log.jsonl", FirstLine(head=log.audit.verify()[2], verify_key=KEY.public.text)
    with log.store.read() as reading:
        events = list(every_event(reading))
    write_export(file, first, events)
    assert read_export(file).report.events == 5
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    changed = events[1].model_copy(update={"action": "other"})
    further = link(events[-1], at=NOW, actor="a", action="b", about="c")
    rewritten = list[AuditEvent]()
    for _ in events:
        rewritten.append(link(rewritten[-1] if rewritten else None, at=NOW, actor="b", action="b", about="c"))
    for content, number in (
        (rewritten, 5),
        ([events[0], changed, *events[2:]], 2),
        (events[:3], 4),
        ([*events[:2], *events[3:]], 4),
        ([*events, further], 6),
    ):
        write_export(file, first, content)
        with pytest.raises(AuditBroken) as caught:
            read_export(file)
        assert caught.value.fields["number"] == str(number)
    for at in range(6):  # a line that is no event, wherever it stands
        write_export(file, first, events)
        head, *lines = file.read_bytes().splitlines()
        file.write_bytes(b"\n".join([head, *lines[:at], b"{}", *lines[at:]]))
        with pytest.raises(AuditBroken) as caught:
            read_export(file)
        assert caught.value.fields["number"] == str(at + 1)


class Keeps:
    """An audit service that counts how often its head is kept, and may fail."""

    def __init__(self) -> None:
        self.times = 0
        self.fault: Exception | None = None
        self.again = threading.Event()

    def keep_head(self) -> None:
        self.times += 1
        self.again.set()
        if self.fault is not None:
            raise self.fault


def test_the_head_is_kept_again_and_again_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the block ends before the first look, and where it fails."""
    audit: Any = Keeps()
    with keeping_head(audit):
        pass
    assert audit.times == 1
    with pytest.raises(ZeroDivisionError), keeping_head(audit):
        raise ZeroDivisionError
    assert audit.times == 2
    monkeypatch.setattr(kept_head, "_SECONDS", 0.01)
    with keeping_head(audit):
        for _ in range(3):
            audit.again.clear()
            assert audit.again.wait(10)
    assert audit.times >= 6


def test_a_head_that_cannot_be_kept_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem when it comes, and again after it was gone; the keeper goes on."""
    monkeypatch.setattr(kept_head, "_SECONDS", 0.01)
    audit: Any = Keeps()

    def looks(fault: Exception | None) -> None:
        audit.fault = fault
        for _ in range(3):
            audit.again.clear()
            assert audit.again.wait(10)

    with capture_logs() as logged, keeping_head(audit):
        for fault in (OSError("full"), AuditBroken(number="7"), None, OSError("full")):
            looks(fault)
    assert [entry["code"] for entry in logged] == ["OSError", AuditBroken(number="7").code, "OSError"]
