"""Newcomers and members on the wire; each method is one call of a service."""

from typing import TYPE_CHECKING

import grpc
from pydantic import ValidationError

from coordinator.agreements.servicer import agreement_message, named, state_message
from coordinator.enrolment.issued_tokens import IssuedTokens
from coordinator.enrolment.members import MemberService, SiteView
from coordinator.enrolment.service import EnrolmentService
from coordinator.home.identity import Identity, utc_now
from coordinator.presence.servicer import contact_message
from coordinator.trust.interceptor import peer_of, peer_serial, uri_of
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import agreement_pb2, enrolment_pb2, membership_pb2, site_pb2
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceServicer
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceServicer
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceServicer
from shared.survey import SurveyAnswer
from shared.wire import from_signed, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import Agreement, TokenRow


class EnrolmentServicer(EnrolmentServiceServicer):
    """The enrolment port: callers show a token."""

    def __init__(self, service: EnrolmentService, identity: Identity) -> None:
        self._service = service
        self._identity = identity

    def ReadAgreement(
        self, request: enrolment_pb2.ReadAgreementRequest, context: grpc.ServicerContext
    ) -> enrolment_pb2.ReadAgreementResponse:
        """Terms and text."""
        terms, text = self._service.read_agreement(request.token_secret)
        return enrolment_pb2.ReadAgreementResponse(terms=canonical_json(terms), text=text)

    def SignAgreement(
        self, request: enrolment_pb2.SignAgreementRequest, context: grpc.ServicerContext
    ) -> enrolment_pb2.SignAgreementResponse:
        """The site's consent."""
        signed = self._service.sign_agreement(request.token_secret, from_signed(request.consent), request.verify_key)
        return enrolment_pb2.SignAgreementResponse(agreement=_own(signed, None))

    def Enrol(self, request: enrolment_pb2.EnrolRequest, context: grpc.ServicerContext) -> enrolment_pb2.EnrolResponse:
        """A certificate for a join token."""
        enrolled = self._service.enrol(
            request.token_secret, request.csr, from_signed(request.enrolment), request.verify_key
        )
        return enrolment_pb2.EnrolResponse(
            role=enrolled.role,
            name=enrolled.name,
            certificate=enrolled.certificate,
            root=self._identity.root,
            coordinator_verify_key=self._identity.signing_key.public.text,
            protocol_digest=self._identity.protocol_digest,
            agreement=_own(enrolled.agreement, enrolled.site_id),
        )


class MembershipServicer(MembershipServiceServicer):
    """What a member asks about itself."""

    def __init__(self, service: EnrolmentService, identity: Identity) -> None:
        self._service = service
        self._identity = identity

    def RenewCertificate(
        self, request: membership_pb2.RenewCertificateRequest, context: grpc.ServicerContext
    ) -> membership_pb2.RenewCertificateResponse:
        """Another certificate."""
        peer = peer_of(context)
        signed, serial = from_signed(request.enrolment), peer_serial(context)
        certificate = self._service.renew(peer.role, peer.name, request.csr, signed, serial=serial)
        return membership_pb2.RenewCertificateResponse(certificate=certificate, root=self._identity.root)

    def RotateKeys(
        self, request: membership_pb2.RotateKeysRequest, context: grpc.ServicerContext
    ) -> membership_pb2.RotateKeysResponse:
        """A curator's next keys."""
        self._service.rotate(peer_of(context).name, from_signed(request.rotation), from_signed(request.statement))
        return membership_pb2.RotateKeysResponse()

    def GetMembership(
        self, request: membership_pb2.GetMembershipRequest, context: grpc.ServicerContext
    ) -> membership_pb2.GetMembershipResponse:
        """The caller's role, name and agreement."""
        peer = peer_of(context)
        agreement = self._service.membership(peer.role, peer.name)
        return membership_pb2.GetMembershipResponse(
            role=peer.role,
            name=peer.name,
            protocol_digest=self._identity.protocol_digest,
            agreement=_own(agreement, SiteId(peer.name) if agreement else None),
        )

    def ReadAmendment(
        self, request: membership_pb2.ReadAmendmentRequest, context: grpc.ServicerContext
    ) -> membership_pb2.ReadAmendmentResponse:
        """Terms and text of the next version."""
        terms, text = self._service.read_amendment(SiteId(peer_of(context).name))
        return membership_pb2.ReadAmendmentResponse(terms=canonical_json(terms), text=text)

    def SignAmendment(
        self, request: membership_pb2.SignAmendmentRequest, context: grpc.ServicerContext
    ) -> membership_pb2.SignAmendmentResponse:
        """The site's consent to it."""
        site_id = SiteId(peer_of(context).name)
        signed = self._service.sign_amendment(site_id, from_signed(request.consent))
        return membership_pb2.SignAmendmentResponse(agreement=_own(signed, site_id))


class SiteServicer(SiteServiceServicer):
    """What coordinators do with sites and people."""

    def __init__(self, service: MemberService, tokens: IssuedTokens) -> None:
        self._service = service
        self._tokens = tokens

    def ImportSurvey(
        self, request: site_pb2.ImportSurveyRequest, context: grpc.ServicerContext
    ) -> site_pb2.ImportSurveyResponse:
        """Record who is interested."""
        answers = [_answer(number, answer) for number, answer in enumerate(request.answers, start=1)]
        recorded, replaced = self._service.import_survey(answers, actor=uri_of(context))
        return site_pb2.ImportSurveyResponse(recorded=recorded, replaced=replaced)

    def InviteSite(
        self, request: site_pb2.InviteSiteRequest, context: grpc.ServicerContext
    ) -> site_pb2.InviteSiteResponse:
        """Record and invite."""
        view, (token, ends) = self._service.invite(request.site_name, actor=uri_of(context))
        return site_pb2.InviteSiteResponse(site=_site(view), token=token.text, expires_at=to_timestamp(ends))

    def IssueJoinToken(
        self, request: site_pb2.IssueJoinTokenRequest, context: grpc.ServicerContext
    ) -> site_pb2.IssueJoinTokenResponse:
        """Let join."""
        role = _role(request.role)
        name = self._service.whole_name(role, request.name)
        token, ends = self._service.join_token(role, name, actor=uri_of(context))
        return site_pb2.IssueJoinTokenResponse(token=token.text, expires_at=to_timestamp(ends), name=name)

    def ListTokens(
        self, request: site_pb2.ListTokensRequest, context: grpc.ServicerContext
    ) -> site_pb2.ListTokensResponse:
        """A page of them."""
        rows, more = self._tokens.tokens(after=request.after, limit=request.limit)
        return site_pb2.ListTokensResponse(tokens=[_token(row) for row in rows], next=rows[-1].digest if more else "")

    def RevokeTokens(
        self, request: site_pb2.RevokeTokensRequest, context: grpc.ServicerContext
    ) -> site_pb2.RevokeTokensResponse:
        """At once."""
        revoked = self._tokens.revoke(request.reference, actor=uri_of(context))
        return site_pb2.RevokeTokensResponse(tokens=[_token(row) for row in revoked])

    def ListSites(
        self, request: site_pb2.ListSitesRequest, context: grpc.ServicerContext
    ) -> site_pb2.ListSitesResponse:
        """A page of them."""
        views, more = self._service.sites(after=request.after, limit=request.limit)
        return site_pb2.ListSitesResponse(
            sites=[_site(view) for view in views], next=views[-1].site.name if more else ""
        )

    def GetSite(self, request: site_pb2.GetSiteRequest, context: grpc.ServicerContext) -> site_pb2.GetSiteResponse:
        """One."""
        return site_pb2.GetSiteResponse(site=_site(self._service.site(request.reference)))

    def RevokeCertificates(
        self, request: site_pb2.RevokeCertificatesRequest, context: grpc.ServicerContext
    ) -> site_pb2.RevokeCertificatesResponse:
        """Of a member, at once."""
        role = _role(request.role)
        name = self._service.whole_name(role, request.name)
        revoked, cancelled = self._service.revoke(role, name, actor=uri_of(context))
        return site_pb2.RevokeCertificatesResponse(revoked=revoked, cancelled_tokens=cancelled, name=name)


def _own(agreement: "Agreement | None", site_id: SiteId | None) -> agreement_pb2.Agreement | None:
    """An agreement as its own site sees it."""
    if agreement is None:
        return None
    return agreement_message(agreement, {agreement.site_name: site_id} if site_id else {})


def _site(view: SiteView) -> site_pb2.Site:
    site = view.site
    return site_pb2.Site(
        name=site.name,
        site_id=site.site_id or "",
        agreement_id=site.agreement,
        state=state_message(view.state),
        verify_key=site.verify_key or "",
        fingerprint=VerifyKey(site.verify_key).fingerprint if site.verify_key else "",
        recorded_at=to_timestamp(site.recorded_at),
        enrolled_at=to_timestamp(site.enrolled_at) if site.enrolled_at else None,
        certificate_ends_at=to_timestamp(view.certificate_ends_at) if view.certificate_ends_at else None,
        contact=contact_message(view.contact) if view.contact else None,
        survey=site_pb2.SurveyAnswer(site_name=site.name, **site.survey.model_dump()) if site.survey else None,
    )


def _answer(number: int, answer: site_pb2.SurveyAnswer) -> tuple[str, SurveyAnswer]:
    try:
        return answer.site_name, SurveyAnswer.model_validate(
            {
                "country": answer.country,
                "modalities": tuple(answer.modalities),
                "studies": answer.studies,
                "modes": tuple(answer.modes),
                "clinical_data": answer.clinical_data,
                "ethics": answer.ethics,
            }
        )
    except ValidationError as error:
        field = named(error).fields
        raise InvalidArgument(name=f"Answer {number}", problem=f"{field['name']}: {field['problem']}") from None


def _token(row: "TokenRow") -> site_pb2.IssuedToken:
    over = "REVOKED" if row.revoked_at else "EXPIRED" if row.expires_at <= utc_now() else ""
    state = "USED" if row.used_at else over or "OPEN"
    return site_pb2.IssuedToken(
        digest=row.digest,
        kind=row.kind,
        role=row.role,
        subject=row.subject,
        state=site_pb2.TokenState.Value(f"TOKEN_STATE_{state}"),
        expires_at=to_timestamp(row.expires_at),
        used_at=to_timestamp(row.used_at) if row.used_at else None,
    )


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise InvalidArgument(name="role", problem="choose from " + ", ".join(Role)) from None
