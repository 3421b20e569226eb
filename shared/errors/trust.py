"""Who the other side is: tokens, certificates, signatures, receipts and the audit log."""

from shared.errors.base import ExitCode, RicordError, Text


class TrustError(RicordError):
    """The other side is not who or what it must be."""


class TokenInvalid(TrustError):
    """A token was never issued, or was damaged in copying."""

    text = Text(
        "This token is not valid; copy it whole, or ask the coordinator for a new one.",
        ExitCode.REFUSED,
        "UNAUTHENTICATED",
    )


class TokenEmpty(TrustError):
    """In place of a token stands nothing, as a variable that was never set leaves it."""

    text = Text(
        "The token is empty; copy the whole line that begins with RICORD1- and that the coordinator sent.",
        ExitCode.USAGE,
        "INVALID_ARGUMENT",
    )


class TokenOfOtherKind(TrustError):
    """A token is whole and meant for another command."""

    text = Text(
        "This is the {given} token, and here the {wanted} token is needed: the coordinator prints it with "
        "`ricord-coordinator {printed_by}`.",
        ExitCode.REFUSED,
        "UNAUTHENTICATED",
    )


class TokenExpired(TrustError):
    """A token has expired."""

    text = Text("This token has expired; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED")


class TokenUsed(TrustError):
    """A token was used before; each works once."""

    text = Text("This token was already used; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED")


class CertificateExpired(TrustError):
    """A certificate has expired."""

    text = Text(
        "The certificate of {peer} has expired; enrol again with a new token.", ExitCode.REFUSED, "UNAUTHENTICATED"
    )


class ClockWrong(TrustError):
    """This machine's clock and the other side's differ by more than certificates allow for."""

    text = Text(
        "The clock of this machine says {says}, but {evidence}. Set it, by NTP best; where it is right, tell the "
        "coordinator. No certificate is at fault, and nobody has to enrol again.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class CertificateForeign(TrustError):
    """A certificate was not issued by this federation, or was revoked."""

    text = Text(
        "The certificate of {peer} is not one of this federation, or was revoked; enrol again with a new token.",
        ExitCode.REFUSED,
        "UNAUTHENTICATED",
    )


class RoleNotAllowed(TrustError):
    """The caller's role may not do this."""

    text = Text("The role {role} may not do this.", ExitCode.REFUSED, "PERMISSION_DENIED")


class SignatureInvalid(TrustError):
    """A signature does not fit what it should have signed."""

    text = Text("The signature on {what} is not valid; nothing was accepted.", ExitCode.REFUSED, "PERMISSION_DENIED")


class ReceiptInvalid(TrustError):
    """A receipt that the coordinator signed does not fit the study, or the receipts before it."""

    text = Text(
        "The coordinator's receipt does not count: {problem}; the study stays here, sealed, and is tried again. "
        "Tell the coordinator.",
        ExitCode.REFUSED,
        "DATA_LOSS",
    )


class NotEnrolled(TrustError):
    """A home is not enrolled in a federation yet."""

    text = Text(
        "{folder} is not enrolled yet; ask the coordinator for a token and run `enrol --token`.",
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class AuditBroken(TrustError):
    """An entry of the audit log is missing, or does not fit the one before it or what was signed of it."""

    text = Text(
        "Entry {number} of the audit log is missing or was changed: it does not fit the entry before, a receipt or "
        "the last signed head; compare the log with a backup, and ask the sites what they witnessed.",
        ExitCode.FAILED,
        "DATA_LOSS",
    )


class AuditContradicted(TrustError):
    """The coordinator's audit log does not contain what the coordinator signed for this site before."""

    text = Text(
        "The coordinator's audit log contradicts what the coordinator signed before: {problem}; nothing is sent. "
        "Ask the coordinator; once a person knows why, `ricord-site witness resume` lets sending go on.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )
