"""A ledger that a home has had is not begun anew, which would number patients twice; a damaged one is called so."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared.errors.settings import LedgerMissing
from shared.errors.storage import DatabaseDamaged
from site_node.cli import app
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger

COMMANDS = (("status",), ("doctor",), ("run", "--once"), ("review", "list"))


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    home = init_home(tmp_path / "home", name="General")
    Ledger(home.ledger).close()
    return home


def output_of(home: SiteHome, *command: str) -> str:
    result = CliRunner().invoke(app, ["--home", str(home.folder), *command])
    assert result.exit_code == 1
    return result.output + (str(getattr(result.exception, "public", "")) if result.exception else "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_lost_ledger_is_not_begun_anew(home: SiteHome, command: tuple[str, ...]) -> None:
    """Every command says that it is missing, and none makes another; the rest of the home stays as it is."""
    for suffix in ("", "-wal", "-shm"):
        home.ledger.with_name(f"{home.ledger.name}{suffix}").unlink(missing_ok=True)
    assert "missing" in output_of(home, *command)
    assert not home.ledger.exists()
    with pytest.raises(LedgerMissing):
        Ledger(home.ledger)


def test_a_new_home_begins_its_ledger(tmp_path: Path) -> None:
    """Where there was none, as after `init`, there is one now, and once: it opens again."""
    home = init_home(tmp_path / "home", name="General")
    for _ in range(2):
        Ledger(home.ledger).close()
    assert home.ledger.exists()


def test_a_ledger_of_an_earlier_release_is_marked(home: SiteHome) -> None:
    """A home that an earlier release began is marked when it is opened, and then as safe as a new home."""
    home.ledger.with_suffix(".begun").unlink()
    Ledger(home.ledger).close()
    home.ledger.unlink()
    with pytest.raises(LedgerMissing):
        Ledger(home.ledger)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("damage", [b"", b"this is a text", b"SQLite format 3\0" + b"\xff" * 500])
def test_a_damaged_ledger_is_called_damaged(home: SiteHome, command: tuple[str, ...], damage: bytes) -> None:
    """Text, a torn header or a cut file is said to be damaged, with what to do; an empty file begins no ledger."""
    if not damage:
        with sqlite3.connect(home.ledger) as db:
            db.execute("pragma wal_checkpoint(truncate)")
        damage = home.ledger.read_bytes()[:9000]
    home.ledger.write_bytes(damage)
    assert "is damaged" in output_of(home, *command)
    with pytest.raises(DatabaseDamaged):
        Ledger(home.ledger).state_counts()
