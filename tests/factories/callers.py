"""Calls without a wire: the context of a call whose caller presents a certificate, for tests of servicers."""

from typing import Any

from shared.crypto.pki import Role


class _Call:
    """What a servicer reads of a call."""

    def __init__(self, uri: str, certificate: bytes) -> None:
        self._properties = {"x509_subject_alternative_name": [uri.encode()], "x509_pem_cert": [certificate]}
        self.cancelled = 0

    def auth_context(self) -> dict[str, list[bytes]]:
        """The properties that TLS sets."""
        return self._properties

    def invocation_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """What the caller sent beside the request: nothing."""
        return ()

    def cancel(self) -> None:
        """Note that the call was ended by the server."""
        self.cancelled += 1


def call_by(role: Role, name: str, *, certificate: bytes = b"") -> Any:
    """The context of a call by a member of the test federation."""
    return _Call(f"spiffe://test-federation/{role}/{name}", certificate)
