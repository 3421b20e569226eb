"""Who calls, and what that role may do: one table, and one check before every RPC of the main port.

The TLS layer has already checked that the client's certificate was issued by this federation and has not expired. The
check reads from the store, at every call, whether that certificate is still valid, so that revocation is immediate.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast

import grpc
import structlog

from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Store
from coordinator.trust.certificates import check_certificate_row
from coordinator.trust.refusals import STRANGER, NoteRefusal, note_nothing
from shared.crypto.pki import Peer, Role, parse_spiffe, serial_of
from shared.durable import is_full_disk
from shared.errors.base import InternalError, RicordError
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.storage import DiskFull
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import CertificateForeign, RoleNotAllowed
from shared.wire import PERSON_METADATA, refuse

_ALL = frozenset(Role)
_COORDINATOR = frozenset({Role.COORDINATOR})
_SITE = frozenset({Role.SITE})
_CURATOR = frozenset({Role.CURATOR})
_MEMBER = _ALL - {Role.COORDINATOR}
_RESEARCHER = frozenset({Role.RESEARCHER})
_ASKER = _COORDINATOR | _RESEARCHER  # who asks for runs, and sees an operator all, a researcher their own
_READER = _COORDINATOR | {Role.OBSERVER}  # who sees what the coordinator sees; an observer changes nothing

# Every method of the main port; a method without a row is refused (tests/unit/coordinator/trust: each has a row).
ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "/grpc.health.v1.Health/Check": _ALL,
        "/ricord.v1.AgreementService/DraftAgreement": _COORDINATOR,
        "/ricord.v1.AgreementService/AmendAgreement": _COORDINATOR,
        "/ricord.v1.AgreementService/AttachDocument": _COORDINATOR,
        "/ricord.v1.AgreementService/ListAgreements": _READER,
        "/ricord.v1.AgreementService/ListSealedAgreements": _CURATOR,
        "/ricord.v1.AgreementService/GetAgreement": _READER,
        "/ricord.v1.AgreementService/ExecuteAgreement": _COORDINATOR,
        "/ricord.v1.AgreementService/SuspendAgreement": _COORDINATOR,
        "/ricord.v1.AgreementService/TerminateAgreement": _COORDINATOR,
        "/ricord.v1.AuditService/ListAuditEvents": _READER,
        "/ricord.v1.AuditService/VerifyAudit": _READER,
        "/ricord.v1.AuditService/GetProof": _MEMBER,
        "/ricord.v1.AuditService/ReturnReceipts": _SITE,
        "/ricord.v1.CohortService/ListCohorts": _ASKER | _READER,
        "/ricord.v1.CohortService/ComputeCohort": _COORDINATOR,
        "/ricord.v1.CohortService/GetCohort": _ASKER | _READER,
        "/ricord.v1.EditionService/ListEditions": _READER,
        "/ricord.v1.EditionService/AcceptEdition": _COORDINATOR,
        "/ricord.v1.FederationService/StartRun": _COORDINATOR,
        "/ricord.v1.FederationService/GetRun": _ASKER | _READER,
        "/ricord.v1.FederationService/ListRuns": _ASKER | _READER,
        "/ricord.v1.FederationService/WatchRun": _RESEARCHER,
        "/ricord.v1.FederationService/FetchModel": _ASKER,
        "/ricord.v1.FederationService/GetOffer": _ASKER,
        "/ricord.v1.FederationService/ProposeRun": _RESEARCHER,
        "/ricord.v1.FederationService/ApproveRun": _COORDINATOR,
        "/ricord.v1.FederationService/DeclineRun": _COORDINATOR,
        "/ricord.v1.FederationService/StopRun": _COORDINATOR,
        "/ricord.v1.FederationService/ResumeRun": _COORDINATOR,
        "/ricord.v1.FederationService/RegisterNode": _SITE,
        "/ricord.v1.FederationService/GetFederationInfo": _SITE | _COORDINATOR,
        "/ricord.v1.FederationService/Await": _SITE,
        "/ricord.v1.MembershipService/RenewCertificate": _MEMBER,
        "/ricord.v1.MembershipService/RotateKeys": _CURATOR,
        "/ricord.v1.MembershipService/GetMembership": _MEMBER,
        "/ricord.v1.MembershipService/ReadAmendment": _SITE,
        "/ricord.v1.MembershipService/SignAmendment": _SITE,
        "/ricord.v1.PresenceService/ReportPresence": _SITE,
        "/ricord.v1.SiteService/ImportSurvey": _COORDINATOR,
        "/ricord.v1.SiteService/InviteSite": _COORDINATOR,
        "/ricord.v1.SiteService/IssueJoinToken": _COORDINATOR,
        "/ricord.v1.SiteService/ListTokens": _COORDINATOR,
        "/ricord.v1.SiteService/RevokeTokens": _COORDINATOR,
        "/ricord.v1.SiteService/ListSites": _READER,
        "/ricord.v1.SiteService/GetSite": _READER,
        "/ricord.v1.SiteService/RevokeCertificates": _COORDINATOR,
        "/ricord.v1.SubmissionService/GetUploadOffset": _SITE,
        "/ricord.v1.SubmissionService/Upload": _SITE,
        "/ricord.v1.SubmissionService/ListSubmissions": _READER | _CURATOR | _SITE,
        "/ricord.v1.SubmissionService/ListSequenceFaults": _READER,
        "/ricord.v1.SubmissionService/CountByWeek": _READER,
        "/ricord.v1.SubmissionService/GetSubmission": _COORDINATOR | _CURATOR,
        "/ricord.v1.SubmissionService/Fetch": _CURATOR,
        "/ricord.v1.SubmissionService/Decide": _CURATOR,
        "/ricord.v1.SubmissionService/Withdraw": _SITE | _COORDINATOR,
        "/ricord.v1.SubmissionService/AllowResubmission": _SITE | _COORDINATOR,
        "/ricord.v1.SubmissionService/ListWithdrawals": _COORDINATOR | _CURATOR | _SITE,
        "/ricord.v1.SubmissionService/ReportPurge": _CURATOR,
    }
)

# A watch holds a thread for as long as the caller likes, and on the enrolment port the caller may be anybody.
UNSERVED = frozenset({"/grpc.health.v1.Health/Watch"})

_LONGEST_PERSON = 100  # characters of a name
AccessCheck = Callable[[str, grpc.ServicerContext], None]

_log = structlog.get_logger("coordinator")


def peer_of(context: grpc.ServicerContext) -> Peer:
    """Who calls, by the SPIFFE URI in the certificate; raises `CertificateForeign` unless there is exactly one."""
    uris = [name for name in _auth_property(context, "x509_subject_alternative_name") if name.startswith("spiffe://")]
    try:
        return parse_spiffe(uris[0] if len(uris) == 1 else "")
    except InvalidIdentifier as error:
        raise CertificateForeign(peer="an unknown peer") from error


def actor_of(context: grpc.ServicerContext) -> str:
    """Who calls, as runs and the audit log name them: role and name, and the person at an operator's console."""
    peer = peer_of(context)
    return f"{peer.role}/{peer.name}{_person_of(context, peer)}"


def uri_of(context: grpc.ServicerContext) -> str:
    """Who calls, as the audit log names who changes members and agreements; else as `actor_of`."""
    peer = peer_of(context)
    return f"{peer.uri}{_person_of(context, peer)}"


def _person_of(context: grpc.ServicerContext, peer: Peer) -> str:
    """The person who is signed in to an operator's console, by its word; raises `InvalidArgument` for no name."""
    values = [value for key, value in context.invocation_metadata() if key == PERSON_METADATA]
    if not values or peer.role is not Role.COORDINATOR:
        return ""
    name = cast("bytes", values[0]).decode(errors="replace") if len(values) == 1 else ""
    if not 0 < len(name) <= _LONGEST_PERSON or not name.isprintable():
        raise InvalidArgument(name="The person", problem=f"a name is a line of at most {_LONGEST_PERSON} characters")
    return f" ({name})"


def asker_of(context: grpc.ServicerContext) -> str | None:
    """Whose runs the caller may see: their own; `None` for operators and observers, who see all."""
    peer = peer_of(context)
    return None if peer.role in _READER else f"{peer.role}/{peer.name}"


def caller_of(context: grpc.ServicerContext) -> str:
    """Who calls, for the audit log: the SPIFFE URI, or that it is a stranger."""
    try:
        return peer_of(context).uri
    except CertificateForeign:
        return STRANGER


def _auth_property(context: grpc.ServicerContext, name: str) -> list[str]:
    """The values of an authentication property of the call; the type stubs miss that they are a list of bytes."""
    values = cast("Mapping[str, list[bytes]]", context.auth_context()).get(name, [])
    return [value.decode() for value in values]


def peer_serial(context: grpc.ServicerContext) -> str:
    """The serial number of the certificate that the caller presents; mutual TLS guarantees that there is one."""
    return serial_of(_auth_property(context, "x509_pem_cert")[0].encode())


def access_check(store: Store, clock: Clock = utc_now) -> AccessCheck:
    """The check before every RPC of the main port; the TLS layer checks expiry only when a connection is made."""

    def check(method: str, context: grpc.ServicerContext) -> None:
        peer = peer_of(context)
        with store.read() as reading:
            check_certificate_row(reading, peer_serial(context), role=peer.role, name=peer.name, now=clock())
        if peer.role not in ROLES.get(method, frozenset()):
            raise RoleNotAllowed(f"{peer.uri} called {method}", role=peer.role)

    return check


def no_check(method: str, context: grpc.ServicerContext) -> None:
    """For the enrolment port, whose callers present a token instead of a certificate."""


class Outlet(Protocol):
    """Where the answers of a call go that waits without a thread."""

    def send(self, message: Any) -> None:
        """Send a message, at once or when the one before has left; a later one replaces one that still waits."""

    def end(self) -> None:
        """End the call, without an error."""

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when the call has ended on either side."""


def without_thread(behaviour: Callable[..., None]) -> Any:
    """Mark the method of a servicer that answers by an outlet, later, and returns at once."""
    behaviour.waits = True  # type: ignore[attr-defined] # read below, where the method is guarded
    return behaviour


@dataclass(frozen=True)
class Guarded:
    """A method's behaviour behind its check: whatever either raises becomes a status with a public text."""

    method: str
    check: AccessCheck
    behaviour: Callable[..., Any]
    reads_stream: bool
    answers_stream: bool
    note: NoteRefusal = note_nothing

    @property
    def waits(self) -> bool:
        """Whether the call holds no thread while it is open."""
        return getattr(self.behaviour, "waits", False)

    def open(self, request: Any, context: grpc.ServicerContext, outlet: Outlet) -> None:
        """Begin a call that waits."""
        with self._error_boundary(context):
            self.check(self.method, context)
            self.behaviour(request, context, outlet)

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answer a call: with one message, or with an iterator of them."""
        if self.answers_stream:
            return self._answers(request, context)
        with self._error_boundary(context):
            self.check(self.method, context)
            return self.behaviour(request, context)

    def _answers(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._error_boundary(context):
            self.check(self.method, context)
            yield from self.behaviour(request, context)

    @contextmanager
    def _error_boundary(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Turn every exception into a refusal with a public text, and a name by which the log has it."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- as the docstring says
            request, caller = secrets.token_hex(8), caller_of(context)
            log = _log.bind(request=request, caller=caller, seconds=round(time.monotonic() - began, 3))
            public = _public_error(self.method, error, log)
            self.note(caller, self.method, public)
            refuse(context, public, request=request)


class AccessInterceptor(grpc.ServerInterceptor):
    """Puts a check before every RPC; `note` learns of each refusal."""

    def __init__(self, check: AccessCheck, note: NoteRefusal = note_nothing) -> None:
        self._check = check
        self._note = note

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":  # quoted: the type takes no parameters at run time
        """Guard the method's behaviour; `None` is answered with `UNIMPLEMENTED` at once."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method in UNSERVED:
            return None
        kind = _handler_kind(handler)
        behaviour = getattr(handler, kind)
        return cast(
            "grpc.RpcMethodHandler[Any, Any]",
            getattr(grpc, f"{kind}_rpc_method_handler")(
                Guarded(
                    method, self._check, behaviour, handler.request_streaming, handler.response_streaming, self._note
                ),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            ),
        )


def _handler_kind(handler: "grpc.RpcMethodHandler[Any, Any]") -> str:
    request = "stream" if handler.request_streaming else "unary"
    return f"{request}_{'stream' if handler.response_streaming else 'unary'}"


def _public_error(method: str, error: Exception, log: Any = _log) -> RicordError:
    """The error for the caller; the log gets the private text, or for a defect the exception's class and place."""
    if isinstance(error, grpc.RpcError):  # the caller went away in the middle of its stream
        return UploadInterrupted(method)
    if isinstance(error, RicordError):
        log.info("refused", method=method, code=error.code, private=error.private, **error.fields)
        return error
    if is_full_disk(error):
        log.error("disk-full", method=method)
        return DiskFull(folder="the coordinator's home")
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else "?"
    log.error("defect", method=method, kind=type(error).__name__, place=place)
    return InternalError()
