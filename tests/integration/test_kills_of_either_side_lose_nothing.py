"""The coordinator and the node are killed with SIGKILL, again and again, while studies are uploaded over a line."""

import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from subprocess import Popen

import pytest

from shared.receipt import Receipt
from shared.signed import Signed
from shared.wire import UNACKNOWLEDGED
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.membership.record import Membership
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories import programs
from tests.factories.federation import Federation, make_federation
from tests.factories.films import film, prepare
from tests.factories.line import Line
from tests.peers import check_no_defect

ROWS = 2900  # a film of 12.6 MB, of which four are sent at once
BESIDE = 0.01  # bytes of frames, TLS and other calls for each byte of a study
LATEST = 90.0


class Killed:
    """A program that is started again after each kill."""

    def __init__(self, start: Callable[[], AbstractContextManager[Popen[bytes]]]) -> None:
        self._start = start
        self._running = ExitStack()
        self.process = self._running.enter_context(start())

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self._running.close()

    def start(self) -> None:
        """Start it again, and wait until it is ready."""
        self.process = self._running.enter_context(self._start())


@pytest.mark.parametrize("uploads", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_each_study_arrives_once_and_little_is_sent_twice(uploads: int, tmp_path: Path) -> None:
    """As many kills as uploads, of either side at drawn moments; nobody does anything but start what was killed."""
    federation, log, drawn = make_federation(tmp_path), tmp_path / "log", random.Random(uploads)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Killed Hospital")
    patients = [f"patient-{number}" for number in range(uploads)]
    prepare(home, patients, workers=1)
    with open_node(home) as node:
        for patient in patients:
            receive_source(node, film(home, patient, rows=ROWS, noise=True))
        run_pass(node, State.SEALED)
    size = sum(file.stat().st_size for file in home.outbox.iterdir())
    moments = sorted(drawn.randrange(size) for _ in range(uploads))
    with ExitStack() as stack:
        line = stack.enter_context(Line(federation.settings.main_port).open())
        programs.lead_through(home, federation.settings.main_port, line.port)
        line.halt(after=moments[0])
        centre = Killed(partial(programs.coordinator, federation.home.folder, log))
        stack.callback(centre.kill)
        site = Killed(partial(programs.node, home, log))
        stack.callback(site.kill)
        victims = [(centre, site)[number % 2] for number in range(uploads)]
        drawn.shuffle(victims)
        for number, victim in enumerate(victims):
            line.wait_for_halt(LATEST)
            victim.kill()
            line.resume()
            if number + 1 < uploads:
                line.halt(after=moments[number + 1] - moments[number])
            victim.start()
        latest = time.monotonic() + LATEST
        while list(home.outbox.iterdir()):
            assert time.monotonic() < latest, log.read_text()[-4000:]
            time.sleep(0.1)
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(30) == 0
    resent = max(0, line.sent - round(size * (1 + BESIDE))) / uploads
    sys.stdout.write(f"{uploads} kills: {size} bytes, and {resent:.0f} more for each kill\n")
    assert resent <= UNACKNOWLEDGED
    check_arrivals(federation, home, member, uploads)
    check_no_defect(log.read_text())


def check_arrivals(federation: Federation, home: SiteHome, member: Membership, uploads: int) -> None:
    """Each study has one row, one ciphertext and one receipt that the coordinator signed."""
    with open_node(home, writing=False) as node:
        studies = node.ledger.studies()
    assert [study.state for study in studies] == [State.SUBMITTED] * uploads
    for study in studies:
        signed = Signed.model_validate_json((home.receipts / str(study.receipt)).read_bytes())
        signed.verified(member.coordinator_key, Receipt, what="receipt")
    with federation.reading() as reading:
        rows = reading.submissions(member.site_id)
    assert sorted(row.sequence for row in rows) == list(range(1, uploads + 1))
    assert {row.study for row in rows} == {study.study for study in studies}
    blobs = federation.home.folder / "blobs"
    assert (len(list(blobs.glob("sealed/*/*.age"))), list(blobs.glob("partial/*"))) == (uploads, [])
