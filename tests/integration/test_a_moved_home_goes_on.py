"""A home that is moved while a study is half sent sends the rest of it, and keeps its receipts at the next move."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

from typer.testing import CliRunner

import site_node.cli
from shared.wire import UNACKNOWLEDGED
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories import programs
from tests.factories.federation import running_federation
from tests.factories.films import film, prepare
from tests.factories.line import Line
from tests.peers import check_no_defect

ROWS = 3600  # of the film that is half sent: 19 MB
LATEST = 60.0


def moved(home: SiteHome, place: Path) -> SiteHome:
    """The same home at another place."""
    home.folder.rename(place)
    return SiteHome(place)


def test_what_is_half_sent_goes_on_and_receipts_hold(tmp_path: Path) -> None:
    """Studies that are validated and half sent reach one receipt each where the home is now; moved again, all agree."""
    log = tmp_path / "node.log"
    with running_federation(tmp_path) as federation, ExitStack() as stack:
        federation.curator()
        home, _ = federation.site("Moved Hospital")
        prepare(home, ["sealed", "validated"], workers=1)
        with open_node(home) as node:
            receive_source(node, film(home, "sealed", rows=ROWS, noise=True))
            run_pass(node, State.SEALED)
            receive_source(node, film(home, "validated", noise=True))
            run_pass(node, State.VALIDATED)
        size = sum(file.stat().st_size for file in home.outbox.iterdir())
        line = stack.enter_context(Line(federation.settings.main_port).open())
        programs.lead_through(home, federation.settings.main_port, line.port)
        line.halt(after=size // 2 + UNACKNOWLEDGED // 4)
        with programs.node(home, log):
            line.wait_for_halt(LATEST)
        line.resume()
        home = moved(home, tmp_path / "second place")
        with programs.node(home, log):
            latest = time.monotonic() + LATEST
            while len(list(home.receipts.iterdir())) < 2 or list(home.outbox.iterdir()):
                assert time.monotonic() < latest, log.read_text()[-4000:]
                time.sleep(0.1)
        home = moved(home, tmp_path / "third")
        answer = CliRunner().invoke(
            site_node.cli.app,
            ["--home", str(home.folder), "submission", "verify", "--json"],
            catch_exceptions=False,
        )
        with federation.reading() as reading:
            assert len(reading.submissions()) == 2
    assert answer.exit_code == 0
    assert json.loads(answer.stdout) == {"rows": 2, "receipts": 2, "differences": []}
    assert line.sent < size + UNACKNOWLEDGED
    check_no_defect(log.read_text())
