"""Uploads that end while a transaction lasts are committed in one, each with its own answer."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coordinator.audit.service import every_event
from coordinator.home.identity import utc_now
from coordinator.store.audit_chain import verify
from coordinator.store.folder import CiphertextFolder
from coordinator.store.sql import SqlStore
from coordinator.submission.commits import Received
from coordinator.submission.service import SubmissionService
from shared.crypto.pki import Role
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.transport import StoreUnreachable
from shared.errors.trust import CertificateForeign
from shared.ids import SiteId
from shared.receipt import Receipt
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.study import Sealed
from tests.factories.federation import Federation, running_federation, sealed_bytes
from tests.peers import postgres_url

Member = tuple[SiteHome, Membership]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def federation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation on each database."""
    folder = tmp_path_factory.mktemp("federation")
    if request.param == "sqlite":
        with running_federation(folder) as running:
            running.curator()
            yield running
        return
    with postgres_url() as url, running_federation(folder, database=url) as running:
        running.curator()
        yield running


@pytest.fixture
def service(federation: Federation, store: SqlStore, tmp_path: Path) -> SubmissionService:
    return SubmissionService(store, CiphertextFolder(tmp_path), federation.identity)


@contextmanager
def at_once(service: SubmissionService, studies: Sequence["Study"]) -> Iterator[list["Future[Any]"]]:
    """Send studies, each in a thread; the block runs while each waits for its commit, which follows the block."""
    with ThreadPoolExecutor(len(studies)) as threads, service._commits._committing:
        ends = [threads.submit(_receive, service, study) for study in studies]
        patience = time.monotonic() + 60
        while len(service._commits._waiting) < len(studies):
            assert time.monotonic() < patience
            time.sleep(0.01)
        yield ends


class Study(NamedTuple):
    """A study on its way."""

    site_id: SiteId
    sealed: Sealed
    data: bytes

    @property
    def submission(self) -> str:
        """Its id."""
        return self.sealed.manifest.manifest.submission


def make_study(member: Member, **changes: Any) -> Study:
    """One of nine bytes."""
    sealed = sealed_bytes(*member, 9, **changes)
    return Study(member[1].site_id, sealed, sealed.ciphertext.read_bytes())


def _receive(service: SubmissionService, study: Study) -> int | Signed | Received:
    *_, outcome = service.receive(study.site_id, of_manifest(study.sealed.manifest), 0, [study.data])
    return outcome


def count_transactions(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each that is synced to the disk, from now on."""
    begun, begin = list[None](), store.begin

    def counted(**how: bool) -> Any:
        begun.extend([None] if how.get("synced", True) else [])
        return begin(**how)

    monkeypatch.setattr(store, "begin", counted)
    return begun


def test_one_transaction_serves_all(
    service: SubmissionService, store: SqlStore, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own receipt over its own event, and the audit chain is whole."""
    studies = [make_study(member) for _ in range(5)]
    with at_once(service, studies) as ends:
        begun = count_transactions(store, monkeypatch)
    assert len(begun) == 1
    receipts = [end.result().verified(member[1].coordinator_key, Receipt, what="the receipt") for end in ends]
    assert [receipt.submission for receipt in receipts] == [each.submission for each in studies]
    assert len({receipt.audit_number for receipt in receipts}) == 5
    with store.read() as reading:
        assert verify(every_event(reading), sorted((each.audit_number, each.audit_head) for each in receipts)).intact


def test_a_refusal_is_its_own(
    federation: Federation, service: SubmissionService, store: SqlStore, member: Member
) -> None:
    """One whose agreement or certificate ended meanwhile is refused; the others are received."""
    suspended, revoked = federation.site("Suspended Hospital"), federation.site("Revoked Hospital")
    studies = [make_study(each) for each in (suspended, member, revoked, member)]
    with at_once(service, studies) as ends:
        federation.suspend("Suspended Hospital")
        with store.begin() as work:
            work.revoke(Role.SITE, revoked[1].site_id, utc_now())
    assert isinstance(ends[0].exception(), AgreementNotExecuted)
    assert isinstance(ends[2].exception(), CertificateForeign)
    for number in (1, 3):
        assert isinstance(ends[number].result(), Signed)


def test_the_same_study_twice_at_once_is_received_once(
    service: SubmissionService, member: Member, tmp_path: Path
) -> None:
    """Sealed twice: the second to be committed gets the receipt of the first, and only that ciphertext stays."""
    first = make_study(member)
    second = make_study(member, contents_sha256=first.sealed.manifest.manifest.contents_sha256)
    assert first.submission == second.submission
    with at_once(service, [first, second]) as ends:
        pass
    outcomes = [end.result() for end in ends]
    [receipt] = [outcome for outcome in outcomes if isinstance(outcome, Signed)]
    [received] = [outcome for outcome in outcomes if isinstance(outcome, Received)]
    assert received.receipt == receipt
    kept = receipt.verified(member[1].coordinator_key, Receipt, what="the receipt").ciphertext_sha256
    assert [study.data for study in (first, second) if study.sealed.manifest.manifest.ciphertext_sha256 == kept] == [
        file.read_bytes() for file in tmp_path.rglob("*.age")
    ]


def test_nobody_has_a_receipt_of_what_was_not_committed(
    service: SubmissionService, store: SqlStore, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit itself fails: all are told so, nothing is there, and the next try succeeds."""
    studies = [make_study(member) for _ in range(3)]
    begin = store.begin

    @contextmanager
    def failing(**how: bool) -> Iterator[Any]:
        with begin(**how) as work:
            yield work
            raise StoreUnreachable(kind="a database", setting="database")

    with at_once(service, studies) as ends:
        monkeypatch.setattr(store, "begin", failing)
    assert [type(end.exception()) for end in ends] == [StoreUnreachable] * 3
    monkeypatch.undo()
    for study in studies:
        signed = of_manifest(study.sealed.manifest)
        assert service.offset(study.site_id, signed).received is None
        [outcome] = service.receive(study.site_id, signed, 9, [])
        assert isinstance(outcome, Signed)


def test_a_defect_of_one_alone_is_met_once(
    service: SubmissionService, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can be to blame, so it is not tried again."""
    tries = list[None]()

    def failing(*_: object) -> Signed:
        tries.append(None)
        raise ZeroDivisionError

    monkeypatch.setattr(service._commits, "_add", failing)
    with pytest.raises(ZeroDivisionError):
        _receive(service, make_study(member))
    assert len(tries) == 1


def test_a_defect_of_one_costs_no_other(
    service: SubmissionService, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with it fails the transaction of all; then each is committed without it."""
    studies = [make_study(member) for _ in range(4)]
    bad, add, failed = studies[2].submission, service._commits._add, threading.Event()

    def failing(work: Any, arrival: Any, curator: str) -> Signed:
        if arrival.manifest.submission == bad:
            failed.set()
            raise ZeroDivisionError
        return add(work, arrival, curator)

    monkeypatch.setattr(service._commits, "_add", failing)
    with at_once(service, studies) as ends:
        pass
    assert isinstance(ends[2].exception(), ZeroDivisionError)
    assert failed.is_set()
    assert all(isinstance(ends[number].result(), Signed) for number in (0, 1, 3))
