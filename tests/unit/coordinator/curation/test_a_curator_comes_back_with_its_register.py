"""A curator's home comes back from its backup whole: keys, register and log; what does not fit leaves no home."""

import os
from contextlib import closing
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.curation.backup import RESTORED, back_up, restore
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import list_opened
from coordinator.curation.passes import run_pass
from coordinator.curation.register.register import Register
from shared.crypto.keys import make_identity
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeNotEmpty
from shared.errors.storage import BackupInvalid
from shared.errors.trust import AuditBroken
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A curator with an opened study; the coordinator has ended."""
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        home, member = running.site("general")
        with submitting(home, member) as submit:
            submit(sealed_study(home, member))
        assert run_pass(CuratorHome(running.folder / "curator-curator"), None).whole
    return running


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> CuratorHome:
    copytree(federation.folder / "curator-curator", tmp_path / "curator")
    return CuratorHome(tmp_path / "curator")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_identity(tmp_path / "backup.key")
    return tmp_path / "backup.key"


def recipient(key: Path) -> str:
    return next(word for line in key.read_text().splitlines() for word in line.split() if word.startswith("age1"))


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def log(home: CuratorHome) -> list[str]:
    with closing(Register(home.register)) as register, register.reading() as reading:
        assert reading.verified().intact
        return [f"{event.action} {event.digest}" for event in reading.events()]


def test_it_comes_back_whole(home: CuratorHome, key: Path, tmp_path: Path) -> None:
    """Keys, identity, settings and register are those that were backed up, for the owner; opened studies are not."""
    file, new = tmp_path / "curator.age", CuratorHome(tmp_path / "new")
    to = recipient(key)
    arguments = ["--home", str(home.folder), "curate", "backup", str(file), "--to", to]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    before = log(home)
    arguments = ["--home", str(new.folder), "curate", "restore", str(file), "--identity", str(key)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    kept = {name: data for name, data in contents(home.folder).items() if not name.startswith(("opened/", "opening"))}
    restored = {name: data for name, data in contents(new.folder).items() if name not in {"opening", "SHA256SUMS"}}
    assert {name: restored.get(name) for name in kept} == kept
    assert log(new)[:-1] == before
    assert log(new)[-1].startswith(RESTORED)
    assert new.load_keys().signing.fingerprint == home.load_keys().signing.fingerprint
    assert not list_opened(new.opened)
    modes = {path.stat().st_mode & 0o077 for path in new.folder.rglob("*")}
    assert modes == {0}


def test_what_does_not_fit_leaves_no_home(home: CuratorHome, key: Path, tmp_path: Path) -> None:
    """Another key, a cut or changed file, a folder with anything in it and a broken log: each is refused by name."""
    file, new = tmp_path / "curator.age", CuratorHome(tmp_path / "new")
    back_up(home, file, recipient(key))
    with pytest.raises(InvalidArgument):
        back_up(home, file, recipient(key))
    make_identity(tmp_path / "other.key")
    data = file.read_bytes()
    (tmp_path / "cut.age").write_bytes(data[:-40])
    (tmp_path / "changed.age").write_bytes(data[:-200] + os.urandom(1) + data[-199:])
    for backup, identity in (
        (file, "other.key"),
        (tmp_path / "cut.age", "backup.key"),
        (tmp_path / "changed.age", "backup.key"),
    ):
        with pytest.raises(BackupInvalid):
            restore(new, backup, tmp_path / identity)
        assert not new.settings_file.exists()
    with pytest.raises(HomeNotEmpty):
        restore(home, file, key)
    with closing(Register(home.register)) as register, register.changing() as change:
        change.db.execute("drop trigger events_stay")
        change.db.execute("update events set actor = 'curator/mallory' where number = 1")
    back_up(home, tmp_path / "broken.age", recipient(key))
    with pytest.raises(AuditBroken):
        restore(new, tmp_path / "broken.age", key)
    assert not new.settings_file.exists()


def test_its_own_recipient_is_refused(home: CuratorHome, tmp_path: Path) -> None:
    """A backup that only its own content could open is none."""
    with pytest.raises(InvalidArgument):
        back_up(home, tmp_path / "curator.age", home.load_keys().identity.recipient)
    assert not (tmp_path / "curator.age").exists()


def test_a_newer_or_foreign_backup_is_refused(
    home: CuratorHome, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A register of a newer release is refused, and so is a coordinator's backup."""
    file, new = tmp_path / "curator.age", CuratorHome(tmp_path / "new")
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.curation.backup.STEPS", ("", "", "", "", ""))
        back_up(home, file, recipient(key))
    with pytest.raises(BackupInvalid):
        restore(new, file, key)
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.curation.backup._CURATOR", "ricord-coordinator")
        back_up(home, tmp_path / "foreign.age", recipient(key))
    with pytest.raises(BackupInvalid):
        restore(new, tmp_path / "foreign.age", key)
