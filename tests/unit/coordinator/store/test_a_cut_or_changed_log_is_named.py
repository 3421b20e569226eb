"""What is done to the audit log behind the coordinator's back is named: by the centre, and to a member that asks."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, text, update

from coordinator.audit.export import FirstLine, read_export, write_export
from coordinator.audit.service import MOST_NUMBERS, AuditService, every_event
from coordinator.home.identity import Identity
from coordinator.store import sql, tables
from coordinator.store.audit_chain import AuditEvent, link
from coordinator.store.rows import plain
from coordinator.store.sql import SqlStore, open_store
from coordinator.store.work import SqlWork
from shared.audit_head import AuditHead, leaf_of
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.trust import AuditBroken, SignatureInvalid
from shared.merkle import Tree, hash_of, whole_subtrees
from shared.protocol.loader import load_protocol
from shared.receipt import Receipt
from shared.signed import Signed
from shared.token import Addresses
from tests.factories.rows import NOW, make_submission

KEY = SigningKey.generate()
COUNT = 37
Damage = Callable[[Connection], None]


@pytest.fixture
def audit(store: SqlStore, tmp_path: Path) -> AuditService:
    """The service over a log of `COUNT` events, a receipt for the last, its head kept."""
    identity = Identity(
        federation="test-federation",
        addresses=Addresses(enrolment="a:1", main="a:2"),
        authority=make_ca("test-federation"),
        signing_key=KEY,
        protocol=load_protocol().named,
    )
    with store.begin() as work:
        for number in range(1, COUNT):
            work.append_event(at=NOW, actor="a", action=str(number), about="c")
        event = work.append_event(at=NOW, actor="a", action="study received", about="c")
        work.add_submission(make_submission(COUNT).model_copy(update={"receipt": receipt_for(event)}))
    service = AuditService(store, identity, tmp_path / "audit-head.json")
    service.keep_head()
    return service


def receipt_for(event: AuditEvent) -> Signed:
    row = make_submission(event.number)
    same = {name for name in Receipt.model_fields if name in type(row).model_fields}
    receipt = Receipt(
        submission=row.id, audit_number=event.number, audit_head=event.digest, **row.model_dump(include=same)
    )
    return Signed.by(KEY, receipt)


def head_of(signed: Signed) -> AuditHead:
    return signed.verified(KEY.public, AuditHead, what="the head")


def cut(connection: Connection) -> None:
    """The last event goes, and the row whose receipt names it."""
    connection.execute(delete(tables.events).where(tables.events.c.number == COUNT))
    connection.execute(text("DELETE FROM submissions"))


def cut_much(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_events WHERE number > 20"))
    connection.execute(text("DELETE FROM submissions"))


def fork(connection: Connection) -> None:
    """The last events are replaced by others, with every link, and the tree over them, made anew."""
    cut_much(connection)
    work = SqlWork(connection)
    for number in range(30):
        work.append_event(at=NOW, actor="b", action=str(number), about="c")


def alter(connection: Connection) -> None:
    """One field of one event."""
    connection.execute(text("UPDATE audit_events SET object = 'other' WHERE number = 12"))


def relink(connection: Connection) -> None:
    """One event and every link after it; the tree stays."""
    events = SqlWork(connection).events()
    previous = events[10]
    for event in events[11:]:
        about = "other" if event.number == 12 else event.object
        previous = link(previous, at=event.at, actor=event.actor, action=event.action, about=about)
        values = {"object": about, "digest": previous.digest, "number": event.number}
        connection.execute(
            text("UPDATE audit_events SET object = :object, digest = :digest WHERE number = :number"), values
        )
    connection.execute(text("DELETE FROM submissions"))


def leave_out(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_events WHERE number = 12"))


def damage(url: str, how: Damage) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        how(connection)
    engine.dispose()


@pytest.mark.parametrize(
    ("how", "number"),
    [(cut, COUNT), (cut_much, 21), (fork, COUNT), (alter, 12), (relink, COUNT), (leave_out, 13)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_centre_names_it(audit: AuditService, url: str, how: Damage, number: int) -> None:
    """`audit verify` says where the log does not fit any more, also where every row about its end was deleted."""
    assert audit.verify()[0].intact
    damage(url, how)
    assert audit.verify()[0].broken_at == number


@pytest.mark.parametrize("how", [cut, fork], ids=lambda value: value.__name__)
def test_the_kept_head_is_not_replaced_by_a_log_without_it(
    audit: AuditService, url: str, tmp_path: Path, how: Damage
) -> None:
    """It is the evidence; one that grew is replaced."""
    file = tmp_path / "audit-head.json"
    before = file.read_bytes()
    audit.keep_head()
    assert file.read_bytes() == before
    damage(url, how)
    with pytest.raises(AuditBroken):
        audit.keep_head()
    assert file.read_bytes() == before


def test_a_kept_head_that_was_not_signed_here_is_refused(audit: AuditService, tmp_path: Path) -> None:
    """Nor is one that does not parse taken for none."""
    file = tmp_path / "audit-head.json"
    other = head_of(Signed.model_validate_json(file.read_bytes()))
    for content in (Signed.by(SigningKey.generate(), other).model_dump_json(), "{}", ""):
        file.write_text(content)
        with pytest.raises(SignatureInvalid):
            audit.verify()
        with pytest.raises(SignatureInvalid):
            audit.keep_head()


def test_any_two_heads_are_proven(audit: AuditService, store: SqlStore) -> None:
    """The log as it grows: each later head contains each earlier one, and each event."""
    heads = list[AuditHead]()
    for _ in range(9):
        heads.append(head_of(audit.prove(0, ()).head))
        with store.begin() as work:
            work.append_event(at=NOW, actor="a", action="more", about="c")
    with store.read() as reading:
        events = list(every_event(reading))
    for earlier in heads:
        proof = audit.prove(earlier.size, [event.number for event in events])
        now = head_of(proof.head)
        assert now.size == COUNT + 9
        assert now.extends(earlier, proof.consistency)
        assert all(
            now.contains(event.number, event.digest, path) for event, path in zip(events, proof.paths, strict=True)
        )
        assert not now.contains(1, events[1].digest, proof.paths[0])


@pytest.mark.parametrize("how", [cut, cut_much, fork], ids=lambda value: value.__name__)
def test_a_member_that_holds_a_head_sees_it(audit: AuditService, url: str, how: Damage) -> None:
    """No proof of the log of now leads from the head that was signed before."""
    proof = audit.prove(0, [COUNT])
    before = head_of(proof.head)
    damage(url, how)
    now = audit.prove(before.size, [COUNT])
    assert not head_of(now.head).extends(before, now.consistency)


def test_the_tree_goes_on_after_a_cut(audit: AuditService, store: SqlStore, url: str) -> None:
    """What the cut events left of the tree is replaced, so that the coordinator still works while a person looks."""
    damage(url, cut_much)
    with store.begin() as work:
        for _ in range(COUNT):
            work.append_event(at=NOW, actor="a", action="after", about="c")
    earlier = head_of(audit.prove(0, ()).head)
    with store.begin() as work:
        work.append_event(at=NOW, actor="a", action="after", about="c")
    later = audit.prove(earlier.size, ())
    assert head_of(later.head).extends(earlier, later.consistency)


@pytest.mark.parametrize("how", [alter, leave_out], ids=lambda value: value.__name__)
def test_no_proof_is_given_of_an_event_that_was_changed(audit: AuditService, url: str, how: Damage) -> None:
    """Its number is said instead."""
    damage(url, how)
    with pytest.raises(AuditBroken, match="12"):
        audit.prove(0, [12])


@pytest.mark.parametrize("values", [{"digest": "x"}, {"digest": "X" * 64}])
def test_a_row_that_is_no_event_is_named(audit: AuditService, url: str, values: dict[str, str]) -> None:
    """Its number is said to everybody who reads the log, and no defect."""

    def spoil(connection: Connection) -> None:
        connection.execute(update(tables.events).where(tables.events.c.number == COUNT).values(**values))

    damage(url, spoil)
    for read in (
        audit.verify,
        lambda: audit.events(after=0, limit=0),
        lambda: audit.prove(0, [COUNT]),
        lambda: audit.prove(0, []),
    ):
        with pytest.raises(AuditBroken, match=str(COUNT)):
            read()


def test_an_altered_tree_is_named(audit: AuditService, url: str) -> None:
    """The stored subtrees are compared with the events."""

    def swap(connection: Connection) -> None:
        connection.execute(update(tables.audit_subtrees).values(hash=bytes(32)))

    damage(url, swap)
    with pytest.raises(AuditBroken):
        audit.verify()


def test_odd_questions_have_an_answer(audit: AuditService) -> None:
    """A larger head, events that are not there, too many of them."""
    proof = audit.prove(2**64 - 1, [0, COUNT + 1, 2**64 - 1])
    assert head_of(proof.head).size == COUNT
    assert (list(proof.consistency), [list(path) for path in proof.paths]) == ([], [[], [], []])
    with pytest.raises(InvalidArgument):
        audit.prove(0, [1] * (MOST_NUMBERS + 1))


def test_events_from_before_the_tree_are_in_it(url: str) -> None:
    """A store of the schema before is opened: the tree stands over every event that it has."""
    engine = create_engine(url)
    with engine.begin() as connection:
        sql._migrate(connection, "0003")
        tree, previous = Tree(), None
        for _ in range(COUNT):
            previous = link(previous, at=NOW, actor="a", action="b", about="c")
            connection.execute(insert(tables.events).values(**plain(previous)))
            tree.append(leaf_of(previous.digest))
    engine.dispose()
    store = open_store(url)
    with store.read() as reading:
        assert hash_of((0, COUNT), reading.tree_hashes(whole_subtrees((0, COUNT)))) == tree.root
    store.close()


def test_an_exported_log_is_verified_without_a_coordinator(
    audit: AuditService, store: SqlStore, tmp_path: Path
) -> None:
    """And a changed, cut, lengthened or otherwise signed one is refused."""
    file = tmp_path / "log.jsonl"
    with store.read() as reading:
        events = list(every_event(reading))
    first = FirstLine(head=audit.verify()[2], verify_key=KEY.public.text)
    write_export(file, first, events)
    exported = read_export(file)
    assert (exported.report.events, exported.key) == (COUNT, KEY.public)
    more = link(events[-1], at=NOW, actor="a", action="b", about="c")
    changed = events[5].model_copy(update={"action": "other"})
    for content in (events[:-1], [*events, more], [*events[:5], changed, *events[6:]], events[1:], []):
        write_export(file, first, content)
        with pytest.raises(AuditBroken):
            read_export(file)
    write_export(file, first, events)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(AuditBroken, match=str(COUNT)):
        read_export(file)
    write_export(file, first.model_copy(update={"verify_key": SigningKey.generate().public.text}), events)
    with pytest.raises(SignatureInvalid):
        read_export(file)
    file.write_bytes(b"")
    with pytest.raises(SignatureInvalid):
        read_export(file)
    with pytest.raises(SourceMissing):
        read_export(tmp_path / "none")
