"""The doctor names each part that does not work, and what to do; the other parts are examined all the same."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.crypto.keys import load_secret
from shared.errors.agreements import AgreementTerminated
from shared.errors.base import RicordError
from shared.errors.transport import CoordinatorUnreachable
from shared.examination import Health
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger, State
from site_node.home.secret import check_secret
from site_node.membership.proof import ask
from site_node.membership.record import load_membership
from site_node.membership.witness import Contradiction, Witness
from site_node.node import doctor
from site_node.node.doctor import examine
from site_node.pixels.client import PixelChecker
from tests.factories.federation import Federation, running_federation
from tests.factories.pipeline import key_of

PARTS = {"settings", "keys", "clock", "disk", "OCR", "PACS", "coordinator", "certificate", "agreement", "sending"}
PARTS |= {"witness"}
PARTS |= {"folders", "inbox"}
NAME = "Examined Hospital"
NO_PACS = '[pacs]\nhost = "127.0.0.1"\nport = 1\nae_title = "PACS"\ncalling = "RICORD"\n'


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.site(NAME)
        yield running


@pytest.fixture
def home(federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteHome:
    """A copy of an enrolled home, whose search for text starts at once."""
    monkeypatch.setattr(doctor, "PixelChecker", lambda: PixelChecker(("echo", '{"ready": true}')))
    shutil.copytree(federation.folder / NAME.replace(" ", "-"), tmp_path / "home")
    home = SiteHome(tmp_path / "home")
    write_default_policy(home.folder / POLICY_FILE)
    ledger = Ledger(home.ledger)
    check_secret(load_secret(home.pseudonym_key), ledger, home.pseudonym_key)
    ledger.close()
    return home


def problems(home: SiteHome, *, ahead: timedelta = timedelta(0)) -> dict[str, str]:
    """The parts with a problem, and their sentences."""
    examined = list(examine(home, datetime.now(UTC) + ahead))
    assert all(part.sentence.endswith(".") for part in examined)
    return {part.part: part.sentence for part in examined if part.health is Health.PROBLEM}


def test_a_home_on_a_read_only_disk_is_a_line(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts before it are examined, and the problem is named; a defect is still one."""

    def denied(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def defective(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("site_node.node.open.Ledger", denied)
    assert [part.part for part in examine(home, datetime.now(UTC))] == ["settings", "keys", "home"]
    assert "EROFS" in problems(home)["home"]
    monkeypatch.setattr("site_node.node.open.Ledger", defective)
    with pytest.raises(OSError, match="Bad file"):
        problems(home)


def test_every_part_of_a_good_home_is_examined(home: SiteHome) -> None:
    examined = {part.part: part for part in examine(home, datetime.now(UTC))}
    assert set(examined) >= PARTS
    assert {name for name, part in examined.items() if part.health is not Health.GOOD} == {"PACS", "witness"}


def test_the_witness_is_examined(home: SiteHome) -> None:
    """Good once its log was proven, a problem when that is long ago or the log contradicts what was signed."""
    ask(home, load_membership(home), datetime.now(UTC))
    examined = {part.part: part for part in examine(home, datetime.now(UTC))}
    assert examined["witness"].health is Health.GOOD
    assert "witness ask" in problems(home, ahead=timedelta(days=8))["witness"]
    Witness(home).stop(Contradiction(problem="it ends early", seen_at=datetime.now(UTC)))
    assert "it ends early" in problems(home)["witness"]


def test_before_enrolment_nothing_is_wrong(tmp_path: Path) -> None:
    """What comes with enrolment is a note that says who is next."""
    home = init_home(tmp_path / "home", name="New Hospital")
    (tmp_path / "home" / "site.toml").write_text('name = "New"\npixel_check = false\n')
    examined = {part.part: part for part in examine(home, datetime.now(UTC))}
    assert {examined[part].health for part in ("OCR", "certificate", "coordinator", "agreement")} == {Health.NOTE}
    assert "the coordinator invites" in examined["agreement"].sentence
    assert Health.PROBLEM not in {part.health for part in examined.values()}


def _add(text: str) -> Callable[[SiteHome], object]:
    def write(home: SiteHome) -> None:
        with home.settings_file.open("a") as file:
            file.write(text)

    return write


@pytest.mark.parametrize(
    ("fault", "part", "words"),
    [
        (_add("nmae = 1\n"), "settings", "no setting `nmae`"),
        (lambda home: home.tls_key.chmod(0o644), "keys", "chmod 600"),
        (lambda home: home.flower_key.unlink(), "keys", "restore it from its backup"),
        (lambda home: home.pseudonym_key.write_bytes(bytes(32)), "secret", "restore it from its backup"),
        (_add("\n" + NO_PACS), "PACS", "No PACS answers"),
        (lambda home: (home.identity / "agreement.json").write_text("{}"), "home", "not valid"),
        (
            lambda home: (home.folder / "federation-policy.toml").write_text("purposes = 1\n"),
            "federated work",
            "line 1",
        ),
    ],
)
def test_each_fault_is_named_with_what_to_do(
    home: SiteHome, fault: Callable[[SiteHome], object], part: str, words: str
) -> None:
    """The sentence is the error's own; only what needs the part has a problem, too."""
    fault(home)
    shown = problems(home)
    assert part in shown
    assert words in shown[part]
    assert set(shown) - {part} <= ({"coordinator"} if part == "keys" else set())


def test_a_wrong_clock_and_an_old_certificate_are_told_apart(home: SiteHome) -> None:
    assert "NTP" in problems(home, ahead=-timedelta(days=2))["clock"]
    late = problems(home, ahead=timedelta(days=60))
    assert "enrol again" in late["certificate"]


def test_a_full_disk_and_a_dead_search_are_problems(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    text = home.settings_file.read_text().replace("min_free_mb = 1024 ", "min_free_mb = 99999999 ")
    home.settings_file.write_text(text)
    monkeypatch.setattr(doctor, "PixelChecker", lambda: PixelChecker(("false",)))
    shown = problems(home)
    assert "min_free_mb" in shown["disk"]
    assert "pip install" in shown["OCR"]


def test_a_suspended_agreement_and_a_coordinator_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PixelChecker", lambda: PixelChecker(("echo", '{"ready": true}')))
    with running_federation(tmp_path) as federation:
        federation.curator()
        site = federation.site(NAME)[0]
        federation.suspend(NAME)
        assert "puts it in force again" in problems(site)["agreement"]
    away = problems(site)
    assert "No coordinator answers" in away["coordinator"]
    assert "agreement" not in away


def test_a_home_is_examined_while_its_node_runs(home: SiteHome) -> None:
    """Nothing of it is changed, so nothing needs to wait."""
    with home.writing():
        assert {part.part for part in examine(home, datetime.now(UTC))} >= PARTS


@pytest.mark.parametrize(
    ("error", "health", "words"),
    [
        (None, Health.NOTE, "1 sealed study waits. Next: "),
        (CoordinatorUnreachable(address="centre"), Health.NOTE, "1 sealed study waits; since 2026-05-01 12:00 UTC"),
        (AgreementTerminated(), Health.PROBLEM, "1 sealed study waits; since 2026-05-01 12:00 UTC"),
    ],
)
def test_what_is_sealed_and_waits_says_why(
    home: SiteHome, monkeypatch: pytest.MonkeyPatch, error: RicordError | None, health: Health, words: str
) -> None:
    """A coordinator that is away may come back; what it refuses needs a person."""
    with closing(Ledger(home.ledger)) as ledger:
        ledger.add_study(key_of("sealed"), (), state=State.SEALED)
    obstacle = error and SimpleNamespace(error=error, since=datetime(2026, 5, 1, 12, tzinfo=UTC))
    monkeypatch.setattr(doctor, "kept_obstacle", lambda _: obstacle)
    (sending,) = (part for part in examine(home, datetime.now(UTC)) if part.part == "sending")
    assert sending.health is health
    assert sending.sentence.startswith(words)


def test_an_inbox_that_is_not_there_is_a_problem(home: SiteHome) -> None:
    """A folder of the settings that `run` cannot receive from is named, as where a share is not mounted."""
    assert "inbox" not in problems(home)
    home.settings_file.write_text(home.settings_file.read_text().replace('inbox = "inbox"', 'inbox = "/not/there"'))
    assert "/not/there" in problems(home)["inbox"]


def test_folders_that_cannot_be_written_are_named(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder of the home that this account may not read and write is named, and the inbox that it may not read."""
    assert "folders" not in problems(home)
    denied = {home.folder / "spool", home.folder / "quarantine", home.folder / "inbox"}
    monkeypatch.setattr("os.access", lambda path, _: Path(path) not in denied)
    said = problems(home)
    assert all(f"`{path.name}`" in said["folders"] for path in denied)
    assert "`work`" not in said["folders"]
    assert "inbox" in said
