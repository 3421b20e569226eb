"""One tree of errors, two texts.

The public text is one sentence of `shared/error_texts.py`: what, where and what to do. The private text is for the
operator's own log. Neither has a patient's value. `tests/laws/test_error_table_is_complete.py` holds the table to it.
"""

import re

from shared.agreement_steps import next_step
from shared.error_base import RicordError, Verdict, all_errors, code_of, error_for
from shared.error_texts import BUSY_SECONDS, TEXTS, ExitCode

# The base and the table are read with the tree; the classes here are public.
__all__ = ["BUSY_SECONDS", "TEXTS", "ExitCode", "RicordError", "Verdict", "all_errors", "code_of", "error_for"]


class SettingsError(RicordError):
    """A program cannot start as it is configured."""


class UnknownSetting(SettingsError):
    """A settings file names a key that does not exist."""


class InvalidSetting(SettingsError):
    """A settings file gives a key a value it cannot have, or lacks a required key."""


class SettingsMissing(SettingsError):
    """There is no settings file at the expected place."""


class PolicyMissing(SettingsError):
    """A site has no file that says which federated work may run."""


class SettingsUnreadable(SettingsError):
    """The settings file is not TOML."""


class PortInUse(SettingsError):
    """A port that should be served is already in use."""


class HomeExists(SettingsError):
    """`init` was pointed at a folder that is already a home."""


class HomeBusy(SettingsError):
    """Another process is working in the home."""


class StoreNotShared(SettingsError):
    """A second coordinator was started on a database that serves a single process."""


class NodeRuns(SettingsError):
    """A node that is running does by itself what a command was asked for."""


class LedgerTooNew(SettingsError):
    """The home's ledger was written by a newer release."""


class ExtraMissing(SettingsError):
    """A package that only an extra of the installation brings is not there."""


class PixelCheckUnavailable(SettingsError):
    """The search for burned-in text is on, and the program that searches cannot start."""


class KeyFileMissing(SettingsError):
    """A key file that is needed does not exist."""


class KeyFileOpen(SettingsError):
    """A key file can be read by others."""


class KeyFileInvalid(SettingsError):
    """A key file does not hold a key of the kind it should."""


class KeyFileLocked(SettingsError):
    """A key file is under a passphrase that is not at hand."""


class KeyFileExists(SettingsError):
    """A key would overwrite another."""


class InputError(RicordError):
    """The input cannot be processed."""


class SourceMissing(InputError):
    """The folder or file named does not exist or cannot be read."""


class NoDicomFound(InputError):
    """A folder is empty or holds no DICOM."""


class InvalidIdentifier(InputError):
    """A text is not an identifier of the required kind."""


class InvalidArgument(InputError):
    """An argument, or a field of a message, is not what it should be."""


class ClinicalSheetInvalid(InputError):
    """A clinical sheet cannot be read as one."""


class AccessionListInvalid(InputError):
    """A list of accession numbers cannot be read as one."""


class LinkageInvalid(InputError):
    """A linkage, or a file of it, cannot be read."""


class LinkageConflict(InputError):
    """A linkage to import contradicts the ledger, or the agreement."""


class NotFound(InputError):
    """The object named does not exist."""


class SubmissionSuperseded(InputError):
    """A later submission of the same study is open."""


class SubmissionTransitionInvalid(InputError):
    """A submission cannot come from its state into the one wanted."""


class AmbiguousReference(InputError):
    """A name that was not given whole fits several things."""


class NotInQuarantine(InputError):
    """The study named does not wait for a person."""


class StorageError(RicordError):
    """What must be kept cannot be, or what was kept cannot be reached."""


class DiskFull(StorageError):
    """There is no space left for what must be written."""


class AccessDenied(StorageError):
    """The system lets this account not read or write what is needed: an owner, a mode, or a disk that is read-only."""


class DiskNearlyFull(StorageError):
    """Less space is left than the settings reserve."""


class StoreOutdated(StorageError):
    """The coordinator's database has another schema than this release."""


class HomeFailed(StorageError):
    """A file in a home, or its ledger, cannot be read or written now."""


class StudyError(Verdict):
    """One study cannot be processed further; the others can."""


class DicomUnreadable(StudyError):
    """A file is not DICOM or is damaged."""


class DicomUnsupported(StudyError):
    """A file is DICOM of a kind that cannot be processed safely."""


class PixelsUnreadable(StudyError):
    """A frame cannot be decoded, so its content is unknown."""


class PixelCheckFailed(StudyError):
    """The search for text in a frame ended without an answer."""


class ProtocolError(RicordError):
    """The protocol's data are not what they must be."""


class ProtocolInvalid(ProtocolError):
    """A protocol file names an action or option that does not exist."""


class ProtocolMismatch(ProtocolError):
    """Two sides hold different protocols."""


class EditionOver(ProtocolError):
    """The coordinator accepts studies of an earlier edition of the protocol no longer."""


class EditionNotCovered(ProtocolError):
    """The agreement does not cover an edition of the protocol."""


class TrustError(RicordError):
    """The other side is not who or what it must be."""


class TokenInvalid(TrustError):
    """A token was never issued, or was damaged in copying."""


class TokenOfOtherKind(TrustError):
    """A token is whole and meant for another command."""


class TokenExpired(TrustError):
    """A token has expired."""


class TokenUsed(TrustError):
    """A token was used before; each works once."""


class CertificateExpired(TrustError):
    """A certificate has expired."""


class ClockWrong(TrustError):
    """This machine's clock and the other side's differ by more than certificates allow for."""


class CertificateForeign(TrustError):
    """A certificate was not issued by this federation, or was revoked."""


class RoleNotAllowed(TrustError):
    """The caller's role may not do this."""


class SignatureInvalid(TrustError):
    """A signature does not fit what it should have signed."""


class ReceiptInvalid(TrustError):
    """A receipt that the coordinator signed does not fit the study, or the receipts before it."""


class NotEnrolled(TrustError):
    """A home is not enrolled in a federation yet."""


class AgreementError(RicordError):
    """An agreement does not allow the request."""


class AgreementAtWrongState(AgreementError):
    """An agreement is not where it must be; the sentence says who must do what next."""

    def __init__(self, private: str = "", **fields: str) -> None:
        super().__init__(private, **{"next": next_step(fields.get("state", "")), **fields})


class AgreementNotExecuted(AgreementAtWrongState):
    """No agreement in force covers this."""


class AgreementNotBegun(AgreementError):
    """An agreement's first day is still to come."""


class AgreementSuperseded(AgreementError):
    """A later version of the agreement is in force; the site fetches it and goes on under it."""


class AgreementModeNotAllowed(AgreementError):
    """The agreement in force does not cover this way of taking part."""


class StudyQuotaReached(AgreementError):
    """As many studies were received as the agreement covers."""


class AgreementTextChanged(AgreementError):
    """The text signed is not the text drafted."""


class AgreementTransitionInvalid(AgreementAtWrongState):
    """An agreement cannot go from its state to the requested one."""


class SubmissionWithdrawn(Verdict):
    """The study was withdrawn, and the side that withdrew it has not allowed it again."""


class SealingError(Verdict):
    """A sealed study is not what it claims to be."""


class SealedFileInvalid(SealingError):
    """A sealed file is cut, changed or not for this key."""


class ManifestInvalid(SealingError):
    """A manifest does not fit its study."""


class TransportError(RicordError):
    """The connection to the other side failed."""

    @property
    def reason(self) -> str:
        """The code of the reason that a request ends with: what its raiser named, else the error's own code."""
        return self.fields.get("reason", self.code)


class CoordinatorUnreachable(TransportError):
    """Nobody answers at the coordinator's address."""


class CoordinatorBusy(TransportError):
    """The coordinator has no room for another call now; its field `seconds` says after how long to try again."""

    @property
    def seconds(self) -> int:
        """How long to wait: what the coordinator named, at most a minute; where that is no number, `BUSY_SECONDS`."""
        named = self.fields.get("seconds", "")
        return min(int(named), 60) if re.fullmatch(r"[0-9]{1,9}", named) else BUSY_SECONDS


class UploadInterrupted(TransportError):
    """An upload ended early; what arrived is kept and it resumes."""


class PacsUnreachable(TransportError):
    """Nobody answers at the PACS's address, or the connection broke off."""


class PacsRefused(TransportError):
    """The PACS refuses our AE title, or has no AE of the called title."""


class DicomwebRefused(TransportError):
    """The PACS's web service does not let us in."""


class PacsFailed(TransportError):
    """The PACS answered with a failure, or incompletely."""


class StoreUnreachable(TransportError):
    """The coordinator's database, or where it keeps ciphertext, does not answer."""


class FederationError(RicordError):
    """A federated run cannot start or go on."""


class RunRefused(FederationError):
    """A site's policy does not allow the run."""


class TooFewSites(FederationError):
    """Fewer sites take part than the policy's minimum."""


class PlanInvalid(FederationError):
    """A run's plan contradicts itself or asks for the impossible."""


class RunFailed(FederationError):
    """A federated run ended without a result."""


class RunGoesOn(FederationError):
    """A federated run has not ended in the time that somebody would wait for it."""


class SecureSumRefused(FederationError):
    """A message of a secure sum breaks the rules that keep each site's vector hidden."""


class AuditBroken(TrustError):
    """An entry of the audit log is missing, or does not fit the one before it or what was signed of it."""


class AuditContradicted(TrustError):
    """The coordinator's audit log does not contain what the coordinator signed for this site before."""


class InternalError(RicordError):
    """A defect of this program; the private text is in its log."""
