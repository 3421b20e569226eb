"""The site's home: one folder, readable by its owner only, that holds everything a site node keeps.

Settings, keys, ledger, and studies at every stage lie in it. Settings are read once; a wrong setting stops the start.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.crypto.keys import make_flower, make_secret, make_signing, make_tls
from shared.durable import write_whole
from shared.errors.settings import HomeBusy, HomeExists
from shared.ids import StudyKey
from site_node.settings.site import SETTINGS_FILE, SiteSettings, new_settings, read_settings

FOLDERS = ("keys", "spool", "work", "library", "outbox", "receipts", "reports", "quarantine", "inbox", "clinical")


@dataclass(frozen=True)
class SiteHome:
    """The paths of a site's files, all below one folder; new files may be made in another, `outputs`."""

    folder: Path
    outputs: Path | None = None

    @property
    def settings_file(self) -> Path:
        """`site.toml`; written last by `init`, so that where it is, the rest is too."""
        return self.folder / SETTINGS_FILE

    @property
    def keys(self) -> Path:
        """`signing.pem`, `tls.pem`, `pseudonym.key` and `flower.pem`; they are made here and never leave."""
        return self.folder / "keys"

    @property
    def signing_key(self) -> Path:
        """The Ed25519 key that signs agreements and manifests."""
        return self.keys / "signing.pem"

    @property
    def tls_key(self) -> Path:
        """The P-256 key of the site's certificate."""
        return self.keys / "tls.pem"

    @property
    def pseudonym_key(self) -> Path:
        """The secret that every pseudonym is derived from; losing it loses the linkage."""
        return self.keys / "pseudonym.key"

    @property
    def flower_key(self) -> Path:
        """The node key that Flower's SuperLink knows."""
        return self.keys / "flower.pem"

    @property
    def identity(self) -> Path:
        """What enrolment returned: certificate, root, agreement."""
        return self.folder / "identity"

    @property
    def ledger(self) -> Path:
        """The ledger's SQLite file."""
        return self.folder / "ledger.sqlite"

    @property
    def console(self) -> Path:
        """The people of the console: names, roles and digests."""
        return self.folder / "console.sqlite"

    @property
    def spool(self) -> Path:
        """Originals under opaque names: PHI."""
        return self.folder / "spool"

    @property
    def federation(self) -> Path:
        """What federated work keeps: how it stands, and the rounds that were answered."""
        return self.folder / "federation"

    @property
    def library(self) -> Path:
        """Validated, de-identified studies for federated work."""
        return self.folder / "library"

    @property
    def outbox(self) -> Path:
        """Sealed studies that are not submitted yet."""
        return self.folder / "outbox"

    @property
    def receipts(self) -> Path:
        """The receipts that the coordinator signed."""
        return self.folder / "receipts"

    @property
    def deletions(self) -> Path:
        """The receipts of deletion, and the receipts of submissions that were withdrawn and may come again."""
        return self.folder / "deletions"

    @property
    def witness(self) -> Path:
        """What was verified of the coordinator's audit log, and what contradicts it."""
        return self.folder / "witness"

    @property
    def contradiction(self) -> Path:
        """What contradicts it; while this file exists, nothing leaves."""
        return self.witness / "contradiction.json"

    @property
    def reports(self) -> Path:
        """Validation reports, one per study."""
        return self.folder / "reports"

    @property
    def quarantine(self) -> Path:
        """What a person must look at: names of refused files and pictures of burned-in text. PHI."""
        return self.folder / "quarantine"

    @property
    def clinical(self) -> Path:
        """Clinical sheets that were imported: PHI."""
        return self.folder / "clinical"

    @property
    def arrivals(self) -> Path:
        """What came over the network and is not in the spool yet: PHI."""
        return self.folder / "arrivals"

    @property
    def pulse(self) -> Path:
        """Files that a running node touches; they hold nothing."""
        return self.folder / "pulse"

    @property
    def requests(self) -> Path:
        """The lists of studies requested from the PACS: PHI."""
        return self.folder / "requests"

    def work(self, key: StudyKey) -> Path:
        """One study's folder between stages, mode 0700: PHI until it is validated."""
        return self.folder / "work" / key

    @property
    def is_temporary(self) -> bool:
        """Whether nothing in it outlasts its process, so that nothing needs to be durable."""
        return self.outputs is not None

    def deidentified(self, key: StudyKey) -> Path:
        """One study's new files, until it is sealed or left out."""
        return (self.work(key) if self.outputs is None else self.outputs / key) / "deidentified"

    def work_folders(self) -> tuple[Path, ...]:
        """The work folders that exist."""
        return tuple((self.folder / "work").iterdir())

    def shared_folders(self) -> tuple[Path, ...]:
        """The folders that commands write into beside the process that moves studies."""
        own = (self.keys, self.identity, self.clinical, self.clinical / "mappings", self.clinical / "joined")
        return (self.folder, self.requests, self.quarantine, self.quarantine / "arrivals", *own)

    def inbox(self, settings: SiteSettings) -> Path:
        """The watched folder."""
        return self.folder / settings.inbox

    def load(self) -> SiteSettings:
        """Read the settings; raises the errors of `shared.settings.load_settings`."""
        return read_settings(self.settings_file)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the home for the one process that moves studies; raises `HomeBusy`. A kill frees the lock."""
        with self._locked("lock", fcntl.LOCK_EX):
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Say to other processes that the one that moves studies is a node, which goes on by itself."""
        with self._locked("serving", fcntl.LOCK_EX):
            yield

    @contextmanager
    def receiving(self, waits: Callable[[], object] | None = None) -> Iterator[None]:
        """Lock the spool for one reception. Where another receives: call `waits` and wait, or raise `HomeBusy`."""
        with self._locked("receiving", fcntl.LOCK_EX, waits):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Wait for the lock under which studies change: to enter one, to decide on one, to begin or end a stage.

        It is held for moments only, and taken before the ledger's transaction and after `receiving`.
        """
        with self._locked("changing", fcntl.LOCK_EX, lambda: None):
            yield

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Let one backup at a time copy the ledger; raises `HomeBusy`."""
        with self._locked("copying", fcntl.LOCK_EX):
            yield

    @contextmanager
    def deleting(self) -> Iterator[None]:
        """Let nobody receive while originals are deleted; raises `HomeBusy` where somebody does."""
        with self._locked("receiving", fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, name: str, kind: int, waits: Callable[[], object] | None = None) -> Iterator[None]:
        with (self.folder / name).open("w") as lock:
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if waits is None:
                    raise HomeBusy(folder=str(self.folder)) from error
                waits()
                fcntl.flock(lock, kind)
            yield

    def is_served(self) -> bool:
        """Whether a node is running."""
        try:
            with (self.folder / "serving").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def init_home(folder: Path, *, name: str, protocol: str = "ricord") -> SiteHome:
    """Make a home: folders, the four keys, then the settings. Raises `HomeExists` where there already is one.

    The next call completes one that was interrupted; existing keys are kept.
    """
    text = new_settings(name=name, protocol=protocol)
    home = SiteHome(folder.resolve())
    if home.settings_file.exists():
        raise HomeExists(folder=str(folder))
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.folder.chmod(0o700)
    make_folders(home.folder)
    makers: dict[Path, Callable[[Path], object]] = {
        home.signing_key: make_signing,
        home.tls_key: make_tls,
        home.pseudonym_key: make_secret,
        home.flower_key: make_flower,
    }
    for path, make_key in makers.items():
        if not path.exists():
            make_key(path)
    write_whole(home.settings_file, text.encode(), mode=0o600)
    return home


def make_folders(folder: Path) -> None:
    """The folders that every home has, as far as they are not there."""
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
