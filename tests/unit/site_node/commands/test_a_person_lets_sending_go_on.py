"""A contradiction in the coordinator's log is shown, stops the sending of studies, and ends by a named person only."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.membership.record import Membership, load_membership
from site_node.membership.witness import Contradiction, Witness
from tests.factories.federation import Federation, running_federation, sealed_study
from tests.factories.pipeline import enter, make_study
from tests.unit.site_node.commands.conftest import Run

NAME = "Witness Hospital"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.site(NAME)
        yield running


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> SiteHome:
    """A copy of an enrolled home that runs without the search for text."""
    shutil.copytree(federation.folder / NAME.replace(" ", "-"), tmp_path / "home")
    home = SiteHome(tmp_path / "home")
    home.settings_file.write_text(home.settings_file.read_text().replace("pixel_check = true ", "pixel_check = false"))
    return home


def stop(home: SiteHome) -> None:
    Witness(home).stop(Contradiction(problem="it ends at entry 3, before entry 4", seen_at=datetime.now(UTC)))


def sealed_entry(home: SiteHome, member: Membership) -> None:
    """A study in the ledger that waits for being sent."""
    ledger = Ledger(home.ledger)
    study = make_study(home, "good-1")
    enter(home, ledger, study)
    sealed = sealed_study(home, member)
    Records(home).write(study.key, sealed.model_copy(update={"key": study.key}))
    for state in (State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED, State.SEALED):
        ledger.advance(study.key, state, reasons=())
    ledger.close()


def test_run_once_asks_when_a_day_has_passed(run: Run, home: SiteHome) -> None:
    """Also where there is nothing to send; not twice in a day."""
    kept = Witness(home)
    assert run("--home", home.folder, "run", "--once")[0] == 0
    first = kept.witnessed()
    assert first is not None
    assert run("--home", home.folder, "run", "--once")[0] == 0
    assert kept.witnessed() == first
    kept.keep(first.head, first.proven_at - timedelta(days=1), proven=())
    assert run("--home", home.folder, "run", "--once")[0] == 0
    again = kept.witnessed()
    assert again is not None
    assert again.proven_at > first.proven_at


def test_nothing_is_sent_until_a_person_says_so(run: Run, home: SiteHome) -> None:
    """The study stays sealed, each command says why, and the audit of the home who let it go on."""
    sealed_entry(home, load_membership(home))
    stop(home)
    for verb in (("run", "--once"), ("submit",)):
        code, _, error = run("--home", home.folder, *verb)
        assert code == ExitCode.REFUSED
        assert "it ends at entry 3, before entry 4" in error
    assert list(home.receipts.iterdir()) == []
    status = run("--home", home.folder, "status")[1]
    assert "it ends at entry 3" in status
    assert "witness resume" in status
    shown = json.loads(run("--home", home.folder, "status", "--json")[1])
    assert shown["contradiction"]["problem"] == "it ends at entry 3, before entry 4"
    assert run("--home", home.folder, "witness", "resume", "--reason", "a restored backup")[0] == 0
    assert run("--home", home.folder, "run", "--once")[0] == 0
    assert len(list(home.receipts.iterdir())) == 1
    [event] = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert (event["actor"], event["action"]) == ("A. Miller", "witness-resume")
    assert "a restored backup" in event["detail"]


def test_the_witness_is_shown(run: Run, home: SiteHome) -> None:
    """Before and after the first proof, and while sending is stopped."""
    assert "proven nothing yet" in run("--home", home.folder, "witness", "show")[1]
    code, text, _ = run("--home", home.folder, "witness", "ask", "--json")
    size = json.loads(text)["size"]
    assert (code, size > 0) == (0, True)
    assert f"{size} entries" in run("--home", home.folder, "witness", "ask")[1]
    assert f"{size} entries, root" in run("--home", home.folder, "witness", "show")[1]
    assert json.loads(run("--home", home.folder, "witness", "show", "--json")[1])["head"]["size"] == size
    code, _, error = run("--home", home.folder, "witness", "resume", "--reason", "x")
    assert (code, error.count("\n")) == (ExitCode.USAGE, 1)
    stop(home)
    for command in ("show", "ask"):
        assert run("--home", home.folder, "witness", command)[0] == ExitCode.REFUSED


def test_a_receipt_that_does_not_parse_stops_nothing(run: Run, home: SiteHome) -> None:
    """It is named as what it is: a file that was changed here."""
    (home.receipts / ("0" * 64 + ".json")).write_text(Signed(document="{}", signature="").model_dump_json())
    code, _, error = run("--home", home.folder, "witness", "ask")
    assert code == ExitCode.REFUSED
    assert "receipt" in error
    assert Witness(home).contradiction() is None
