"""A study that an earlier release refused because the centre failed is sent, if it is still sealed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from shared.errors.studies import ManifestInvalid
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.pipeline import Pipeline
from site_node.reasons import reason_for
from site_node.study import Sealed, Severity
from tests.factories.earlier_ledgers import WITHOUT_FIGURES
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

SEALED, LOST, INVALID = (key_of(name) for name in ("good-1", "good-2", "good-3"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of a home as version 2 left it: refused, records and originals deleted, sealed files in the outbox."""
    home = make_home(tmp_path / "home")
    old = Ledger(home.ledger)
    for name in ("good-1", "good-2", "good-3"):
        enter(home, old, make_study(home, name))
    stages = make_stages(home, tmp_path / "submitted")
    refusing = replace(stages, submit=Mock(side_effect=ManifestInvalid(problem="x")))
    Pipeline(home, old, refusing, originals_stay=None).run()
    lost = Records(home).read(LOST, Sealed)
    for file in (*home.folder.glob("work/*/*.*"), *home.folder.glob("spool/*/*"), lost.ciphertext):
        file.unlink()
    for key in (SEALED, LOST):
        why = reason_for("internal-error", severity=Severity.REJECT)
        old._db.execute("update instances set code = 'internal-error' where key = ?", (key,))
        old.advance(key, State.REFUSED, reasons=(why,))
    later = (
        "withdrawn",
        "deletions",
        "submissions",
        "blankings",
        "sheets",
        "associations",
        "dropped_words",
        "bearers",
        "removed_names",
        "accepted_words",
        "answers",
        "privacy",
        "plans",
        "snapshot_changes",
        "snapshot_studies",
        "snapshots",
    )
    undone = (
        WITHOUT_FIGURES
        + "drop view covered; alter table studies drop column stopped; drop index studies_by_audit_number;"
    )
    undone += "alter table studies drop column audit_number;"
    old._db.executescript(undone + "".join(f"drop table {name};" for name in later))
    old._db.execute("pragma user_version = 2")
    old.close()
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def test_it_is_sent_if_it_is_still_sealed(ledger: Ledger, tmp_path: Path) -> None:
    """One whose file is lost, or that the coordinator judged, stays refused."""
    assert [ledger.study(key).state for key in (SEALED, LOST, INVALID)] == [
        State.SEALED,
        State.REFUSED,
        State.REFUSED,
    ]
    assert ledger.instance_counts() == {"refused": 4, "waiting": 2}
    home = SiteHome(tmp_path / "home")
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert ledger.study(SEALED).state is State.SUBMITTED
    assert ledger.instance_counts() == {"refused": 4, "submitted": 2}
    assert len(list((tmp_path / "submitted").iterdir())) == 1
