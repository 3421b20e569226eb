"""The address of a web service in settings: encrypted, but on this machine, and without a secret in it."""

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

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


ServiceUrl = Annotated[str, AfterValidator(_url)]
