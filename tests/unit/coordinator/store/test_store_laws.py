"""One law class, run against every store."""

import hashlib
import threading
from datetime import timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import bindparam, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from coordinator.store import audit_chain, sql, tables
from coordinator.store.records import Agreement, Certificate, Member, Node, RunState, Site, TokenRow, Upload
from coordinator.store.sql import SqlStore, open_store
from shared.agreement import State
from shared.errors.transport import StoreUnreachable
from shared.ids import AgreementId, Sha256, SiteId
from shared.signed import Signed
from shared.token import TokenKind
from tests.factories.rows import (
    AGREEMENT,
    NOW,
    SITE_ID,
    make_agreement,
    make_cohort,
    make_pooled_counts,
    make_replaced,
    make_run,
    make_site,
    make_submission,
)

STATES: tuple[RunState, ...] = ("pending", "running", "stopping", "done", "failed")


class TestLaws:
    """What every store promises."""

    def test_what_is_put_is_read_back_equal(self, store: SqlStore) -> None:
        """Every record comes back as it went in, with its types and its moment to the microsecond."""
        signed = Signed(document='{"a":"ü"}', signature="c2ln")
        site, agreement, replaced = make_site(), make_agreement(signed), make_replaced(signed)
        member = Member(role="curator", name="c", verify_key="ssh", recipient="age1", statement=signed, enrolled_at=NOW)
        node = Node(site_id=SITE_ID, public_key="PEM", registered_at=NOW)
        upload = Upload(name=Sha256("1" * 64), site_id=SITE_ID, continued_at=NOW)
        runs = [make_run(0, "pending"), make_run(1, "running"), make_run(2, "done"), make_run(3, "failed")]
        with store.begin() as work:
            work.put_site(site)
            work.put_agreement(agreement)
            work.add_agreement_version(replaced)
            work.put_member(member)
            work.put_node(node)
            work.put_upload(upload)
            for run in runs:
                work.put_run(run)
            work.add_cohort(make_cohort(1))
            work.add_pooled_counts(make_pooled_counts(1))
            work.add_submission(make_submission(1))
        with store.read() as reading:
            assert reading.site("Höspital") == reading.site(SITE_ID) == site
            assert reading.agreement(AGREEMENT) == agreement
            assert reading.agreement_version(AGREEMENT, 1) == replaced
            assert reading.member("curator", "c") == member
            assert reading.node_with("PEM") == node
            assert reading.uploads() == [upload]
            assert reading.runs() == runs == [reading.run(run.id) for run in runs]
            assert reading.cohort(make_cohort(1).id) == make_cohort(1)
            assert reading.pooled_counts("ricord") == [make_pooled_counts(1)]
            assert reading.pooled_counts("another") == []
            assert reading.submission(Sha256(f"{1:064x}")) == make_submission(1)
            assert isinstance(reading.sites()[0].agreement, AgreementId)

    def test_the_largest_numbers_are_read_back_equal(self, store: SqlStore) -> None:
        """The bounds that a manifest and the terms of an agreement may reach."""
        large = {"agreement_version": 2**31 - 1, "sequence": 2**63 - 1, "ciphertext_size": 2**63 - 1}
        row = make_submission(1).model_copy(update=large)
        agreement = Agreement(id=AGREEMENT, site_name="x", state=State.DRAFTED, version=2**31 - 1, changed_at=NOW)
        with store.begin() as work:
            work.add_submission(row)
            work.put_agreement(agreement)
        with store.read() as reading:
            assert reading.submissions() == [row]
            assert reading.agreements() == [agreement]
            assert reading.events(after=2**63 - 1) == []

    def test_a_lookup_that_finds_nothing_is_none(self, store: SqlStore) -> None:
        """Nothing is made up."""
        with store.read() as reading:
            assert reading.site("x") is None
            assert reading.agreement(AGREEMENT) is None
            assert reading.agreement_version(AGREEMENT, 1) is None
            assert reading.token(Sha256("0" * 64)) is None
            assert reading.certificate("1") is None
            assert reading.member("curator", "x") is None
            assert reading.submission(Sha256("0" * 64)) is None
            assert reading.run("x") is None
            assert reading.cohort("x") is None
            assert reading.node_with("x") is None
            assert reading.events() == []

    def test_a_put_replaces(self, store: SqlStore) -> None:
        """A record replaces the previous one with the same key."""
        with store.begin() as work:
            for state in STATES:
                work.put_run(make_run(1, state))
        with store.read() as reading:
            assert [run.state for run in reading.runs()] == [STATES[-1]]

    def test_a_deleted_row_is_deleted_alone(self, store: SqlStore) -> None:
        """Only the one of that key; deleting what is not there changes nothing."""
        with store.begin() as work:
            for number in "123":
                work.put_node(Node(site_id=SiteId(number * 6), public_key=number, registered_at=NOW))
                work.put_upload(Upload(name=Sha256(number * 64), site_id=SITE_ID, continued_at=NOW))
            for number in "24":
                work.delete_node(number * 6)
                work.delete_upload(Sha256(number * 64))
        with store.read() as reading:
            assert [node.public_key for node in reading.nodes()] == ["1", "3"]
            assert [upload.name[0] for upload in reading.uploads()] == ["1", "3"]

    def test_a_node_key_is_registered_once(self, store: SqlStore) -> None:
        """The database itself refuses a second site with the same key."""
        with store.begin() as work:
            work.put_node(Node(site_id=SITE_ID, public_key="PEM", registered_at=NOW))
        with pytest.raises(IntegrityError), store.begin() as work:
            work.put_node(Node(site_id=SiteId("999999"), public_key="PEM", registered_at=NOW))

    def test_runs_are_asked_for_by_state_and_the_oldest_comes_first(self, store: SqlStore) -> None:
        """Of any number of states; none means all."""
        with store.begin() as work:
            for number in (7, 3, 9, 1, 5):
                work.put_run(make_run(number, STATES[number // 2]))
                work.add_cohort(make_cohort(number))
        with store.read() as reading:
            assert [run.state for run in reading.runs()] == list(STATES)
            assert [run.state for run in reading.runs("done", "running")] == ["running", "done"]
            assert reading.runs("failed") == [make_run(9, "failed")]
            assert reading.cohorts() == [make_cohort(number) for number in (1, 3, 5, 7, 9)]

    def test_uploads_are_asked_for_by_site_and_age(self, store: SqlStore) -> None:
        """Of one site, last continued before a moment, or both; one that is continued is young again."""
        old, names = NOW - timedelta(days=8), [Sha256(number * 64) for number in "1234"]
        other = SiteId("999999")
        rows = [(SITE_ID, old), (SITE_ID, NOW), (other, old), (other, old)]
        with store.begin() as work:
            for name, (site, at) in zip(names, rows, strict=True):
                work.put_upload(Upload(name=name, site_id=site, continued_at=at))
            work.put_upload(Upload(name=names[3], site_id=other, continued_at=NOW))
        with store.read() as reading:
            assert [row.name for row in reading.uploads(SITE_ID)] == names[:2]
            assert [row.name for row in reading.uploads(before=NOW)] == [names[0], names[2]]
            assert [row.name for row in reading.uploads(other, before=NOW)] == [names[2]]

    def test_all_or_nothing(self, store: SqlStore) -> None:
        """A transaction that raises leaves nothing behind, its audit event included."""

        def fail() -> None:
            with store.begin() as work:
                work.put_site(Site(name="Half", agreement=AGREEMENT, recorded_at=NOW))
                work.append_event(at=NOW, actor="a", action="b", about="c")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with store.read() as reading:
            assert reading.site("Half") is None
            assert reading.events() == []

    def test_a_token_is_used_once_by_however_many(self, store: SqlStore) -> None:
        """Of eight that try at once, one succeeds."""
        digest = Sha256("1" * 64)
        with store.begin() as work:
            work.add_token(TokenRow(digest=digest, kind=TokenKind.JOIN, role="site", subject="s", expires_at=NOW))
        results: list[bool] = []

        def use() -> None:
            with store.begin() as work:
                results.append(work.use_token(digest, NOW))

        _at_once(use, 8)
        assert sorted(results) == [False] * 7 + [True]

    def test_cancelling_ends_every_good_token_of_one_member(self, store: SqlStore) -> None:
        """And no other member's, nor one that was used."""
        rows = [("site", "a", 2), ("site", "a", 1), ("site", "a", -1), ("site", "b", 1), ("curator", "a", 1)]
        tokens = [
            TokenRow(
                digest=Sha256(f"{number:064x}"),
                kind=TokenKind.JOIN,
                role=role,
                subject=subject,
                expires_at=NOW + timedelta(days=days),
            )
            for number, (role, subject, days) in enumerate(rows)
        ]
        with store.begin() as work:
            for token in tokens:
                work.add_token(token)
            assert work.use_token(tokens[1].digest, NOW)
            assert work.cancel_tokens("site", "a", NOW) == 1
            assert work.cancel_tokens("site", "a", NOW) == 0
        with store.read() as reading:
            ends = [row.expires_at for token in tokens if (row := reading.token(token.digest))]
        assert ends == [NOW, *(token.expires_at for token in tokens[1:])]
        with store.begin() as work:
            assert [work.cancel_token(token.digest, NOW) for token in tokens] == [False, False, False, True, True]
            assert list(work.tokens(after=tokens[1].digest, limit=2)) == [
                tokens[2],
                tokens[3].model_copy(update={"expires_at": NOW, "revoked_at": NOW}),
            ]
            assert [row.role for row in work.tokens(subject="a")] == ["site", "site", "site", "curator"]

    def test_a_curator_is_asked_for_what_was_executed_only(self, store: SqlStore) -> None:
        """By site name and in pages: no other curator's, and none that is drafted or signed."""
        signed = Signed(document="{}", signature="c2ln")
        executed = [("b", "anna", signed), ("a", "anna", signed), ("d", "ben", signed)]
        rows = [*executed, ("c", "anna", None), ("e", None, None)]
        with store.begin() as work:
            for number, (name, curator, execution) in enumerate(rows):
                changes = {"site_name": name, "curator": curator, "execution": execution}
                agreement = make_agreement(signed).model_copy(update=changes)
                work.put_agreement(agreement.model_copy(update={"id": AgreementId(f"A-{number:012x}")}))
        with store.read() as reading:
            assert [row.site_name for row in reading.agreements(sealed_to="anna")] == ["a", "b"]
            assert [row.site_name for row in reading.agreements(sealed_to="anna", after="a", limit=1)] == ["b"]
            assert len(reading.agreements()) == len(rows)

    def test_curators_of_agreements_that_are_kept_become_known(self, url: str) -> None:
        """A store from before is opened: whom its sites seal to is read from their terms."""
        open_store(url).close()
        engine, added = create_engine(url), {"tokens": "revoked_at", "agreements": "curator", "runs": "progress"}
        with engine.begin() as connection:
            connection.execute(text("DROP INDEX ix_agreements_curator"))
            connection.execute(text("DROP INDEX ix_runs_actor"))
            connection.execute(text("DROP INDEX ix_submissions_tally"))
            connection.execute(text("DROP INDEX ix_submissions_received"))
            connection.execute(text("DROP TABLE counts"))
            connection.execute(text("DROP TABLE pooled_counts"))
            for table, column in added.items():
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0011'"))
            insert = (
                "INSERT INTO agreements (id, site_name, state, version, terms, changed_at)"
                " VALUES (:name, :name, 'drafted', 1, :terms, '2026-03-01 12:00:00')"
            )
            for name, terms in (("A-00000000000a", '{"curator":{"name":"anna"}}'), ("A-00000000000b", None)):
                connection.execute(text(insert), {"name": name, "terms": terms})
        engine.dispose()
        opened = open_store(url)
        with opened.read() as reading:
            assert [row.curator for row in reading.agreements()] == ["anna", None]
        opened.close()

    def test_a_site_id_is_given_out_once(self, store: SqlStore) -> None:
        """A reservation is for ever."""
        with store.begin() as work:
            assert work.reserve_site_id(SITE_ID)
            assert not work.reserve_site_id(SITE_ID)
        with store.begin() as work:
            assert not work.reserve_site_id(SITE_ID)

    def test_a_submission_is_added_once(self, store: SqlStore) -> None:
        """The second of the same id changes nothing."""
        with store.begin() as work:
            assert work.add_submission(make_submission(7))
            assert not work.add_submission(make_submission(7))
            assert work.add_submission(make_submission(3))
            assert work.add_submission(make_submission(1, SiteId("999999")))
        with store.read() as reading:
            assert [row.sequence for row in reading.submissions(SITE_ID)] == [3, 7]
            assert len(reading.submissions()) == 3

    def test_revoking_takes_every_good_certificate_of_one_member(self, store: SqlStore) -> None:
        """And no other member's."""
        with store.begin() as work:
            for serial, name in (("1", "a"), ("2", "a"), ("3", "b")):
                ends = NOW + timedelta(days=int(serial))
                work.add_certificate(Certificate(serial=serial, role="site", name=name, ends_at=ends))
            assert work.revoke("site", "a", NOW) == 2
            assert work.revoke("site", "a", NOW) == 0
        with store.read() as reading:
            assert [certificate.serial for certificate in reading.certificates("site", "a")] == ["2", "1"]
            assert all(certificate.revoked_at == NOW for certificate in reading.certificates("site", "a"))
            assert [certificate.revoked_at for certificate in reading.certificates("site", "b")] == [None]

    def test_events_written_at_once_form_one_chain(self, store: SqlStore) -> None:
        """Eight writers, five events each: forty links in one order."""

        def write() -> None:
            for _ in range(5):
                with store.begin() as work:
                    work.append_event(at=NOW, actor="a", action="b", about="c")

        _at_once(write, 8)
        with store.read() as reading:
            report = audit_chain.verify(reading.events())
        assert report.intact
        assert report.events == 40

    def test_a_changed_event_breaks_the_chain(self, store: SqlStore, url: str) -> None:
        """An edit of the table is detected, at the entry that was edited."""
        with store.begin() as work:
            for number in range(6):
                work.append_event(at=NOW, actor="a", action=str(number), about="c")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE audit_events SET action = 'other' WHERE number = 4"))
        engine.dispose()
        with store.read() as reading:
            assert audit_chain.verify(reading.events()).broken_at == 4

    def test_what_was_kept_as_documents_moves_into_its_tables(self, url: str) -> None:
        """A store of the first schema is opened: every upload, node, run and table is there as it was."""
        signed = Signed(document='{"recipient":"ü"}', signature="c2ln")
        runs = [make_run(number, state) for number, state in enumerate(STATES)]
        table = (
            '{"computed_at":"2026-03-01T12:01:00.123456Z","definition":{"name":"ricord"},"policy":"é","site_count":3}'
        )
        key = '{"public_key":"-----BEGIN PUBLIC KEY-----\\nMH==\\n","site_id":"123456"}'
        _fill_first_schema(
            url,
            *[("run", run.id, run.state, run.model_dump_json()) for run in runs],
            ("node", SITE_ID, "registered", key),
            ("arriving", "1" * 64, SITE_ID, "{}"),
            ("cohort", "R-000000000001", "released", table),
            ("curator-statement", "c", "signed", signed.model_dump_json()),
        )
        opened = open_store(url)
        with opened.read() as reading:
            assert reading.runs() == runs
            assert reading.nodes() == [
                Node(site_id=SITE_ID, public_key="-----BEGIN PUBLIC KEY-----\nMH==\n", registered_at=NOW)
            ]
            assert reading.uploads() == [Upload(name=Sha256("1" * 64), site_id=SITE_ID, continued_at=NOW)]
            statements = [reading.member(role, "c") for role in ("curator", "researcher")]
            assert [member and member.statement for member in statements] == [signed, None]
            [cohort] = reading.cohorts()
            assert cohort.table == table
            digest = Sha256(hashlib.sha256(table.encode()).hexdigest())
            assert cohort == make_cohort(1).model_copy(update={"table": table, "policy": "é", "table_sha256": digest})
        opened.close()

    @pytest.mark.parametrize("document", [("run", "R-000000000003", "done", "{"), ("other", "x", "y", "{}")])
    def test_a_move_that_fails_changes_nothing(self, url: str, document: tuple[str, str, str, str]) -> None:
        """A document that cannot be read, or of a kind that nobody knows: nothing opens, everything stays in place."""
        rows = [("run", run.id, run.state, run.model_dump_json()) for run in (make_run(1), make_run(2))]
        _fill_first_schema(url, *rows, document)
        with pytest.raises(ValueError, match=r"Expecting|no table"):
            open_store(url)
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM documents")).scalar() == 3
            assert MigrationContext.configure(connection).get_current_revision() == "0001"
            assert not inspect(connection).has_table("uploads")
            assert "statement" not in {column["name"] for column in inspect(connection).get_columns("members")}
        engine.dispose()


def _fill_first_schema(url: str, *documents: tuple[str, str, str, str]) -> None:
    """A database of revision 0001 that holds `documents`: kind, name, state and body."""
    engine = create_engine(url)
    row = "INSERT INTO documents (kind, name, state, body, changed_at) VALUES (:kind, :name, :state, :body, :at)"
    member = text("INSERT INTO members (role, name, verify_key, enrolled_at) VALUES (:role, 'c', 'ssh', :at)")
    member = member.bindparams(bindparam("at", NOW, tables.Utc))
    statement = text(row).bindparams(bindparam("at", NOW, tables.Utc))
    with engine.begin() as connection:
        sql._migrate(connection, "0001")
        for role in ("curator", "researcher"):
            connection.execute(member, {"role": role})
        for kind, name, state, body in documents:
            connection.execute(statement, {"kind": kind, "name": name, "state": state, "body": body})
    engine.dispose()


def _at_once(action: Any, count: int) -> None:
    threads = [threading.Thread(target=action) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    """The kind is named; the URL, which may hold a password, is not."""
    with pytest.raises(StoreUnreachable) as caught:
        open_store("postgresql+psycopg://user:secret@127.0.0.1:1/none?connect_timeout=1")
    assert "secret" not in f"{caught.value!r}{caught.value}{caught.value.private}"
