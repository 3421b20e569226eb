"""Connections: to the coordinator, its store and the PACS."""

import re

from shared.errors.base import ExitCode, RicordError, Text

BUSY_SECONDS = 10  # after which a busy coordinator is tried again


class TransportError(RicordError):
    """The connection to the other side failed."""

    @property
    def reason(self) -> str:
        """The code of the reason that a request ends with: what its raiser named, else the error's own code."""
        return self.fields.get("reason", self.code)


class CoordinatorUnreachable(TransportError):
    """Nobody answers at the coordinator's address."""

    text = Text(
        "No coordinator answers at {address}; check the address and the network, then try again. Nothing was lost.",
        ExitCode.UNREACHABLE,
        "UNAVAILABLE",
    )


class CoordinatorBusy(TransportError):
    """The coordinator has no room for another call now; its field `seconds` says after how long to try again."""

    text = Text(
        "The coordinator is busy; try again in {seconds} seconds. Nothing was lost.",
        ExitCode.UNREACHABLE,
        "RESOURCE_EXHAUSTED",
    )

    @property
    def seconds(self) -> int:
        """How long to wait: what the coordinator named, at most a minute; where that is no number, `BUSY_SECONDS`."""
        named = self.fields.get("seconds", "")
        return min(int(named), 60) if re.fullmatch(r"[0-9]{1,9}", named) else BUSY_SECONDS


class UploadInterrupted(TransportError):
    """An upload ended early; what arrived is kept and it resumes."""

    text = Text(
        "The transfer was interrupted; what arrived is kept, and the next try resumes it.",
        ExitCode.UNREACHABLE,
        "ABORTED",
    )


class PacsUnreachable(TransportError):
    """Nobody answers at the PACS's address, or the connection broke off."""

    text = Text(
        "No PACS answers at {address}; check address and TLS in site.toml and the network, then try again.",
        ExitCode.UNREACHABLE,
        "UNAVAILABLE",
    )


class PacsRefused(TransportError):
    """The PACS refuses our AE title, or has no AE of the called title."""

    text = Text(
        "The PACS at {address} refuses the association from {calling} to {called}; have it allow our AE title, or "
        "mend `ae_title` and `calling` in `[pacs]` or `[send]`.",
        ExitCode.REFUSED,
        "PERMISSION_DENIED",
    )


class DicomwebRefused(TransportError):
    """The PACS's web service does not let us in."""

    text = Text(
        "The PACS at {address} does not let us in (HTTP {status}); mend the password, token or certificate in "
        "`[dicomweb]`, or have its administrators allow this account.",
        ExitCode.REFUSED,
        "PERMISSION_DENIED",
    )


class PacsFailed(TransportError):
    """The PACS answered with a failure, or incompletely."""

    text = Text(
        "The PACS did not carry out the {operation}: {problem}; try again, or ask its administrators.",
        ExitCode.UNREACHABLE,
        "ABORTED",
    )


class StoreUnreachable(TransportError):
    """The coordinator's database, or where it keeps ciphertext, does not answer."""

    text = Text(
        "The coordinator's {kind} does not answer; check `{setting}` in coordinator.toml and try again.",
        ExitCode.UNREACHABLE,
        "UNAVAILABLE",
    )
