"""The settings of DICOMweb: which server is asked, and as whom. `site.toml` holds them, and no secret."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from site_node.settings.retrieval import Pacing

_VISIBLE = re.compile(r"[!-~]+")


def _url(text: str) -> str:
    """The base of the service, without a slash at its end; unencrypted only where nothing leaves the machine."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 -- it raises where it is no number
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _VISIBLE.fullmatch(text):
        raise ValueError("it is no URL that begins with https://")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        raise ValueError("http:// is for a server on this machine only; others are asked over https://")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("it holds more than host, port and path; a name or a password has settings of its own")
    return text.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class DicomwebSettings(Pacing):
    """The service that is asked in place of a PACS's DIMSE port. Files that are relative lie below the home."""

    url: Annotated[str, AfterValidator(_url)]  # QIDO-RS and WADO-RS are below it: URL/studies
    username: str = Field(default="", pattern=r"^[^:\x00-\x1f\x7f]*$")  # RFC 7617: no colon
    password_file: Path | None = None  # one line, mode 0600
    token_file: Path | None = None  # a bearer token, likewise; read anew for each question, so it may be renewed
    authorities: Path | None = None  # who may have signed the server's certificate; else those of `certifi`
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
        """Who is asked, for a person."""
        return self.url
