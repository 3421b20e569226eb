"""`status` counts each association to our SCP that was refused or aborted, by its titles and its reason."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from site_node.home import associations
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.node.acquisition import Acquisition
from site_node.node.log_codes import log_codes_only
from site_node.node.open import open_node
from site_node.node.scp_process import serving_in_process
from site_node.settings.dimse import ScpSettings
from tests.factories.ports import free_port
from tests.unit.site_node.commands.conftest import Run
from tests.unit.site_node.network.test_every_refused_association_is_logged import REJECTED, answer_to, request

UNKNOWN = ("calling-title-not-recognized", "RICORD", "ELSE")


@pytest.fixture
def home(tmp_path: Path, run: Run) -> SiteHome:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return SiteHome(tmp_path / "home")


def counted(run: Run, home: SiteHome) -> list[tuple[str, str, str, int]]:
    rows = json.loads(run("--home", home.folder, "status", "--json")[1])["associations"]
    return [(row["reason"], row["called"], row["calling"], row["count"]) for row in rows]


def call(port: int) -> None:
    """Ask for an association under a title that is not let in."""
    assert answer_to(port, request(b"RICORD".ljust(16), b"ELSE".ljust(16))) == REJECTED


def test_those_of_the_node_and_of_a_command_are_counted_together(run: Run, home: SiteHome) -> None:
    """Also after a restart, since the ledger holds the counts; a person sees them in a table."""
    scp = ScpSettings(host="127.0.0.1", port=free_port(), callers=("PACS",))
    assert counted(run, home) == []
    with serving_in_process(home.folder, scp):
        call(scp.port)
        call(scp.port)
    assert counted(run, home) == [(*UNKNOWN, 2)]
    log_codes_only()  # to the standard error of now
    with open_node(home) as node:
        settings = node.settings.model_copy(update={"scp": scp})
        with Acquisition(home, settings, node.stages.names).listening():
            call(scp.port)
    assert counted(run, home) == [(*UNKNOWN, 3)]
    shown = run("--home", home.folder, "status")[1]
    assert all(word in shown for word in ("Associations refused or aborted", *UNKNOWN))


def test_a_flood_of_titles_cannot_fill_the_ledger(run: Run, home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further titles are counted without their names, and those known go on."""
    monkeypatch.setattr(associations, "_MOST", 3)
    with closing(Ledger(home.ledger)) as ledger:
        for title in ("A", "B", "C", "D", "E", "A"):
            ledger.associations.add("aborted-or-cut-off", "RICORD", title)
    expected = {"A": 2, "B": 1, "C": 1, "": 2}
    assert {calling: count for _, _, calling, count in counted(run, home)} == expected


def test_a_ledger_that_cannot_be_written_stops_no_association(tmp_path: Path) -> None:
    """Only the log has it then."""
    associations.count_association(tmp_path / "none" / "ledger.sqlite", *UNKNOWN)
