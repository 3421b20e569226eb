"""One tree of errors, two texts.

The public text of an error stands in `TEXTS`, is one sentence that says what, where and what to do, and may be shown
to anyone. The private text is for the operator's own log. Neither ever carries a patient's value: the fields a public
sentence names are settings, addresses, codes and digests. `tests/laws/test_errors.py` proves the table complete.
"""

import re
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class ExitCode(IntEnum):
    """What a shell sees; both programs document it in `--help`."""

    DONE = 0
    FAILED = 1  # could not run
    USAGE = 2  # wrong arguments or settings, or nothing to work on
    PARTIAL = 3  # ran, and some studies or files were not taken
    REFUSED = 4  # the other side refused: token, certificate, agreement, protocol
    UNREACHABLE = 5  # the other side was not there; try again later


class Text(NamedTuple):
    """The public side of an error: its sentence, the process's exit code and the gRPC status name it travels under."""

    sentence: str
    exit_code: ExitCode
    status: str


class RicordError(Exception):
    """Base of every error this project raises on purpose.

    `private` goes to the operator's log only; `fields` fill the public sentence and travel over the wire.
    """

    def __init__(self, private: str = "", **fields: str) -> None:
        super().__init__(private)
        self.private = private
        self.fields = {name: str(value) for name, value in fields.items()}

    @property
    def code(self) -> str:
        """The error's name on the wire and in `--json`: the class name in kebab case."""
        return code_of(type(self))

    @property
    def public(self) -> str:
        """The sentence of the table with this error's fields in it."""
        return TEXTS[self.code].sentence.format_map(_Known(self.fields))

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with when this error reaches the shell."""
        return TEXTS[self.code].exit_code

    def __str__(self) -> str:
        return self.public


class _Known(dict[str, str]):
    """Fields by name; one that the raiser left out shows as `?` instead of hiding the sentence."""

    def __missing__(self, key: str) -> str:
        return "?"


def code_of(kind: type[RicordError]) -> str:
    """Kebab-case code of an error class: `TokenExpired` -> `token-expired`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def all_errors(kind: type[RicordError] = RicordError) -> tuple[type[RicordError], ...]:
    """Every class below `kind` that has no class below itself: the ones that are raised."""
    below = kind.__subclasses__()
    return tuple(leaf for child in below for leaf in all_errors(child)) if below else (kind,)


def error_for(code: str, fields: dict[str, str]) -> RicordError:
    """The error another process named on the wire; an unknown code becomes `InternalError`."""
    for kind in all_errors():
        if code_of(kind) == code:
            return kind(**fields)
    return InternalError(f"unknown error code {code!r} from the other side")


class SettingsError(RicordError):
    """A program cannot start as it was told to."""


class UnknownSetting(SettingsError):
    """A settings file names a key that does not exist."""


class InvalidSetting(SettingsError):
    """A settings file gives a key a value it cannot have, or lacks a required key."""


class SettingsMissing(SettingsError):
    """There is no settings file where one was looked for."""


class SettingsUnreadable(SettingsError):
    """The settings file is no TOML."""


class PortInUse(SettingsError):
    """A port that should be served is taken."""


class HomeExists(SettingsError):
    """`init` was pointed at a folder that is already a home."""


class KeyFileMissing(SettingsError):
    """A key file that is needed is not there."""


class KeyFileOpen(SettingsError):
    """A key file can be read by others."""


class KeyFileInvalid(SettingsError):
    """A key file does not hold a key of the kind it should."""


class InputError(RicordError):
    """What was given to work on cannot be worked on."""


class SourceMissing(InputError):
    """The folder or file named does not exist or cannot be read."""


class NoDicomFound(InputError):
    """A folder is empty or holds no DICOM."""


class InvalidIdentifier(InputError):
    """A text is no identifier of the kind wanted."""


class InvalidArgument(InputError):
    """An argument, or a field of a message, is not what it should be."""


class ClinicalSheetInvalid(InputError):
    """A clinical sheet cannot be read as one."""


class NotFound(InputError):
    """The object named does not exist."""


class DiskFull(InputError):
    """There is no room left for what must be written."""


class StudyError(RicordError):
    """One study cannot go on; the others do."""


class DicomUnreadable(StudyError):
    """A file is no DICOM or is broken."""


class DicomUnsupported(StudyError):
    """A file is DICOM of a kind that cannot be processed safely."""


class ProtocolError(RicordError):
    """The protocol's data are not what they must be."""


class ProtocolInvalid(ProtocolError):
    """A protocol file names an action or option that does not exist."""


class ProtocolMismatch(ProtocolError):
    """Two sides hold different protocols."""


class TrustError(RicordError):
    """The other side is not who or what it must be."""


class TokenInvalid(TrustError):
    """A token was never issued, or was damaged in copying."""


class TokenExpired(TrustError):
    """A token's time is over."""


class TokenUsed(TrustError):
    """A token was used before; each works once."""


class CertificateExpired(TrustError):
    """A certificate's time is over."""


class CertificateForeign(TrustError):
    """A certificate was not issued by this federation, or was revoked."""


class RoleNotAllowed(TrustError):
    """The caller's role may not do this."""


class SignatureInvalid(TrustError):
    """A signature does not fit what it should have signed."""


class AgreementError(RicordError):
    """An agreement does not allow what was asked."""


class AgreementNotExecuted(AgreementError):
    """No agreement in force covers this."""


class AgreementModeNotAllowed(AgreementError):
    """The agreement in force does not cover this way of taking part."""


class AgreementTextChanged(AgreementError):
    """The text signed is not the text drafted."""


class AgreementTransitionInvalid(AgreementError):
    """An agreement cannot go from its state to the one asked for."""


class SealingError(RicordError):
    """A sealed study is not what it says it is."""


class SealedFileInvalid(SealingError):
    """A sealed file is cut, changed or not for this key."""


class ManifestInvalid(SealingError):
    """A manifest does not fit its study."""


class TransportError(RicordError):
    """The way to the other side failed."""


class CoordinatorUnreachable(TransportError):
    """Nobody answers at the coordinator's address."""


class UploadInterrupted(TransportError):
    """An upload ended early; what arrived is kept and it resumes."""


class FederationError(RicordError):
    """A federated run cannot start or go on."""


class RunRefused(FederationError):
    """A site's policy does not allow the run."""


class TooFewSites(FederationError):
    """Fewer sites take part than the policy's minimum."""


class PlanInvalid(FederationError):
    """A run's plan asks for something that cannot hold."""


class RunFailed(FederationError):
    """A federated run ended without a result."""


class InternalError(RicordError):
    """A defect of this program; the private text is in its log."""


_DONE_NOTHING = "Nothing was changed."

TEXTS = MappingProxyType(
    {
        "unknown-setting": Text(
            "{file}, line {line}: there is no setting `{key}`; remove it or see `--help` for the names.",
            ExitCode.USAGE,
            "INVALID_ARGUMENT",
        ),
        "invalid-setting": Text(
            "{file}, line {line}: setting `{key}` is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "settings-missing": Text(
            "No settings file at {file}; run `{program} init` first or name the folder with --home.",
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "settings-unreadable": Text(
            "{file}, line {line}: this is not TOML; mend the file.", ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "port-in-use": Text(
            "Port {port} on {host} is already in use; stop the other program or set `{key}` to another port.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "home-exists": Text(
            "{folder} already holds a home; " + _DONE_NOTHING + " Choose another folder with --home.",
            ExitCode.USAGE,
            "ALREADY_EXISTS",
        ),
        "key-file-missing": Text(
            "There is no key file at {file}; restore it from its backup or create it.", ExitCode.FAILED, "NOT_FOUND"
        ),
        "key-file-open": Text(
            "The key file {file} can be read by others; run `chmod 600` on it.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "key-file-invalid": Text(
            "{file} does not hold a {kind}; restore it from its backup.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "source-missing": Text("{source} does not exist or cannot be read.", ExitCode.USAGE, "NOT_FOUND"),
        "no-dicom-found": Text(
            "{source} holds no DICOM file; name a folder that does. " + _DONE_NOTHING, ExitCode.USAGE, "NOT_FOUND"
        ),
        "invalid-identifier": Text("This is not a valid {kind}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "invalid-argument": Text("{name} is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "clinical-sheet-invalid": Text(
            "The clinical sheet cannot be used: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "not-found": Text("There is no {kind} {name}.", ExitCode.USAGE, "NOT_FOUND"),
        "disk-full": Text(
            "There is no room left in {folder}; free some and start again, nothing was lost.",
            ExitCode.FAILED,
            "RESOURCE_EXHAUSTED",
        ),
        "dicom-unreadable": Text("This file is no readable DICOM: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT"),
        "dicom-unsupported": Text(
            "This DICOM file cannot be processed safely: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT"
        ),
        "protocol-invalid": Text(
            "The protocol file {file} cannot be used: {problem}.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "protocol-mismatch": Text(
            "This node holds protocol {held}, the coordinator {wanted}; install the release that carries {wanted}.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "token-invalid": Text(
            "This token is not valid; copy it whole, or ask the coordinator for a new one.",
            ExitCode.REFUSED,
            "UNAUTHENTICATED",
        ),
        "token-expired": Text(
            "This token has expired; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "token-used": Text(
            "This token was already used; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "certificate-expired": Text(
            "The certificate of {peer} has expired; enrol again with a new token.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "certificate-foreign": Text(
            "The certificate of {peer} is not one of this federation, or was revoked; enrol again with a new token.",
            ExitCode.REFUSED,
            "UNAUTHENTICATED",
        ),
        "role-not-allowed": Text("The role {role} may not do this.", ExitCode.REFUSED, "PERMISSION_DENIED"),
        "signature-invalid": Text(
            "The signature on {what} is not valid; nothing was accepted.", ExitCode.REFUSED, "PERMISSION_DENIED"
        ),
        "agreement-not-executed": Text(
            "The agreement is {state}, not executed; nothing is accepted outside an agreement in force.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-mode-not-allowed": Text(
            "The agreement does not cover `{mode}`; ask the coordinator for an amendment.",
            ExitCode.REFUSED,
            "PERMISSION_DENIED",
        ),
        "agreement-text-changed": Text(
            "The agreement's text is not the one that was shown; read it again before signing.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-transition-invalid": Text(
            "An agreement that is {state} cannot become {wanted}.", ExitCode.REFUSED, "FAILED_PRECONDITION"
        ),
        "sealed-file-invalid": Text(
            "The sealed study cannot be opened: {problem}; nothing was written.", ExitCode.REFUSED, "DATA_LOSS"
        ),
        "manifest-invalid": Text(
            "The manifest does not fit its study: {problem}; nothing was accepted.",
            ExitCode.REFUSED,
            "INVALID_ARGUMENT",
        ),
        "coordinator-unreachable": Text(
            "No coordinator answers at {address}; check the address and the network, then try again. Nothing was lost.",
            ExitCode.UNREACHABLE,
            "UNAVAILABLE",
        ),
        "upload-interrupted": Text(
            "The upload was interrupted; what arrived is kept, and the next try resumes it.",
            ExitCode.UNREACHABLE,
            "ABORTED",
        ),
        "run-refused": Text("The site's policy refuses this run: {problem}.", ExitCode.REFUSED, "FAILED_PRECONDITION"),
        "too-few-sites": Text(
            "{present} sites take part, the minimum is {minimum}; nothing was computed.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "plan-invalid": Text("The run's plan cannot hold: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "run-failed": Text("The federated run ended without a result: {problem}.", ExitCode.FAILED, "ABORTED"),
        "internal-error": Text(
            "This program met a defect of its own; its log says more, and nothing half-done was kept.",
            ExitCode.FAILED,
            "INTERNAL",
        ),
    }
)
