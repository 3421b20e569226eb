"""The protocol changes at the centre, then at the hospital, with studies at every stage: each reaches its receipt."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import coordinator.cli
import coordinator.home.init
import site_node.cli
import site_node.node.composition
import site_node.node.open
from coordinator.curation.fetching import fetching
from coordinator.curation.keys import load_curator_keys
from shared.errors.base import RicordError
from shared.errors.protocol import EditionNotCovered, EditionOver
from shared.ids import Sha256
from shared.manifest import Manifest
from shared.protocol.loader import Protocol, load_protocol
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.home.records import Records
from site_node.membership.record import load_membership
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from site_node.study import Sealed
from tests.factories.federation import Federation, make_federation
from tests.factories.films import film, prepare

OLD = load_protocol()
NEW = OLD.model_copy(
    update={
        "edition": "2099.1",
        "digest": Sha256("e" * 64),
        "criteria": OLD.criteria.model_copy(update={"source": "a later source"}),
    }
)
SITE = (site_node.node.composition, site_node.node.open)
TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"


def upgrade(monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
    """Install the new edition at one side."""
    for module in modules:
        monkeypatch.setattr(module, "load_protocol", lambda _name: NEW)
        monkeypatch.setattr(module, "load_edition", lambda _name: NEW.named, raising=False)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    made = make_federation(tmp_path)
    with made.serving():
        made.curator()
    return made


def hospital(federation: Federation, editions: str = "") -> SiteHome:
    """An enrolled site whose agreement covers those editions."""
    home, _ = federation.site("Hospital", editions=editions)
    prepare(home, ["P1", "P2"], workers=1)
    return home


def work(home: SiteHome, until: State, *, new: str = "") -> tuple[dict[State, int], RicordError | None]:
    """Receive the film of a `new` patient, run a pass, and say how many studies are where, and what blocked it."""
    with open_node(home) as node:
        if new:
            receive_source(node, film(home, new))
        blocked = run_pass(node, until).progress.blocked
        return node.ledger.state_counts(), blocked


def accept(federation: Federation, *arguments: str) -> str:
    """What the operator's command says."""
    runner = CliRunner()
    result = runner.invoke(
        coordinator.cli.app, ["--home", str(federation.home.folder), "protocol", *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def explained(home: SiteHome) -> str:
    """What `explain --changes` says."""
    arguments = ["--home", str(home.folder), "explain", "--changes"]
    result = CliRunner().invoke(site_node.cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def received(federation: Federation) -> list[Sha256]:
    """The edition of each study that was received, in order."""
    with federation.reading() as reading:
        rows = reading.submissions()
    return [Manifest.model_validate_json(row.manifest.document).protocol_digest for row in rows]


def test_what_was_sealed_before_the_coordinator_changed_is_received(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the operator lists its edition, is received as it is, and the curator who has the new opens it."""
    with federation.serving():
        home = hospital(federation, f"{OLD.edition}-2099.12")
        assert work(home, State.SEALED, new="P1") == ({State.SEALED: 1}, None)
    upgrade(monkeypatch, coordinator.home.init)
    with federation.serving():
        counts, blocked = work(home, State.SUBMITTED)
        assert (counts, type(blocked)) == ({State.SEALED: 1}, EditionOver)
        assert "2099.1" in accept(federation, "list")
        accept(federation, "accept", OLD.edition, "--until", TOMORROW)
    with federation.serving():  # the list outlasts a restart
        assert work(home, State.SUBMITTED) == ({State.SUBMITTED: 1}, None)
        assert received(federation) == [OLD.digest]
        curator = federation.folder / "curator-curator"
        opened = open_all(curator, NEW)
    assert len(opened) == 1


def open_all(folder: Path, protocol: Protocol) -> list[Path]:
    """Open, as a curator with that edition, whatever is sealed to it."""
    from coordinator.curation.membership import CuratorHome

    home = CuratorHome(folder)
    with fetching(home, load_curator_keys(home.keys), protocol) as fetcher:
        return [fetcher.open(listed.id).folder for listed in fetcher.submissions()]


def test_a_study_whose_edition_is_over_is_made_anew(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the hospital has the new edition, too: from its original, in one pass; the change is noted once."""
    with federation.serving():
        home = hospital(federation, f"{OLD.edition}-2099.12")
        work(home, State.SEALED, new="P1")
    upgrade(monkeypatch, coordinator.home.init)
    upgrade(monkeypatch, *SITE)
    with federation.serving():
        assert work(home, State.SUBMITTED, new="P2") == ({State.SUBMITTED: 2}, None)
        assert received(federation) == [NEW.digest] * 2
        assert work(home, State.SUBMITTED) == ({State.SUBMITTED: 2}, None)
    with open_node(home) as node:
        noted = [event.detail for event in node.ledger.events() if event.action == "edition"]
    assert len(noted) == 1
    assert f"{OLD.edition} to 2099.1" in noted[0]
    text = explained(home)
    assert "criteria: source was:" in text
    assert "it is now: a later source." in text
    assert "The agreement covers it; it is in use." in text


def test_an_edition_that_is_not_agreed_waits_for_the_amendment(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed is still sent; the rest waits, with an error that says what to read and to ask for."""
    with federation.serving():
        home = hospital(federation)
        work(home, State.SEALED, new="P1")
        upgrade(monkeypatch, *SITE)
        counts, blocked = work(home, State.SUBMITTED, new="P2")
        assert counts == {State.SUBMITTED: 1, State.RECEIVED: 1}
        assert isinstance(blocked, EditionNotCovered)
        text = explained(home)
        assert f"It is compared with edition {OLD.edition}, which the agreement names." in text
        assert "criteria: source was:" in text
        assert "agreement amend --editions" in text
        monkeypatch.undo()
        assert work(home, State.SUBMITTED) == ({State.SUBMITTED: 2}, None)
    assert load_membership(home).terms.editions is not None


def test_what_is_under_way_begins_again_under_the_new_edition(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that the old edition de-identified is not sealed as one of the new."""
    with federation.serving():
        home = hospital(federation, f"{OLD.edition}-2099.12")
        assert work(home, State.VALIDATED, new="P1")[0] == {State.VALIDATED: 1}
        upgrade(monkeypatch, *SITE)
        with open_node(home) as node:
            completed = run_pass(node, State.SEALED)
            (entry,) = node.ledger.studies()
        assert completed.reached == {entry.key: State.SEALED}
        assert Records(home).read(entry.key, Sealed).manifest.manifest.protocol_digest == NEW.digest
        with open_node(home) as node:
            assert [event.detail.split(", ")[-1] for event in node.ledger.events() if event.action == "edition"] == [
                "1 studies begin again"
            ]
