"""A site's home may be moved or copied to another place, whatever waits in it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from site_node.home import database
from site_node.home.folder import SiteHome
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.home.records import Records
from site_node.node.pipeline import Pipeline
from site_node.study import Deidentified, Included, Received, Sealed, Validated
from tests.factories.earlier_ledgers import WITHOUT_FIGURES
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

KINDS = (Received, Included, Deidentified, Validated, Sealed)
MOVED = (shutil.move, shutil.copytree)


def run(home: SiteHome, until: State, submitted: Path) -> None:
    """Bring one study of a home up to a state, and see that it comes so far."""
    with closing(Ledger(home.ledger)) as ledger:
        if not ledger.studies():
            enter(home, ledger, make_study(home, "partly-1", files=3))
        progress = Pipeline(home, ledger, make_stages(home, submitted)).run(until)
        assert progress.blocked is None
        assert ledger.study(key_of("partly-1")).state is until


def use_release_before(home: SiteHome) -> None:
    """Make of a home what the release before this law left: records that name each file in full."""
    records = Records(home)
    for kind in KINDS:
        if (record := records.find(key_of("partly-1"), kind)) is not None:
            (home.work(key_of("partly-1")) / f"{kind.__name__.lower()}.json").write_text(record.model_dump_json())
    with closing(database.open_database(home.ledger, durable=True)) as db:
        for table in ("privacy", "answers", "plans", "snapshot_changes", "snapshot_studies", "snapshots"):
            db.execute(f"drop table {table}")
        db.executescript(WITHOUT_FIGURES)
        db.execute("alter table withdrawn drop column in_library")
        db.execute("pragma user_version = 9")


@pytest.mark.parametrize("is_of_before", [False, True], ids=["of-today", "of-the-release-before"])
@pytest.mark.parametrize("move", MOVED, ids=lambda move: str(move.__name__))
@pytest.mark.parametrize("stage", STATE_ORDER[:-1])
def test_a_study_goes_on_where_its_home_is_now(
    tmp_path: Path, stage: State, move: Callable[[Path, Path], object], *, is_of_before: bool
) -> None:
    """A study at any stage comes to its receipt, and no file of the earlier place is asked for or left out.

    Home, folder above and study have names that the records must not mistake for places in a home.
    """
    before = make_home(tmp_path / "outbox" / "spool" / 'a "quoted" home')
    run(before, stage, tmp_path / "submitted")
    if is_of_before:
        use_release_before(before)
    home = SiteHome(tmp_path / "elsewhere" / "home")
    home.folder.parent.mkdir()
    move(before.folder, home.folder)
    shutil.rmtree(before.folder, ignore_errors=True)
    run(home, State.SUBMITTED, tmp_path / "submitted")
    assert not list(home.outbox.iterdir())
    assert len(list((tmp_path / "submitted").iterdir())) == 1


@pytest.mark.parametrize("is_of_before", [False, True], ids=["of-today", "of-the-release-before"])
def test_no_record_names_the_home(tmp_path: Path, *, is_of_before: bool) -> None:
    """Of a sealed study, whose records name files of every kind, nothing names the folder that the home lies in."""
    home = make_home(tmp_path / "home")
    run(home, State.SEALED, tmp_path / "submitted")
    if is_of_before:
        use_release_before(home)
        Ledger(home.ledger).close()
    texts = [file.read_text() for file in home.work(key_of("partly-1")).glob("*.json")]
    assert len(texts) == len(KINDS)
    assert not [text for text in texts if str(tmp_path) in text]
