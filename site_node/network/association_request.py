"""A-ASSOCIATE-RQ and -RJ (PS3.8 9.3.2, 9.3.4): the AE titles of a request, and why it was rejected.

Old workstations pad titles with NUL or leave them blank. pynetdicom answers with an A-ABORT and tells nobody why. With
its titles in their form such a request is compared with the settings as any other, and rejected where it does not fit.
"""

import re
from types import MappingProxyType
from typing import NamedTuple

_NOT_SIGNIFICANT = b"\0 \t\r\n"  # at both ends of a title; PS3.8 table 9-11 has spaces only
_TITLE = re.compile(rb"[ -\[\]-~]{1,16}")  # PS3.5 6.2, as in `site_node.settings.dimse`
_LENGTH = 16
_CALLED, _CALLING = slice(4, 20), slice(20, 36)  # in a request without its first six bytes, PS3.8 table 9-11
NO_TITLE = b"?" * _LENGTH  # stands for one that is none; no site names itself or a caller so
_REASONS = MappingProxyType(
    {  # source and diagnostic, PS3.8 table 9-21
        (1, 2): "application-context-not-supported",
        (1, 3): "calling-title-not-recognized",
        (1, 7): "called-title-not-recognized",
        (2, 2): "protocol-version-not-supported",
        (3, 1): "temporary-congestion",
        (3, 2): "local-limit-exceeded",
    }
)


class Rejection(NamedTuple):
    """An A-ASSOCIATE-RJ: its reason in words, and whether the peer may accept later."""

    reason: str
    is_transient: bool


def rejection(result: int, source: int, diagnostic: int) -> Rejection:
    """What the three numbers of an A-ASSOCIATE-RJ mean."""
    return Rejection(_REASONS.get((source, diagnostic), "no-reason-given"), is_transient=result == 2)


def mended(request: bytes) -> bytes:
    """A request without its first six bytes, both titles padded with spaces; its length stays."""
    if len(request) < _CALLING.stop:
        return request
    return request[: _CALLED.start] + _title(request[_CALLED]) + _title(request[_CALLING]) + request[_CALLING.stop :]


def titles_of(request: bytes) -> tuple[str, str]:
    """The called and the calling title of a mended request; empty for one that is cut off before them."""
    if len(request) < _CALLING.stop:
        return "", ""
    return request[_CALLED].decode("ascii").strip(), request[_CALLING].decode("ascii").strip()


def _title(padded: bytes) -> bytes:
    title = padded.strip(_NOT_SIGNIFICANT)
    return title.ljust(_LENGTH) if _TITLE.fullmatch(title) else NO_TITLE
