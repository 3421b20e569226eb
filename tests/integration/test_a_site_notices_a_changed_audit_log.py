"""A coordinator whose audit log was cut, forked, altered or restored gets no further study from a site that asked."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from typer.testing import CliRunner

from coordinator.store.work import SqlWork
from shared.errors.trust import AuditBroken, AuditContradicted, RoleNotAllowed
from shared.proto.ricord.v1 import audit_pb2
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.wire import connected
from site_node.cli import app
from site_node.home.folder import SiteHome
from site_node.membership.proof import ask
from site_node.membership.record import Membership
from site_node.membership.witness import Witness
from site_node.node.daily_proof import DailyProof
from tests.factories.federation import Federation, make_federation, sealed_bytes, submit_and_enter
from tests.factories.rows import NOW
from tests.peers import empty_database

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def federation(request: pytest.FixtureRequest, tmp_path: Path) -> Federation:
    """A new federation over an empty database of each kind; it does not serve yet."""
    if request.param == "sqlite":
        return make_federation(tmp_path)
    return make_federation(tmp_path, database=empty_database(request.getfixturevalue("postgres")))


def submit_one(home: SiteHome, member: Membership, sequence: int) -> None:
    submit_and_enter(home, member, sealed_bytes(home, member, 99, sequence=sequence))


def resume(home: SiteHome) -> None:
    arguments = ["--home", str(home.folder), "witness", "resume", "--as", "A. Miller", "--reason", "restored"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def change(federation: Federation, how: Callable[[Connection], None]) -> None:
    """Act on the database behind the coordinator's back."""
    engine = create_engine(federation.home.database(federation.settings))
    with engine.begin() as connection:
        how(connection)
    engine.dispose()


def cut(connection: Connection) -> None:
    """The last event and its study."""
    connection.execute(text("DELETE FROM submissions WHERE number = (SELECT max(number) FROM audit_events)"))
    connection.execute(text("DELETE FROM audit_events WHERE number = (SELECT max(number) FROM audit_events)"))


def fork(connection: Connection) -> None:
    """Other events in place of the last ones, and more."""
    connection.execute(text("DELETE FROM submissions"))
    connection.execute(text("DELETE FROM audit_events WHERE number > 3"))
    for _ in range(20):
        SqlWork(connection).append_event(at=NOW, actor="a", action="b", about="c")


def alter(connection: Connection) -> None:
    """The study that the last event is about."""
    connection.execute(
        text("UPDATE audit_events SET object = 'x' WHERE number = (SELECT max(number) FROM audit_events)")
    )


@pytest.mark.parametrize(
    ("how", "problem"),
    [(cut, "it ends at entry"), (fork, "does not go on from"), (alter, "it says itself that entry")],
    ids=["cut", "fork", "alter"],
)
@pytest.mark.parametrize("asks", [True, False], ids=["asks", "sends"])
def test_a_site_stops_before_it_sends(
    federation: Federation, how: Callable[[Connection], None], problem: str, *, asks: bool
) -> None:
    """Whether it asked or is to send, it names what it saw, sends nothing, and goes on when a person says so.

    The centre names it, too.
    """
    with federation.serving():
        federation.curator()
        home, member = federation.site("Witness Hospital")
        submit_one(home, member, 1)
        DailyProof().ask_if_due(home, member)
        assert Witness(home).head(member.coordinator_key) is not None
        submit_one(home, member, 2)
    change(federation, how)
    with federation.serving():
        assert not verified(federation).intact
        if asks:
            with pytest.raises(AuditContradicted, match=problem):
                ask(home, member, datetime.now(UTC))
        with pytest.raises(AuditContradicted, match=problem):
            submit_one(home, member, 3)
        DailyProof().ask_if_due(home, member)  # it does not ask while sending is stopped
        resume(home)
        submit_one(home, member, 3)
        if how is not alter:
            ask(home, member, datetime.now(UTC))


def verified(federation: Federation) -> audit_pb2.VerifyAuditResponse:
    with federation.operator() as channel:
        return AuditServiceStub(channel).VerifyAudit(audit_pb2.VerifyAuditRequest())


def test_a_database_restored_from_a_backup_is_noticed(tmp_path: Path) -> None:
    """While it is shorter than what was proven, and when it grew past that; its own kept head contradicts it, too."""
    federation = make_federation(tmp_path)
    database, backup = federation.home.folder / "coordinator.sqlite", tmp_path / "backup.sqlite"
    with federation.serving():
        federation.curator()
        home, member = federation.site("Witness Hospital")
        late, late_member = federation.site("Late Hospital")
        submit_one(home, member, 1)
    shutil.copyfile(database, backup)
    with federation.serving():
        submit_one(home, member, 2)
        head = ask(home, member, datetime.now(UTC))
        ask(late, late_member, datetime.now(UTC))
    for name in ("", "-wal", "-shm"):
        Path(f"{database}{name}").unlink(missing_ok=True)
    shutil.copyfile(backup, database)
    with federation.serving():
        assert verified(federation).broken_at == head.size
        with pytest.raises(AuditContradicted, match=f"has {head.size - 1} entries, and had {head.size}"):
            ask(home, member, datetime.now(UTC))
        federation.site("Another Hospital")  # the log grows past what was proven
        with pytest.raises(AuditContradicted, match="does not go on"):
            ask(late, late_member, datetime.now(UTC))
    assert json.loads((late.witness / "contradiction.json").read_bytes())["held"] is not None


def test_an_honest_log_stops_nobody(tmp_path: Path) -> None:
    """Over restarts, refusals and other members' events; a member sees proofs, and no event."""
    federation = make_federation(tmp_path)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Witness Hospital")
    for sequence in range(1, 4):
        with federation.serving():
            submit_one(home, member, sequence)
            ask(home, member, datetime.now(UTC))
            with (
                pytest.raises(RoleNotAllowed),
                connected(member.addresses.main, member.credentials) as channel,
            ):
                AuditServiceStub(channel).ListAuditEvents(audit_pb2.ListAuditEventsRequest())
            assert verified(federation).intact
            ask(home, member, datetime.now(UTC))
    with federation.reading() as reading:
        refused = [event for event in reading.events() if event.result == "refused: role-not-allowed"]
    assert [(event.actor.rsplit("/", 1)[1], event.action) for event in refused] == [
        (member.site_id, "AuditService/ListAuditEvents")
    ]
    with pytest.raises(AuditBroken):
        change(federation, append_over_a_hole)


def append_over_a_hole(connection: Connection) -> None:
    """A hole in the stored tree ends an append instead of forking the log in silence."""
    connection.execute(text("DELETE FROM audit_subtrees"))
    for _ in range(4):
        SqlWork(connection).append_event(at=NOW, actor="a", action="b", about="c")
