"""The settings of DICOMweb: the server, and our credentials for it. `site.toml` holds no secret, only files' names."""

from pathlib import Path

from pydantic import Field, model_validator

from shared.service_url import ServiceUrl
from site_node.settings.retrieval import RetrievalSettings


class DicomwebSettings(RetrievalSettings):
    """The service that is queried in place of a PACS's DIMSE port. Relative files are below the home."""

    url: ServiceUrl  # QIDO-RS and WADO-RS are below it: URL/studies
    username: str = Field(default="", pattern=r"^[^:\x00-\x1f\x7f]*$")  # RFC 7617: no colon
    password_file: Path | None = None  # one line, mode 0600
    token_file: Path | None = None  # a bearer token, likewise; read again for each query, so it may be renewed
    authorities: Path | None = None  # those that may sign the server's certificate; else those of `certifi`
    certificate: Path | None = None  # ours, for mutual TLS, with its key
    key: Path | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> "DicomwebSettings":
        if bool(self.username) != bool(self.password_file):
            raise ValueError("`username` and `password_file` go together")
        if self.username and self.token_file:
            raise ValueError("a password and a token are there; keep one of them")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("`certificate` and `key` go together")
        return self

    @property
    def peer(self) -> str:
        """The server's name in messages."""
        return self.url
