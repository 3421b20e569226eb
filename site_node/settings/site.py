"""The whole of `site.toml`: its sections, the text that `ricord-site init` writes, and its reader."""

import json
import os
from datetime import timedelta
from pathlib import Path

from pydantic import Field, ValidationError

from shared.errors.inputs import InvalidArgument
from shared.frozen import Frozen
from shared.monitoring.settings import MonitorSettings, OtlpSettings
from shared.settings import load_settings
from shared.web.settings import ConsoleSettings
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings, ScpSettings, SendSettings
from site_node.settings.submit import SubmitSettings

PROGRAM = "ricord-site"
SETTINGS_FILE = "site.toml"


class SiteSettings(Frozen):
    """The settings of a hospital; `site.toml` explains each. Relative paths are below the home."""

    name: str = Field(min_length=1, max_length=200)
    protocol: str = "ricord"
    inbox: Path = Path("inbox")
    poll_seconds: float = Field(default=10.0, ge=0.1, le=86_400)
    heartbeat: bool = True
    pixel_check: bool = True
    library: bool = True
    delete_originals: bool = True
    keep_originals_days: float = Field(default=0, ge=0, le=36_500)
    grow_minutes: float = Field(default=10.0, ge=0, le=10_080)
    min_free_mb: int = Field(default=1024, ge=0)
    workers: int = Field(default=0, ge=0, le=256)  # 0: one for each core
    scp: ScpSettings | None = None
    pacs: PacsSettings | None = None
    send: SendSettings | None = None
    dicomweb: DicomwebSettings | None = None
    submit: SubmitSettings = SubmitSettings()
    monitor: MonitorSettings | None = None
    otlp: OtlpSettings | None = None
    console: ConsoleSettings | None = None

    @property
    def asks_a_pacs(self) -> bool:
        """Whether studies are fetched, by DIMSE or over the web."""
        return self.pacs is not None or self.dicomweb is not None

    @property
    def worker_count(self) -> int:
        """How many processes work on studies side by side."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def originals_stay(self) -> timedelta | None:
        """How long our copies of the originals stay after their study's end; `None` if they are never deleted."""
        return timedelta(days=self.keep_originals_days) if self.delete_originals else None

    @property
    def grows_for(self) -> timedelta:
        """How long the originals of an excluded study stay at least, since more of its images may come."""
        return timedelta(minutes=self.grow_minutes)


_TEMPLATE = """\
# Settings of this site node. A key that does not exist stops the start. After a change, restart `ricord-site run`.

name = {name}              # how the coordinator's staff know this hospital; no patient data
protocol = {protocol}          # which criteria, de-identification profile and clinical dictionary apply
inbox = "inbox"              # `ricord-site run` receives what is put here
poll_seconds = 10.0          # how often it looks
heartbeat = true             # tell the coordinator each minute that the node runs, with counts: `explain --what-leaves`
pixel_check = true           # look for text burned into pixels; without it a name burned into a picture leaves with it
library = true               # keep validated, de-identified studies here for federated statistics and training
delete_originals = true      # delete our copies of the originals once a study is submitted, excluded or refused
keep_originals_days = 0      # but so many days later; likewise the lists of what a PACS was asked for
grow_minutes = 10.0          # an excluded study that got no image so long is over; until then its originals stay, and
                             # further images join it, also after a pause; what comes later is quarantined by itself
min_free_mb = 1024           # with less free on the disk nothing is received, fetched or worked on until there is room
workers = 0                  # processes that work on studies side by side; 0: one for each core

# [submit]                   # remove the signs to change how sealed studies are sent
# at_once = 4                # studies on their way side by side; 1 to 4
# megabits_per_second = 20   # of all together; 0: as many as go

# [monitor]                  # remove the signs to let `ricord-site run` answer /metrics, /livez and /readyz over HTTP
# port = 9464                # counts and codes for Prometheus; extra `monitoring`
# host = "127.0.0.1"         # plain and without a key: another address only in a network of the machine's own

# [otlp]                     # remove the signs to send the log's codes and counts to a collector, too; extra `otlp`
# endpoint = "http://127.0.0.1:4318"   # OTLP over HTTP; http:// is for a collector on this machine only

# [console]                  # remove the signs to let `ricord-site run` show its pages to people; extra `console`
# port = 8420
# host = "127.0.0.1"         # another address only with names and TLS: passphrases and images go over it
# names = ["ricord.hospital.example"]
# certificate = "keys/console.pem"
# key = "keys/console.key"

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


def new_settings(*, name: str, protocol: str) -> str:
    """The text of a new `site.toml`; raises `InvalidArgument` for an invalid name."""
    try:
        SiteSettings(name=name, protocol=protocol)
    except ValidationError as error:
        raise InvalidArgument(name="--name", problem="it must have 1 to 200 characters") from error
    return _TEMPLATE.format(name=_quoted(name), protocol=_quoted(protocol))


def read_settings(file: Path) -> SiteSettings:
    """Read a `site.toml`; raises the errors of `shared.settings.load_settings`."""
    return load_settings(file, SiteSettings, program=PROGRAM)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
