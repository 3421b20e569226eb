"""A federation is founded whole, or the same `init` founds it later; a bad database leaves nothing behind."""

from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coordinator.home.init import create_federation, open_home_store, open_identity
from coordinator.home.settings import Home
from coordinator.store.sql import open_store
from shared.crypto.keys import load_tls
from shared.crypto.pki import check_certificate
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.settings import HomeExists
from shared.errors.transport import StoreUnreachable
from shared.protocol.loader import load_protocol
from tests.factories.federation import make_settings, settings_text
from tests.peers import postgres_url

DIGEST = load_protocol().digest


def create(home: Home, **changes: object) -> None:
    """What `init` does."""
    settings = make_settings(**changes)
    create_federation(home, settings, settings_text(settings))


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def create_until(home: Home, step: int) -> bool:
    """Found, and end at the `step`-th file that gets its name; whether it ended before it was done."""
    rename, steps = Path.replace, count(1)

    def end(path: Path, target: Path) -> Path:
        if next(steps) == step:
            raise KeyboardInterrupt
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", end)
        try:
            create(home)
        except KeyboardInterrupt:
            return True
    return False


def test_a_founding_cut_short_anywhere_is_repeated(tmp_path: Path) -> None:
    """Whatever file came last, the same command goes on: one federation, founded once, whose certificates hold."""
    for step in count(1):
        home = Home(tmp_path / f"home-{step}")
        ended = create_until(home, step)
        assert home.settings_file.exists() is not ended
        if not ended:
            break
        root = home.root.read_bytes() if home.root_key.exists() else None
        create(home, advertised_host="ricord.example.org")
        settings = home.settings()
        identity, store = open_identity(home, settings), open_home_store(home, settings)
        assert root in (None, identity.root), "the root is made once"
        check_certificate(home.operator_certificate.read_bytes(), identity.root)
        check_certificate(home.server_certificate.read_bytes(), identity.root)
        load_tls(home.operator_key)
        with store.read() as reading:
            assert [event.action for event in reading.events()] == ["federation founded"]
        store.close()
    assert step > 7


def test_what_another_founded_is_not_touched(tmp_path: Path) -> None:
    """Neither a folder with another federation's root, nor a database that another home founded."""
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    create(first)
    first.settings_file.unlink()
    before = files(first.folder)
    with pytest.raises(HomeExists):
        create(first, federation="other-federation")
    with pytest.raises(InvalidArgument, match="another home"):
        create(second, database=f"sqlite:///{first.folder / 'coordinator.sqlite'}")
    assert files(first.folder) == before
    assert files(second.folder) == {}


@pytest.mark.parametrize(
    ("database", "error"),
    [
        ("nonsense", InvalidArgument),
        ("mysql://user:secret@localhost/x", InvalidArgument),
        ("postgresql://user:secret@localhost/x", InvalidArgument),
        ("postgresql+psycopg://user:secret@localhost:port/x", InvalidArgument),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/x?secret=secret", InvalidArgument),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/x?connect_timeout=1", StoreUnreachable),
        ("sqlite:////no/such/folder/store.sqlite", StoreUnreachable),
    ],
)
def test_a_bad_database_has_a_sentence_and_leaves_nothing(
    tmp_path: Path, database: str, error: type[RicordError]
) -> None:
    """It is named without its URL, which may hold a password; with a good one the same folder is founded."""
    home = Home(tmp_path / "home")
    with pytest.raises(error) as caught:
        create(home, database=database)
    assert "secret" not in f"{caught.value!r}{caught.value}{caught.value.private}{caught.value.fields}"
    assert not home.folder.exists()
    create(home)


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    """A volume of a container cannot be removed, and the cause must not be hidden by an attempt to."""
    home = Home(tmp_path / "volume")
    home.folder.mkdir()
    with pytest.raises(StoreUnreachable):
        create(home, database="sqlite:////no/such/folder/store.sqlite")
    assert home.folder.is_dir()


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    """By its path, before anything is made."""
    home, database = Home(tmp_path / "home"), "postgresql+psycopg://user@127.0.0.1:1/x"
    with pytest.raises(SourceMissing, match="no-such-file"):
        create(home, database=database, database_password_file=tmp_path / "no-such-file")
    assert not home.folder.exists()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(encoding: str) -> None:
    """PostgreSQL keeps text in the encoding a database was made with; only UTF8 holds every hospital's name."""
    with postgres_url() as url:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("DROP DATABASE IF EXISTS narrow"))
            options = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            connection.execute(text(f"CREATE DATABASE narrow {options}"))
        engine.dispose()
        with pytest.raises(InvalidArgument, match=encoding):
            open_store(url.replace("/postgres?", "/narrow?"))
