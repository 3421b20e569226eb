"""A backup of a home holds a ledger of the schema that it names, and of it follow numbers above all that are known."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backup.archive import BackupFacts, unpack_backup
from shared.backup.database import copy_sqlite
from shared.crypto.recipients import generate_identity
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.settings import SettingsError
from shared.ids import Uid
from shared.proto.ricord.v1.submission_pb2 import Submission
from site_node.backup import restore as restoring
from site_node.backup import returning
from site_node.backup.backup import back_up
from site_node.backup.restore import highest_seen
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.migrations import STEPS
from site_node.membership.record import Membership
from tests.factories.pipeline import key_of, make_home

KEY = generate_identity("x25519")
rows = st.builds(
    Submission,
    patient=st.integers(0, 999_999).map("123456-{:06d}".format) | st.sampled_from(["", "123456-x"]),
    sequence=st.integers(1, 999),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return make_home(tmp_path_factory.mktemp("site") / "home")


def test_the_ledger_in_it_has_the_schema_that_is_named(tmp_path: Path) -> None:
    """Also where a release before made the home's, which a restored home would else hold under a newer name."""
    home, seen = make_home(tmp_path / "home"), list[BackupFacts]()
    with closing(sqlite3.connect(home.ledger)) as older:
        for step in STEPS[:-1]:
            step(older)
        older.execute(f"pragma user_version = {len(STEPS) - 1}")
        older.commit()
    back_up(home, tmp_path / "file.age", KEY.recipient)
    unpack_backup(tmp_path / "file.age", KEY, tmp_path / "restored", seen.append)
    with closing(sqlite3.connect(tmp_path / "restored" / "ledger.sqlite")) as ledger:
        (version,) = ledger.execute("pragma user_version").fetchone()
    assert [facts.schema_version for facts in seen] == [str(version)] == [str(len(STEPS))]


def test_the_ledgers_copy_is_for_its_owner_only(
    home: SiteHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names patients, and lies beside the home's own until it is sealed."""
    modes = list[int]()

    def copying(source: Path, target: Path) -> None:
        modes.append(target.parent.stat().st_mode & 0o777)
        copy_sqlite(source, target)

    monkeypatch.setattr("site_node.backup.backup.copy_sqlite", copying)
    back_up(home, tmp_path / "file.age", KEY.recipient)
    assert modes == [0o700]


def test_a_home_that_would_not_start_is_not_backed_up(home: SiteHome, tmp_path: Path) -> None:
    """A person hears of a wrong setting now, not when the copy is all that is left."""
    before = home.settings_file.read_text()
    home.settings_file.write_text("wrong = 1\n" + before)
    with pytest.raises(SettingsError):
        back_up(home, tmp_path / "file.age", KEY.recipient)
    home.settings_file.write_text(before)
    assert not (tmp_path / "file.age").exists()


@given(received=st.lists(rows, max_size=5))
def test_numbers_go_on_above_every_row(home: SiteHome, received: list[Submission]) -> None:
    """In whatever order; a pseudonym of another form has no number, and nothing that is known means 0."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restoring, "own_rows", lambda membership: iter(received))
        patients, sequences = highest_seen(home, cast("Membership", None))
    numbers = [int(row.patient[7:]) for row in received if row.patient[7:].isdecimal()]
    assert patients == max([0, *numbers])
    assert sequences == max([0, *(row.sequence for row in received)])


def test_what_the_centre_lost_is_set_aside_durably(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts of it go where only their owner reads them, by their names, once and again."""
    moved = list[Path]()

    def sync(folder: Path) -> None:
        assert folder == home.deletions
        moved.extend(sorted(folder.iterdir()))

    monkeypatch.setattr(returning, "sync_folder", sync)
    shutil.rmtree(home.deletions, ignore_errors=True)
    for name in ("a.json", "b.json"):
        (home.receipts / name).touch()
        with closing(Ledger(home.ledger)) as ledger:
            returning._exclude(home, ledger, frozenset({name}))
    assert [path.name for path in moved] == ["a.json", "a.json", "b.json"]
    assert home.deletions.stat().st_mode & 0o777 == 0o700
    assert list(home.receipts.iterdir()) == []


def test_only_what_the_centre_lost_comes_again(tmp_path: Path) -> None:
    """Its study is excluded for that, and each of its images is new; another one stays submitted."""
    home = make_home(tmp_path / "home")
    with closing(Ledger(home.ledger)) as ledger:
        for number, name in enumerate(("lost", "held"), 1):
            key = key_of(name)
            ledger.add_study(key, [f"{name}.dcm"], state=State.RECEIVED)
            ledger.advance(
                key, State.SUBMITTED, study=Uid(f"2.25.{number}"), receipt=f"{name}.json", audit_number=number
            )
            (home.receipts / f"{name}.json").touch()
        returning._exclude(home, ledger, frozenset({"lost.json"}))
        (lost,), (held,) = ledger.studies(State.EXCLUDED), ledger.studies(State.SUBMITTED)
        assert (lost.key, lost.lead, ledger.names(lost.key)) == (key_of("lost"), "lost-at-centre", frozenset())
        assert (held.key, ledger.names(held.key)) == (key_of("held"), frozenset({"held.dcm"}))
    assert [path.name for path in home.receipts.iterdir()] == ["held.json"]


def test_what_is_no_recipient_is_no_curators(tmp_path: Path) -> None:
    """Though its beginning stands in what was signed."""
    home = make_home(tmp_path / "home")
    home.identity.mkdir(exist_ok=True)
    (home.identity / "agreement.json").write_text(f'"{KEY.recipient}"')
    for text in (KEY.recipient[:-1], ""):
        with pytest.raises(InvalidIdentifier):
            back_up(home, tmp_path / "file.age", text)
    with pytest.raises(InvalidArgument, match="the curator's"):
        back_up(home, tmp_path / "file.age", KEY.recipient)
