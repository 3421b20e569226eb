"""The coordinator's settings and its home folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from shared.crypto.pki import parse_spiffe
from shared.errors.inputs import InvalidIdentifier
from shared.frozen import Frozen
from shared.monitoring.settings import MonitorSettings, OtlpSettings
from shared.settings import load_settings
from shared.token import Addresses
from shared.web.settings import ConsoleSettings

PROGRAM: Literal["ricord-coordinator"] = "ricord-coordinator"
CONSOLE_PORT = 8421
SQLITE = "coordinator.sqlite"  # in the home, unless the settings name another database


class CentreConsoleSettings(ConsoleSettings):
    """The section `[console]`: another port than a site's, since both may run on one machine."""

    port: int = Field(default=CONSOLE_PORT, ge=1, le=65_535)


class StoreSettings(Frozen):
    """The section `[store]`: where sealed studies are kept.

    `sealed` is a folder, or `s3://BUCKET/PREFIX`; empty: `blobs` in the home. The rest is of S3.
    """

    sealed: str = ""
    endpoint: str | None = Field(default=None, pattern=r"^https?://")  # another store than Amazon's
    credentials_file: Path | None = None  # in AWS's format; `None`: environment, ~/.aws, the host's role

    @field_validator("sealed")
    @classmethod
    def _place(cls, value: str) -> str:
        if "://" in value and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/]+)*/?", value):
            raise ValueError("it is neither a folder nor s3://BUCKET or s3://BUCKET/PREFIX")
        return value

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket, and prefix with its last slash; `None` for a folder."""
        if not self.sealed.startswith("s3://"):
            return None
        bucket, _, prefix = self.sealed.removeprefix("s3://").partition("/")
        return bucket, prefix and prefix.rstrip("/") + "/"


class Settings(Frozen):
    """`coordinator.toml`. The three ports must differ."""

    federation: str
    host: str = "127.0.0.1"  # where the ports are bound
    advertised_host: str = ""  # the name others reach it by; empty: `host`
    enrolment_port: int = Field(default=7443, ge=1, le=65535)
    main_port: int = Field(default=7444, ge=1, le=65535)
    fleet_port: int = Field(default=7445, ge=1, le=65535)
    fleet_host: str = ""  # the name of the host of the fleet port; empty: as the other two ports
    behind_balancer: bool = False  # callers' addresses are then its own, and it sets the limits by address
    protocol: str = "ricord"
    database: str = ""  # SQLAlchemy DSN; empty: `coordinator.sqlite` in the home
    database_password_file: Path | None = None  # kept out of the DSN, and so out of this file
    key_passphrase_file: Path | None = None  # of the keys that sign; else systemd's credential
    certificate_days: int = Field(default=30, ge=1, le=398)
    invitation_days: int = Field(default=14, ge=1, le=365)
    join_days: int = Field(default=7, ge=1, le=365)
    largest_study_bytes: int = Field(default=64 << 30, ge=1)  # sealed
    unfinished_bytes_per_site: int = Field(default=128 << 30, ge=1)  # uploads that began and have not ended

    store: StoreSettings = StoreSettings()
    monitor: MonitorSettings | None = None
    otlp: OtlpSettings | None = None
    console: CentreConsoleSettings = CentreConsoleSettings()

    @field_validator("federation")
    @classmethod
    def _label(cls, value: str) -> str:
        try:
            parse_spiffe(f"spiffe://{value}/coordinator/operator")
        except InvalidIdentifier:
            raise ValueError("a federation's name is lower-case letters, digits, dots and hyphens") from None
        return value

    @model_validator(mode="after")
    def _different_ports(self) -> "Settings":
        if len({self.enrolment_port, self.main_port, self.fleet_port}) < 3:
            raise ValueError("the three ports must differ")
        return self

    @property
    def name(self) -> str:
        """The host name others use."""
        return self.advertised_host or self.host

    @property
    def fleet_address(self) -> str:
        """The fleet port as sites reach it."""
        return f"{self.fleet_host or self.name}:{self.fleet_port}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every host name the server certificate must carry."""
        return tuple(dict.fromkeys((self.name, self.host, self.fleet_host or self.name, "localhost", "127.0.0.1")))

    @property
    def addresses(self) -> Addresses:
        """The two gRPC ports as others reach them."""
        return Addresses(enrolment=f"{self.name}:{self.enrolment_port}", main=f"{self.name}:{self.main_port}")


@dataclass(frozen=True)
class Home:
    """Where everything lies below the coordinator's folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """`coordinator.toml`."""
        return self.folder / "coordinator.toml"

    @property
    def root_key(self) -> Path:
        """The root's private key, unless it was moved away."""
        return self.folder / "ca" / "root.key"

    @property
    def issuing_key(self) -> Path:
        """The intermediate's private key."""
        return self.folder / "ca" / "issuing.key"

    @property
    def issuing_certificate(self) -> Path:
        """The intermediate, which signs members' certificates."""
        return self.folder / "ca" / "issuing.pem"

    @property
    def root(self) -> Path:
        """The root certificate."""
        return self.folder / "ca" / "root.pem"

    @property
    def signing_key(self) -> Path:
        """The Ed25519 key of receipts, countersignatures and plans."""
        return self.folder / "keys" / "signing.pem"

    @property
    def server_key(self) -> Path:
        """The TLS key of both ports."""
        return self.folder / "keys" / "server.key"

    @property
    def server_certificate(self) -> Path:
        """The TLS certificate of both ports."""
        return self.folder / "keys" / "server.pem"

    @property
    def console(self) -> Path:
        """The people of the console: names, roles and digests."""
        return self.folder / "console.sqlite"

    @property
    def operator_key(self) -> Path:
        """The operator's TLS key."""
        return self.folder / "operator" / "tls.pem"

    @property
    def operator_certificate(self) -> Path:
        """The operator's client certificate."""
        return self.folder / "operator" / "certificate.pem"

    def blobs(self, settings: Settings) -> Path:
        """Sealed studies, where they are kept in a folder."""
        return self.folder / (settings.store.sealed or "blobs")

    @property
    def audit_head(self) -> Path:
        """The last head of the audit log that was signed."""
        return self.folder / "audit-head.json"

    @property
    def federation(self) -> Path:
        """Files of the federation process."""
        return self.folder / "federation"

    def settings(self) -> Settings:
        """Read `coordinator.toml`; raises what `shared.settings.load_settings` raises."""
        return load_settings(self.settings_file, Settings, program=PROGRAM)

    def database(self, settings: Settings) -> str:
        """The store's SQLAlchemy URL, without a password."""
        return settings.database or f"sqlite:///{(self.folder / SQLITE).resolve()}"
