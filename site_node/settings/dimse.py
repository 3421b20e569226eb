"""The settings of the DICOM network in `site.toml`: who may send to us, which PACS we query, and when."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.frozen import Frozen
from site_node.settings.retrieval import RetrievalSettings

LONGEST_PDU = 131_072  # bytes: measured best; unlimited ones are slower
_AE_TITLE = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")  # PS3.5 6.2: printable ASCII without backslash


def _ae_title(text: str) -> str:
    if not _AE_TITLE.fullmatch(text):
        raise ValueError("an AE title has 1 to 16 printable characters, no backslash and no space at its ends")
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class TlsSettings(Frozen):
    """Mutual TLS after BCP 195; PEM files, relative ones below the home."""

    certificate: Path
    key: Path
    authorities: Path  # those that may sign the peer's certificate


class ScpSettings(Frozen):
    """What we accept. Only the calling AE titles in `callers` may store; no setting admits all."""

    port: Port
    callers: tuple[AeTitle, ...] = Field(min_length=1)
    host: str = "0.0.0.0"  # noqa: S104 -- a PACS must reach it; the settings may name one address
    ae_title: AeTitle = "RICORD"
    quiet_seconds: float = Field(default=10.0, ge=0.1, le=3600)  # a study that got no image for so long is received
    associations: int = Field(default=8, ge=1, le=64)
    min_free_mb: int = Field(default=1024, ge=0)
    tls: TlsSettings | None = None


class Peer(Frozen):
    """Another application entity, and our AE title towards it."""

    host: str = Field(min_length=1)
    port: Port
    ae_title: AeTitle
    calling: AeTitle = "RICORD"
    tls: TlsSettings | None = None

    @property
    def peer(self) -> str:
        """Its name in messages."""
        return f"{self.ae_title} at {self.address}"

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{self.host}:{self.port}"


class PacsSettings(Peer, RetrievalSettings):
    """The PACS that we query, and how gently."""

    method: Literal["move", "get"] = "get"  # `move` needs [scp], and the PACS must know our AE title and address


class SendSettings(Peer):
    """The PACS that `ricord-site pacs send` sends to."""

    associations: int = Field(default=3, ge=1, le=16)
    attempts: int = Field(default=3, ge=1, le=100)  # for each file whose answer was lost
    answer_seconds: float = Field(default=10.0, ge=0.1, le=3600)  # a later answer counts as lost
