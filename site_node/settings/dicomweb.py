"""The settings of DICOMweb: the server, and our credentials for it. `site.toml` holds no secret, only files' names."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from site_node.settings.retrieval import RetrievalSettings

_VISIBLE = re.compile(r"[!-~]+")


def _url(text: str) -> str:
    """The base URL of the service, without a trailing slash; unencrypted only on this machine."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port  # `port` raises `ValueError` if it is not a number
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not _VISIBLE.fullmatch(text):
        raise ValueError("it is no URL that begins with https://")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ValueError("http:// is for a server on this machine only; others are asked over https://")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("it holds more than host, port and path; a name or a password has settings of its own")
    return text.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class DicomwebSettings(RetrievalSettings):
    """The service that is queried in place of a PACS's DIMSE port. Relative files are below the home."""

    url: Annotated[str, AfterValidator(_url)]  # QIDO-RS and WADO-RS are below it: URL/studies
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
