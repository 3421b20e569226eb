"""The coordinator and the node are killed with SIGKILL, again and again, while studies are uploaded over a line."""

import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from subprocess import Popen

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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

ROWS = 2900  # a film of 12.6 MB
AT_ONCE, FIFTY = 4, 50  # studies: so many are sent side by side; those of the long run
MOST = 300  # films, in all
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


@dataclass
class Uploads:
    """A site that seals films, so many more each time, and the log of its node and its coordinator."""

    federation: Federation
    home: SiteHome
    member: Membership
    log: Path
    sealed: int = 0

    def seal(self, count: int, *, rows: int) -> int:
        """Seal so many more films, and return their size in bytes."""
        with open_node(self.home) as node:
            for number in range(self.sealed, self.sealed + count):
                receive_source(node, film(self.home, f"patient-{number}", rows=rows, noise=True))
            run_pass(node, State.SEALED)
        self.sealed += count
        return sum(file.stat().st_size for file in self.home.outbox.iterdir())

    def send(self, kills: Sequence[tuple[str, int]]) -> int:
        """Send all, with a side killed after so many bytes each, and return how many went over the line.

        Nobody does anything but start what was killed.
        """
        port = self.federation.settings.main_port
        with ExitStack() as stack:
            line = stack.enter_context(Line(port).open())
            programs.lead_through(self.home, port, line.port)
            stack.callback(programs.lead_through, self.home, line.port, port)
            line.halt(after=kills[0][1])
            sides = {
                "coordinator": Killed(partial(programs.coordinator, self.federation.home.folder, self.log)),
                "site": Killed(partial(programs.node, self.home, self.log)),
            }
            for side in sides.values():
                stack.callback(side.kill)
            for number, (name, moment) in enumerate(kills, 1):
                line.wait_for_halt(LATEST)
                sides[name].kill()
                line.resume()
                if number < len(kills):
                    line.halt(after=kills[number][1] - moment)
                sides[name].start()
            latest = time.monotonic() + LATEST
            while list(self.home.outbox.iterdir()):
                assert time.monotonic() < latest, self.log.read_text()[-4000:]
                time.sleep(0.1)
            sides["site"].process.send_signal(signal.SIGTERM)
            assert sides["site"].process.wait(30) == 0
            return line.sent


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Uploads:
    folder = tmp_path_factory.mktemp("kills")
    federation = make_federation(folder)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Killed Hospital")
    prepare(home, [f"patient-{number}" for number in range(MOST)], workers=1)
    return Uploads(federation, home, member, folder / "log")


def check(uploads: Uploads, *, size: int, sent: int, kills: int) -> None:
    """Everything is there once, and little was sent twice."""
    resent = max(0, sent - round(size * (1 + BESIDE))) / kills
    sys.stdout.write(f"{kills} kills: {size} bytes, and {resent:.0f} more for each kill\n")
    assert resent <= UNACKNOWLEDGED
    check_arrivals(uploads.federation, uploads.home, uploads.member, uploads.sealed)
    check_no_defect(uploads.log.read_text())


SCHEDULES = st.lists(st.tuples(st.sampled_from(["coordinator", "site"]), st.floats(0, 0.99)), min_size=2, max_size=3)


def check_schedule(uploads: Uploads, schedule: Sequence[tuple[str, float]]) -> None:
    """Four studies are under way, and sides are killed when a share of their bytes went over the line."""
    size = uploads.seal(AT_ONCE, rows=ROWS // 2)
    kills = [(side, round(share * size)) for side, share in sorted(schedule, key=itemgetter(1))]
    check(uploads, size=size, sent=uploads.send(kills), kills=len(kills))


DRAWN = settings(
    phases=[Phase.explicit, Phase.generate],  # a smaller schedule is not worth its minutes
    suppress_health_check=list(HealthCheck),
)


@settings(DRAWN, max_examples=2)
@given(schedule=SCHEDULES)
def test_whoever_is_killed_whenever_each_study_arrives_once(
    uploads: Uploads, schedule: list[tuple[str, float]]
) -> None:
    """By any schedule of kills, with four uploads in flight."""
    check_schedule(uploads, schedule)


@pytest.mark.soak
@settings(DRAWN, max_examples=40)
@given(schedule=SCHEDULES)
def test_by_many_schedules_too(uploads: Uploads, schedule: list[tuple[str, float]]) -> None:
    """The same law."""
    check_schedule(uploads, schedule)


@pytest.mark.soak
def test_each_of_fifty_studies_arrives_once_and_little_is_sent_twice(uploads: Uploads) -> None:
    """As many kills as uploads, of either side at drawn moments."""
    drawn = random.Random(FIFTY)
    size = uploads.seal(FIFTY, rows=ROWS)
    victims = [("coordinator", "site")[number % 2] for number in range(FIFTY)]
    drawn.shuffle(victims)
    kills = list(zip(victims, sorted(drawn.randrange(size) for _ in range(FIFTY)), strict=True))
    check(uploads, size=size, sent=uploads.send(kills), kills=FIFTY)


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
