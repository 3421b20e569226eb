"""TLS for DICOM after BCP 195 (RFC 9325) and PS3.15 B.12: TLS 1.2 with forward-secret AEAD suites, or 1.3; mutual."""

import ssl
from pathlib import Path

from shared.errors.settings import KeyFileInvalid, KeyFileMissing
from site_node.settings.dimse import TlsSettings

_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all acceptable


def server_context(settings: TlsSettings, home: Path) -> ssl.SSLContext:
    """The context of our server: it refuses a peer without a certificate of `authorities`."""
    return _context(ssl.PROTOCOL_TLS_SERVER, settings, home)


def client_context(settings: TlsSettings, home: Path) -> ssl.SSLContext:
    """The context of our client: the PACS needs a certificate of `authorities` for the host in the settings."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, settings, home)


def _context(side: int, settings: TlsSettings, home: Path) -> ssl.SSLContext:
    """Raises `KeyFileMissing`, `KeyFileInvalid`."""
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.verify_mode = ssl.CERT_REQUIRED
    for path in (settings.certificate, settings.key, settings.authorities):
        if not (home / path).is_file():
            raise KeyFileMissing(file=str(home / path))
    try:
        context.load_cert_chain(home / settings.certificate, home / settings.key, password=lambda: "")
        context.load_verify_locations(home / settings.authorities)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileInvalid(file=str(home / settings.key), kind="certificate, its key or authority") from error
    return context
