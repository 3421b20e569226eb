"""Coordinator and curator are killed with SIGKILL in the midst of withdrawals: nothing half-withdrawn stays."""

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import site_node.cli
from coordinator.audit.service import every_event
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import list_opened
from coordinator.curation.passes import run_pass
from coordinator.home.init import open_ciphertexts, open_home_store
from coordinator.store.audit_chain import verify
from coordinator.submission.lookup import blob_name
from shared.ids import Sha256
from shared.signed import Signed
from shared.submission_state import SubmissionState
from shared.withdrawal import Deletion
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership, load_membership
from site_node.submit.states import StatesWatch
from tests.factories.federation import Federation, make_federation, sealed_study, submit_and_enter
from tests.peers import check_no_defect

# Steps that are certain to come: of a withdrawal, of one that is finished later, of a purge, of one that was said.
STEPS, STEPS_LEFT = 14, 4
PURGE_STEPS, PURGE_STEPS_LEFT = 8, 2
LIVES = 20  # of programs that are killed a few times only
# In the soak every level on every database, twelve times.
CASES = [
    pytest.param(database, level, seed, marks=[] if seed == 0 and number % 2 == place else pytest.mark.soak)
    for place, database in enumerate(("sqlite", "postgresql"))
    for number, level in enumerate(("images", "study", "patient", "site"))
    for seed in range(12)
]


class Mortals:
    """The coordinator and the curator's program, which die after so many steps as `fuse` says."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        self._homes = {"serve": federation.home.folder, "curate": federation.folder / "curator-curator"}
        self._fuse, self.log, self.deaths = folder / "fuse", folder / "log", 0
        self._fuse.write_text("")

    def die_after(self, *steps: int) -> None:
        """Let further lives end after so many steps each."""
        self._fuse.write_text(" ".join(map(str, steps)))

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """One life of the coordinator, from its ready line on or from its death before that."""
        with self._started("serve", "--no-federation") as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                self._ended(process)

    def open_all(self) -> None:
        """Lives of both until a pass of the curator ends by itself, at a coordinator that is there still."""
        for _ in range(LIVES):
            with self.serving() as centre, self._started("curate", "open", "--all", "--json") as process:
                process.communicate(timeout=60)
                if centre.poll() is None and self._ended(process):
                    return
        pytest.fail(self.log.read_text()[-4000:])

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        home = ["--home", str(self._homes[arguments[0]])]
        command = [sys.executable, "-m", "tests.factories.mortal", str(self._fuse), *home, *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)

    def _ended(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it ended by itself, and not by SIGKILL; anything else fails the test."""
        code = process.wait(30)
        assert code in {0, -signal.SIGKILL}, self.log.read_text()[-4000:]
        self.deaths += code != 0
        return code == 0


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, database: str) -> Federation:
    federation = make_federation(tmp_path_factory.mktemp("federation"), database=database)
    with federation.serving():
        federation.curator()
    return federation


@pytest.mark.parametrize(("database", "level", "seed"), CASES, indirect=["database"])
def test_what_was_begun_ends_whole(federation: Federation, tmp_path: Path, level: str, seed: int) -> None:
    """Whatever is killed, all that was named has its tombstone, both receipts and no copy; all else lies as it lay."""
    curator = CuratorHome(federation.folder / "curator-curator")
    mortals, steps = Mortals(federation, tmp_path), random.Random(f"{level} {seed}").randrange
    with federation.serving():
        home, member = federation.site(f"Hospital {level} {seed}")
        studies = [sealed_study(home, member, sequence=n, study=f"{level}-{seed}-{n}") for n in (1, 2)]
        submit_and_enter(home, member, *studies)
        run_pass(curator, None)
    first, second = (study.manifest.manifest for study in studies)
    image = next(study for study in list_opened(curator.opened) if study.submission == first.submission).instances[0]
    named = {
        "images": (studies[0].key, "--instance", image.stem),
        "study": (studies[0].key,),
        "patient": ("--patient", first.patient),
        "site": ("--site", "--yes"),
    }
    mortals.die_after(steps(STEPS), steps(STEPS_LEFT))
    withdraw(home, mortals, *named[level])
    mortals.die_after(steps(PURGE_STEPS), steps(PURGE_STEPS_LEFT))
    mortals.open_all()
    assert mortals.deaths >= 2
    check_no_defect(mortals.log.read_text())
    withdrawn = {first.submission} if level in {"images", "study"} else {first.submission, second.submission}
    check_centre(federation, member, withdrawn)
    check_site(home, member, withdrawn)
    opened = [study for study in list_opened(curator.opened) if study.folder.parent.name == member.site_id]
    stay = {first.submission, second.submission} - (set() if level == "images" else withdrawn)
    assert {study.submission for study in opened} == stay
    assert all(path.exists() for study in opened for path in study.instances)
    assert len(list(curator.opened.glob(f"{member.site_id}/*"))) == len(stay)
    assert not image.exists()


def withdraw(home: SiteHome, mortals: Mortals, *named: str) -> None:
    """Say it once; then the node does what is left, at a coordinator that is started again until it stays."""
    command = ["--home", str(home.folder), "withdraw", *named, "--as", "A. Miller", "--reason", "consent", "--json"]
    with closing(Ledger(home.ledger)) as ledger:
        for _ in range(LIVES):
            with mortals.serving() as process:
                if not ledger.events():
                    CliRunner().invoke(site_node.cli.app, command)
                StatesWatch().ask_if_due(home, ledger, load_membership(home))
                if not ledger.withdrawals.pending() and process.poll() is None:
                    return
    pytest.fail(mortals.log.read_text()[-4000:])


def check_centre(federation: Federation, member: Membership, withdrawn: set[Sha256]) -> None:
    """One tombstone, deletion and purge for each that was withdrawn, and no ciphertext; the others' are there."""
    store = open_home_store(federation.home, federation.settings)
    with closing(store), store.read() as reading:
        rows = reading.submissions(member.site_id)
        tombstones = reading.withdrawals(site_id=member.site_id)
        assert verify(every_event(reading)).intact
        acts = Counter((event.action, event.object) for event in every_event(reading))
        ciphertexts = open_ciphertexts(federation.home, federation.settings, store.locks)
        lying = {row.id for row in rows if ciphertexts.durable(blob_name(row))}
    assert sorted(each.submission for each in tombstones) == sorted(withdrawn)
    assert all(each.deletion is not None and each.purge is not None for each in tombstones)
    assert {row.id for row in rows if row.state is SubmissionState.WITHDRAWN} == withdrawn
    assert lying == {row.id for row in rows} - withdrawn
    for action in ("ciphertext deleted", "study purged"):
        assert {about: count for (name, about), count in acts.items() if name == action and about in withdrawn} == (
            dict.fromkeys(withdrawn, 1)
        )


def check_site(home: SiteHome, member: Membership, withdrawn: set[Sha256]) -> None:
    """A receipt of deletion of each is here, and nothing is left to be asked for."""
    kept = [Signed.model_validate_json(file.read_bytes()) for file in home.deletions.glob("*.json")]
    deletions = [each.verified(member.coordinator_key, Deletion, what="the receipt") for each in kept]
    assert sorted(each.submission for each in deletions) == sorted(withdrawn)
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.withdrawals.pending() == ()
