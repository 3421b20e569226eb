"""The site's home and its settings.

A home is one folder, readable by its owner only, that holds all a site node keeps: settings, keys, ledger and studies
at every stage. Settings are read once; a wrong key stops the start.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import Field, ValidationError

from shared.crypto.keys import make_flower, make_secret, make_signing, make_tls
from shared.durable import write_whole
from shared.errors import HomeBusy, HomeExists, InvalidArgument
from shared.frozen import Frozen
from shared.ids import StudyKey
from shared.settings import load_settings
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings, ScpSettings, SendSettings

PROGRAM = "ricord-site"
SETTINGS_FILE = "site.toml"
_FOLDERS = ("keys", "spool", "work", "library", "outbox", "receipts", "reports", "quarantine", "inbox", "clinical")


class SiteSettings(Frozen):
    """What a hospital may set; `site.toml` says what each is for. Relative paths are below the home."""

    name: str = Field(min_length=1, max_length=200)
    protocol: str = "ricord"
    inbox: Path = Path("inbox")
    poll_seconds: float = Field(default=10.0, ge=0.1, le=86_400)
    pixel_check: bool = True
    library: bool = True
    delete_originals: bool = True
    keep_originals_days: float = Field(default=0, ge=0, le=36_500)
    min_free_mb: int = Field(default=1024, ge=0)
    scp: ScpSettings | None = None
    pacs: PacsSettings | None = None
    send: SendSettings | None = None
    dicomweb: DicomwebSettings | None = None

    @property
    def asks_a_pacs(self) -> bool:
        """Whether studies are fetched, by DIMSE or over the web."""
        return self.pacs is not None or self.dicomweb is not None

    @property
    def originals_stay(self) -> timedelta | None:
        """How long our copies of the originals stay after their study's end; `None` where they are never deleted."""
        return timedelta(days=self.keep_originals_days) if self.delete_originals else None


_TEMPLATE = """\
# Settings of this site node. A key that does not exist stops the start. After a change, restart `ricord-site run`.

name = {name}              # how the coordinator's staff know this hospital; no patient data
protocol = {protocol}          # which criteria, de-identification profile and clinical dictionary apply
inbox = "inbox"              # `ricord-site run` receives what is put here
poll_seconds = 10.0          # how often it looks
pixel_check = true           # look for text burned into pixels; without it a name burned into a picture leaves with it
library = true               # keep validated, de-identified studies here for federated statistics and training
delete_originals = true      # delete our copies of the originals once a study is submitted, excluded or refused
keep_originals_days = 0      # but so many days later; likewise the lists of what a PACS was asked for
min_free_mb = 1024           # with less free on the disk nothing is received, fetched or worked on until there is room

# [scp]                      # remove the signs to let a PACS or a modality push images to `ricord-site run`
# port = 11112
# callers = ["PACS"]         # the calling AE titles that may; no others are let in
# ae_title = "RICORD"        # ours
# quiet_seconds = 10.0       # a study that got no image so long is taken in
# min_free_mb = 1024         # below this nothing more is accepted

# [pacs]                     # remove the signs to fetch from a PACS: `ricord-site pacs`, `receive --accessions`
# host = "pacs.hospital.example"
# port = 104
# ae_title = "PACS"          # its title
# calling = "RICORD"         # ours; the PACS must allow it
# method = "get"             # or "move": then [scp] is needed, and the PACS must know our title and address
# hours = "20:00-06:00"      # local time; nothing is fetched outside
# studies_per_hour = 60      # at most
# [pacs.tls]                 # mutual TLS, likewise [scp.tls]; PEM files below this folder
# certificate = "keys/dicom.pem"
# key = "keys/dicom.key"
# authorities = "keys/dicom-authorities.pem"

# [send]                     # the PACS of `ricord-site pacs send`; [send.tls] as [pacs.tls]
# host = "research-pacs.hospital.example"
# port = 11112
# ae_title = "RESEARCH"
# calling = "RICORD"
# associations = 3           # at once

# [dicomweb]                 # in place of [pacs]: the same over the web, by QIDO-RS and WADO-RS
# url = "https://pacs.hospital.example/dicom-web"   # http:// is for a server on this machine only
# username = "ricord"        # if it asks for one; or, without these two, token_file = "…" for a bearer token
# password_file = "keys/dicomweb.password"          # one line, as a token's; nobody else may read the file
# authorities = "keys/dicomweb-authorities.pem"     # who signed its certificate; without it the public authorities
# certificate = "keys/dicomweb.pem"                 # mutual TLS, if it asks for it
# key = "keys/dicomweb.key"
# hours = "20:00-06:00"      # these two as for [pacs]
# studies_per_hour = 60
"""


@dataclass(frozen=True)
class SiteHome:
    """Where everything of a site lies, below one folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """`site.toml`; written last by `init`, so that where it is, the rest is too."""
        return self.folder / SETTINGS_FILE

    @property
    def keys(self) -> Path:
        """`signing.pem`, `tls.pem`, `pseudonym.key` and `flower.pem`; made here, never leave."""
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
        """The secret behind every pseudonym; losing it loses the linkage."""
        return self.keys / "pseudonym.key"

    @property
    def flower_key(self) -> Path:
        """The node key that Flower's SuperLink knows."""
        return self.keys / "flower.pem"

    @property
    def identity(self) -> Path:
        """What enrolment brought: certificate, root, agreement."""
        return self.folder / "identity"

    @property
    def ledger(self) -> Path:
        """The ledger's SQLite file."""
        return self.folder / "ledger.sqlite"

    @property
    def spool(self) -> Path:
        """Originals under opaque names: PHI."""
        return self.folder / "spool"

    @property
    def library(self) -> Path:
        """Validated, de-identified studies for federated work."""
        return self.folder / "library"

    @property
    def outbox(self) -> Path:
        """Sealed studies on their way."""
        return self.folder / "outbox"

    @property
    def receipts(self) -> Path:
        """What the coordinator signed for."""
        return self.folder / "receipts"

    @property
    def reports(self) -> Path:
        """Validation reports, one a study."""
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
    def requests(self) -> Path:
        """What the PACS is asked for: PHI."""
        return self.folder / "requests"

    def work(self, key: StudyKey) -> Path:
        """One study's folder between stages, mode 0700: PHI until it is validated."""
        return self.folder / "work" / key

    def work_folders(self) -> tuple[Path, ...]:
        """The folders of all studies that have one."""
        return tuple((self.folder / "work").iterdir())

    def inbox(self, settings: SiteSettings) -> Path:
        """The watched folder."""
        return self.folder / settings.inbox

    def load(self) -> SiteSettings:
        """Read the settings; raises the errors of `shared.settings.load_settings`."""
        return load_settings(self.settings_file, SiteSettings, program=PROGRAM)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that moves studies; raises `HomeBusy` while another does. A kill frees the lock."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeBusy(folder=str(self.folder)) from error
            yield


def init_home(folder: Path, *, name: str, protocol: str = "ricord") -> SiteHome:
    """Make a home: folders, the four keys, then the settings. Raises `HomeExists` where one is.

    A run that was stopped half-way is completed by the next; keys that exist are kept.
    """
    _check(name, protocol)
    home = SiteHome(folder.resolve())
    if home.settings_file.exists():
        raise HomeExists(folder=str(folder))
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.folder.chmod(0o700)
    for part in _FOLDERS:
        (home.folder / part).mkdir(mode=0o700, exist_ok=True)
    make = {
        home.signing_key: make_signing,
        home.tls_key: make_tls,
        home.pseudonym_key: make_secret,
        home.flower_key: make_flower,
    }
    for path, maker in make.items():
        if not path.exists():
            maker(path)
    text = _TEMPLATE.format(name=_quoted(name), protocol=_quoted(protocol))
    write_whole(home.settings_file, text.encode(), mode=0o600)
    return home


def _check(name: str, protocol: str) -> None:
    try:
        SiteSettings(name=name, protocol=protocol)
    except ValidationError as error:
        raise InvalidArgument(name="--name", problem="it must have 1 to 200 characters") from error


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
