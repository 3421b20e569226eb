"""A session with a DICOMweb server: our credentials, the authorities we trust, and no logs.

A query's URL holds accession numbers and patient IDs, and the libraries below log URLs; their loggers are therefore
silenced. The environment has no effect: no proxy, no `.netrc`, no other authorities.
"""

import logging
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from requests.auth import AuthBase

from shared.crypto.keys import read_private
from shared.errors.settings import KeyFileInvalid, KeyFileMissing
from site_node.settings.dicomweb import DicomwebSettings

_TALKATIVE = ("dicomweb_client", "requests", "retrying", "urllib3")


class _Credentials(AuthBase):
    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        request.headers.pop("Host", None)  # the client leaves out the port; the connection adds the whole header
        return request


@contextmanager
def session_with(settings: DicomwebSettings, home: Path) -> Iterator[requests.Session]:
    """A session that is closed at the end. It follows no redirection: queries reach only the server in the settings.

    Raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.max_redirects = 0
        session.headers["Accept-Encoding"] = "identity"  # pixels hardly shrink, and a cut answer is noticed
        session.auth = _Credentials(_authorization(settings, home))
        session.verify = str(home / settings.authorities) if settings.authorities else True
        if settings.certificate and settings.key:
            session.cert = (str(home / settings.certificate), str(home / settings.key))
        yield session


def check_files(settings: DicomwebSettings, home: Path) -> None:
    """Check that every file named in the settings can be used; raises as `session_with`."""
    _authorization(settings, home)
    files = [home / path for path in (settings.authorities, settings.certificate, settings.key) if path]
    for path in files:
        if not path.is_file():
            raise KeyFileMissing(file=str(path))
    try:
        context = ssl.create_default_context(cafile=home / settings.authorities if settings.authorities else None)
        if settings.certificate and settings.key:
            context.load_cert_chain(home / settings.certificate, home / settings.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise KeyFileInvalid(file=str(files[-1]), kind="certificate, its key or authority") from error


def silence() -> None:
    """Discard the log lines of the libraries below, whatever the logging configuration."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # else logging's last-resort handler prints warnings


def _authorization(settings: DicomwebSettings, home: Path) -> str:
    """The header's value: RFC 6750 for a token, RFC 7617 in UTF-8 for a password, else empty."""
    if settings.token_file:
        path = home / settings.token_file
        token = _secret(path, "token")
        if not token.isascii() or " " in token:
            raise KeyFileInvalid(file=str(path), kind="token")
        return f"Bearer {token}"
    if settings.password_file:
        pair = f"{settings.username}:{_secret(home / settings.password_file, 'password')}"
        return f"Basic {b64encode(pair.encode()).decode()}"
    return ""


def _secret(path: Path, kind: str) -> str:
    """The single line of a file that only its owner may read."""
    try:
        text = read_private(path, kind).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise KeyFileInvalid(file=str(path), kind=kind) from None
    if not text or not text.isprintable():
        raise KeyFileInvalid(file=str(path), kind=kind)
    return text
