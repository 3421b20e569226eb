"""A node keeps sending only while the coordinator's log of today contains every head and receipt that it holds."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.audit.service import AuditService
from coordinator.audit.servicer import AuditServicer
from coordinator.home.identity import Identity
from coordinator.store.sql import SqlStore, open_store
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.inputs import NotFound
from shared.errors.trust import AuditContradicted, SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.protocol.loader import load_protocol
from shared.receipt import Receipt
from shared.signed import Signed
from shared.token import Addresses
from site_node.home.folder import SiteHome
from site_node.membership.proof import _proven_head
from site_node.membership.witness import Contradiction, Witness

KEY = SigningKey.generate()
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MEMBERSHIP: Any = SimpleNamespace(coordinator_key=KEY.public, federation="test-federation")


class Centre:
    """A coordinator's audit log, asked without a wire; `alter` changes its answers."""

    def __init__(
        self, store: SqlStore, folder: Path, federation: str = "test-federation", key: SigningKey = KEY
    ) -> None:
        identity = Identity(
            federation=federation,
            addresses=Addresses(enrolment="a:1", main="a:2"),
            authority=make_ca(federation),
            signing_key=key,
            protocol=load_protocol().named,
        )
        self._servicer = AuditServicer(AuditService(store, identity, folder / "audit-head.json"))
        self._store = store
        self.answer: pb.GetProofResponse | None = None
        self.sizes = list[int]()  # of the earlier heads that it was asked to go on from

    def prove(self, request: pb.GetProofRequest, timeout: float) -> pb.GetProofResponse:
        """The servicer's answer, or the one that a test put here."""
        context: Any = None
        self.sizes.append(request.size)
        return self.answer or self._servicer.GetProof(request, context)

    def receipt(self, receipts: Path, number: int) -> Path:
        """Enter an event, and keep a receipt that names it."""
        with self._store.begin() as work:
            event = work.append_event(at=NOW, actor="a", action="study received", about=str(number))
        receipt = Receipt(
            submission=Sha256("1" * 64),
            site_id=SiteId("123456"),
            agreement=AgreementId("A-0123456789ab"),
            agreement_version=1,
            study=Uid("2.25.1"),
            sequence=number,
            contents_sha256=Sha256("2" * 64),
            ciphertext_sha256=Sha256("3" * 64),
            ciphertext_size=1,
            received_at=NOW,
            audit_number=event.number,
            audit_head=event.digest,
        )
        path = receipts / f"{number:064x}.json"
        path.write_text(Signed.by(KEY, receipt).model_dump_json())
        return path


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    home = SiteHome(tmp_path / "home")
    home.receipts.mkdir(parents=True)
    return home


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def centre(store: SqlStore, tmp_path: Path) -> Centre:
    return Centre(store, tmp_path)


def prove(home: SiteHome, centre: Centre, *, now: datetime = NOW) -> None:
    """What `ask` does with what was not proven yet."""
    witness, stub = Witness(home), cast("AuditServiceStub", SimpleNamespace(GetProof=centre.prove))
    paths, _ = witness.receipts()
    witness.keep(_proven_head(stub, witness, MEMBERSHIP, paths, now), now, proven=paths)


def test_what_was_proven_is_known(home: SiteHome, centre: Centre) -> None:
    """Each receipt is asked for until it was proven, and the head grows."""
    witness, sizes = Witness(home), list[int]()
    for number in range(1, 6):
        path = centre.receipt(home.receipts, number)
        assert witness.receipts()[0] == [path]
        prove(home, centre)
        assert witness.receipts()[0] == []
        head = witness.head(KEY.public)
        assert head is not None
        sizes.append(head.size)
    assert sizes == [1, 2, 3, 4, 5]
    assert centre.sizes == [0, 1, 2, 3, 4]
    assert len(witness.receipts()[1]) == 5


def test_a_receipt_that_was_written_again_is_asked_for_again(home: SiteHome, centre: Centre) -> None:
    """Nor does a line that a kill cut short count as proven, or harm the next."""
    first = centre.receipt(home.receipts, 1)
    prove(home, centre)
    first.unlink()
    again = centre.receipt(home.receipts, 1)
    assert Witness(home).receipts()[0] == [again]
    lines = home.witness / "receipts.txt"
    lines.write_bytes(lines.read_bytes()[:-9])
    prove(home, centre)
    prove(home, centre)
    assert Witness(home).receipts() == ([], [again])


def test_a_proof_is_due_each_day(home: SiteHome, centre: Centre) -> None:
    """Also where the clock was set back; after a week without one it is late."""
    prove(home, centre)
    kept = Witness(home).witnessed()
    assert kept is not None
    due = {hours for hours in (-25, -23, 0, 23, 24, 200) if kept.is_due(NOW + timedelta(hours=hours))}
    assert due == {-25, 24, 200}
    assert not kept.is_late(NOW + timedelta(days=6))
    assert kept.is_late(NOW + timedelta(days=8))


def test_a_receipt_of_an_event_that_is_not_there_stops_the_sending(
    home: SiteHome, centre: Centre, tmp_path: Path
) -> None:
    """Beyond the end, and of another log; the error names the entry, and the evidence lies in the home."""
    other = open_store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with other.begin() as work:
        work.append_event(at=NOW, actor="b", action="other", about="x")
    path = Centre(other, tmp_path).receipt(home.receipts, 1)
    for expected in ("ends at entry 0, before entry 2", "ends at entry 1", "entry 2, .* is not what it was"):
        (home.witness / "contradiction.json").unlink(missing_ok=True)
        with pytest.raises(AuditContradicted, match=expected):
            prove(home, centre)
        contradiction = Witness(home).contradiction()
        assert contradiction is not None
        assert contradiction.receipt == Signed.model_validate_json(path.read_bytes())
        assert contradiction.answer is not None
        with pytest.raises(AuditContradicted):
            Witness(home).check()
        centre.receipt(tmp_path, 9)
    other.close()


def test_a_log_that_does_not_contain_the_kept_head_stops_the_sending(
    home: SiteHome, centre: Centre, tmp_path: Path
) -> None:
    """A shorter one, then a longer one that forked; the first contradiction stays."""
    for number in range(1, 6):
        centre.receipt(home.receipts, number)
    prove(home, centre)
    other = open_store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    forked = Centre(other, tmp_path)
    with pytest.raises(AuditContradicted, match="has 0 entries, and had 5 on"):
        prove(home, forked)
    for number in range(1, 9):
        forked.receipt(tmp_path, 100 + number)
    with pytest.raises(AuditContradicted, match="does not go on from the 5 entries"):
        prove(home, forked)
    first = Witness(home).contradiction()
    assert first is not None
    assert "has 0 entries" in first.problem
    kept = Witness(home).witnessed()
    assert kept is not None
    assert first.held == kept.head
    assert first.answer not in {None, kept.head}
    prove(home, centre)
    other.close()


def test_an_answer_of_somebody_else_is_refused(home: SiteHome, store: SqlStore, tmp_path: Path) -> None:
    """Of another key or federation: nothing is kept, and nothing stops."""
    for stranger in (Centre(store, tmp_path, key=SigningKey.generate()), Centre(store, tmp_path, federation="other")):
        with pytest.raises(SignatureInvalid):
            prove(home, stranger)
    assert (Witness(home).witnessed(), Witness(home).contradiction()) == (None, None)


def test_only_a_person_resumes(home: SiteHome, centre: Centre) -> None:
    """Then no receipt of before is asked for, the log is believed as it is, and the evidence stays."""
    witness = Witness(home)
    centre.receipt(home.receipts, 1)
    prove(home, centre)
    centre.receipt(home.receipts, 2)
    with pytest.raises(NotFound):
        witness.resume()
    witness.stop(Contradiction(problem="first", seen_at=NOW))
    witness.stop(Contradiction(problem="second", seen_at=NOW))
    assert witness.resume().problem == "first"
    witness.check()
    assert (witness.witnessed(), witness.receipts()) == (None, ([], []))
    new = centre.receipt(home.receipts, 3)
    assert witness.receipts()[0] == [new]
    prove(home, centre)
    [evidence] = home.witness.glob("contradiction-*.json")
    assert json.loads(evidence.read_bytes())["problem"] == "first"


def test_what_a_person_resumed_outlasts_the_power(
    home: SiteHome, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is durable once the contradiction is out of the way, and not before."""
    witness, stops = Witness(home), list[tuple[Path, bool]]()
    prove(home, centre)
    witness.stop(Contradiction(problem="it ends", seen_at=NOW))
    monkeypatch.setattr(
        "site_node.membership.witness.sync_folder", lambda folder: stops.append((folder, home.contradiction.exists()))
    )
    witness.resume()
    assert stops == [(home.witness, False)]


def test_a_damaged_file_is_named(home: SiteHome, centre: Centre) -> None:
    """A kept head that was changed is not taken for none."""
    prove(home, centre)
    (home.witness / "head.json").write_text("{}")
    with pytest.raises(SignatureInvalid):
        prove(home, centre)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_no_altered_answer_is_believed(data: st.DataObject, answered: tuple[SiteHome, Centre, bytes]) -> None:
    """A byte changed, a hash or path left out, doubled or from elsewhere: it stops the sending or is refused."""
    home, centre, honest = answered
    answer = pb.GetProofResponse.FromString(honest)
    way = data.draw(st.sampled_from(["head", "signature", "consistency", "path", "paths", "shorter"]))
    if way == "head":
        at = data.draw(st.integers(0, len(answer.head.document) - 1))
        changed = bytearray(answer.head.document)
        changed[at] ^= data.draw(st.integers(1, 127))
        answer.head.document = bytes(changed)
    elif way == "signature":
        answer.head.signature = answer.head.signature[:-4] + "AAA="
    elif way == "paths":
        del answer.paths[data.draw(st.integers(0, len(answer.paths) - 1))]
    else:
        path = data.draw(st.sampled_from(list(answer.paths)))
        hashes = answer.consistency if way == "consistency" else path.hashes
        at = data.draw(st.integers(0, len(hashes) - 1))
        if way == "shorter":
            del hashes[at]
        else:
            hashes[at] = bytes(32)
    centre.answer = answer
    with pytest.raises((AuditContradicted, SignatureInvalid)):
        prove(home, centre)


@pytest.fixture
def answered(home: SiteHome, centre: Centre) -> tuple[SiteHome, Centre, bytes]:
    """A home with a head and three receipts to prove, and the honest answer."""
    for number in range(1, 8):
        centre.receipt(home.receipts, number)
    prove(home, centre)
    for number in range(8, 11):
        centre.receipt(home.receipts, number)
    honest = centre.prove(pb.GetProofRequest(size=7, numbers=[8, 9, 10]), timeout=1)
    return home, centre, honest.SerializeToString()


def test_an_error_has_no_path_of_the_home(home: SiteHome) -> None:
    """What stops the sending is said without names of files."""
    Witness(home).stop(Contradiction(problem="it ends", seen_at=NOW))
    with pytest.raises(RicordError) as caught:
        Witness(home).check()
    assert str(home.folder) not in caught.value.public
