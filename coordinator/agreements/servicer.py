"""Agreements on the wire; each method is one call of the service."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc
from pydantic import ValidationError

from coordinator.agreements.drafting import CheckedScope, Draft
from coordinator.agreements.lifecycle import terms_of
from coordinator.agreements.service import AgreementService
from coordinator.agreements.text import agreement_text
from coordinator.trust.interceptor import peer_of, uri_of
from shared.agreement import Mode, State
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.ids import Sha256, SiteId
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceServicer
from shared.wire import from_timestamp, to_signed, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import Agreement, AgreementVersion


class AgreementServicer(AgreementServiceServicer):
    """What coordinators do with agreements."""

    def __init__(self, service: AgreementService) -> None:
        self._service = service

    def DraftAgreement(
        self, request: pb.DraftAgreementRequest, context: grpc.ServicerContext
    ) -> pb.DraftAgreementResponse:
        """Write terms."""
        drafted = self._service.draft(_draft(request), actor=uri_of(context))
        return pb.DraftAgreementResponse(agreement=self._message(drafted))

    def AmendAgreement(
        self, request: pb.AmendAgreementRequest, context: grpc.ServicerContext
    ) -> pb.AmendAgreementResponse:
        """Write the next version."""
        draft, actor = _draft(request.draft), uri_of(context)
        amended, issued = self._service.amend(draft, reinstate=request.reinstate, actor=actor)
        return pb.AmendAgreementResponse(
            agreement=self._message(amended),
            token=issued.token.text if issued else "",
            token_expires_at=to_timestamp(issued.expires_at) if issued else None,
        )

    def AttachDocument(
        self, request: pb.AttachDocumentRequest, context: grpc.ServicerContext
    ) -> pb.AttachDocumentResponse:
        """Note a digest."""
        attached = self._service.attach(request.reference, Sha256(request.sha256), actor=uri_of(context))
        return pb.AttachDocumentResponse(agreement=self._message(attached))

    def ListAgreements(
        self, request: pb.ListAgreementsRequest, context: grpc.ServicerContext
    ) -> pb.ListAgreementsResponse:
        """A page of them."""
        rows, more = self._service.agreements(after=request.after, limit=request.limit, brief=request.brief)
        site_ids = self._service.site_ids(*rows)
        message = _brief if request.brief else agreement_message
        return pb.ListAgreementsResponse(
            agreements=[message(agreement, site_ids) for agreement in rows],
            next=rows[-1].site_name if more else "",
        )

    def ListSealedAgreements(
        self, request: pb.ListSealedAgreementsRequest, context: grpc.ServicerContext
    ) -> pb.ListSealedAgreementsResponse:
        """The curator's, page by page."""
        curator = peer_of(context).name
        rows, following = self._service.sealed_to(curator, after=request.after, limit=request.limit)
        site_ids = self._service.site_ids(*rows)
        return pb.ListSealedAgreementsResponse(
            agreements=[_sealed(agreement, site_ids[agreement.site_name]) for agreement in rows],
            next=following,
        )

    def GetAgreement(self, request: pb.GetAgreementRequest, context: grpc.ServicerContext) -> pb.GetAgreementResponse:
        """One, with its text."""
        agreement, former = self._service.agreement_with_versions(request.reference)
        return pb.GetAgreementResponse(
            agreement=self._message(agreement), text=agreement_text(), versions=map(_former, former)
        )

    def ExecuteAgreement(
        self, request: pb.ExecuteAgreementRequest, context: grpc.ServicerContext
    ) -> pb.ExecuteAgreementResponse:
        """Countersign."""
        executed, issued = self._service.execute(request.reference, actor=uri_of(context))
        return pb.ExecuteAgreementResponse(
            agreement=self._message(executed),
            token=issued.token.text if issued else "",
            token_expires_at=to_timestamp(issued.expires_at) if issued else None,
        )

    def SuspendAgreement(
        self, request: pb.SuspendAgreementRequest, context: grpc.ServicerContext
    ) -> pb.SuspendAgreementResponse:
        """Take out of force."""
        suspended = self._service.suspend(request.reference, actor=uri_of(context))
        return pb.SuspendAgreementResponse(agreement=self._message(suspended))

    def TerminateAgreement(
        self, request: pb.TerminateAgreementRequest, context: grpc.ServicerContext
    ) -> pb.TerminateAgreementResponse:
        """End."""
        terminated = self._service.terminate(request.reference, actor=uri_of(context))
        return pb.TerminateAgreementResponse(agreement=self._message(terminated))

    def _message(self, agreement: "Agreement") -> pb.Agreement:
        return agreement_message(agreement, self._service.site_ids(agreement))


def agreement_message(agreement: "Agreement", site_ids: Mapping[str, SiteId]) -> pb.Agreement:
    """An agreement as a message."""
    amendment, message = agreement.amendment, _brief(agreement, site_ids)
    message.MergeFrom(
        pb.Agreement(
            terms=(agreement.terms or "").encode(),
            consent=to_signed(agreement.consent) if agreement.consent else None,
            execution=to_signed(agreement.execution) if agreement.execution else None,
            amendment_terms=amendment.terms.encode() if amendment else b"",
            amendment_consent=to_signed(amendment.consent) if amendment and amendment.consent else None,
        )
    )
    return message


def _brief(agreement: "Agreement", site_ids: Mapping[str, SiteId]) -> pb.Agreement:
    """An agreement without its terms and signatures."""
    offered = agreement.amendment and (State.SIGNED if agreement.amendment.consent else State.DRAFTED)
    return pb.Agreement(
        id=agreement.id,
        site_name=agreement.site_name,
        site_id=site_ids.get(agreement.site_name, ""),
        state=state_message(agreement.state),
        version=agreement.version,
        changed_at=to_timestamp(agreement.changed_at),
        attachment=agreement.attachment or "",
        amendment_state=state_message(offered) if offered else pb.AGREEMENT_STATE_UNSPECIFIED,
    )


def _sealed(agreement: "Agreement", site_id: SiteId) -> pb.SealedAgreement:
    terms = terms_of(agreement)
    return pb.SealedAgreement(
        id=agreement.id,
        version=agreement.version,
        site_id=site_id,
        state=state_message(agreement.state),
        scope=terms.scope.description,
        modalities=terms.scope.modalities,
        licence=terms.licence,
        expires_at=to_timestamp(terms.expires_at) if terms.expires_at else None,
    )


def state_message(state: State) -> pb.AgreementState.ValueType:
    """A state as the wire's enumeration."""
    return pb.AgreementState.Value(f"AGREEMENT_STATE_{state.name}")


def _draft(request: pb.DraftAgreementRequest) -> Draft:
    try:
        return Draft(
            reference=request.site_name,
            curator=request.curator,
            modes=tuple(_mode(name) for name in request.modes),
            scope=CheckedScope(
                description=request.scope,
                modalities=tuple(request.modalities),
                studies=request.studies or None,
                data_elements=tuple(request.data_elements),
                locations=tuple(request.locations),
            ),
            licence=request.licence,
            ethics_reference=request.ethics_reference,
            earlier_site_ids=tuple(_earlier_site_id(text) for text in request.earlier_site_ids),
            editions=request.editions,
            starts_at=from_timestamp(request.starts_at) if request.HasField("starts_at") else None,
            expires_at=from_timestamp(request.expires_at) if request.HasField("expires_at") else None,
        )
    except ValidationError as error:
        raise named(error) from None


def named(error: ValidationError) -> InvalidArgument:
    """The first thing that is wrong with a request, as a sentence."""
    first = error.errors()[0]
    problem = first["msg"].removeprefix("Value error, ")
    return InvalidArgument(name=str(first["loc"][0]), problem=problem[:1].lower() + problem[1:])


def _earlier_site_id(text: str) -> SiteId:
    try:
        return SiteId(text)
    except InvalidIdentifier:
        raise InvalidArgument(name="earlier_site_ids", problem="each is a SITEID, a number of six digits") from None


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise InvalidArgument(name="modes", problem="choose from " + ", ".join(Mode)) from None


def _former(version: "AgreementVersion") -> pb.FormerVersion:
    return pb.FormerVersion(
        version=version.version,
        terms=version.terms.encode(),
        consent=to_signed(version.consent),
        execution=to_signed(version.execution),
    )
