"""What a researcher signed: their request, confirmed by the key that they registered and by their certificate's.

The signed request travels in the plan, so that each site sees who asked for what, and need not take the coordinator's
word for it: the certificate leads to the root that the site holds.
"""

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from shared.crypto import pki
from shared.crypto.pki import Role
from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import PlanInvalid
from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import SignatureInvalid
from shared.federation.plan import Plan, PlanRequest, Proposal, check_request
from shared.signed import Signed

_WHAT = "the researcher's request"
_KEPT = frozenset(PlanRequest.model_fields) & frozenset(Plan.model_fields) - {"format", "sites"}  # as they were asked


def propose(request: PlanRequest, *, key: SigningKey, tls: EllipticCurvePrivateKey, certificate: bytes) -> Proposal:
    """Sign a request that names its researcher and its run; `certificate` (PEM) is that of the key `tls`."""
    signed = Signed.by(key, request)
    return Proposal(
        signed=signed,
        verify_key=key.public.text,
        certificate=certificate.decode(),
        endorsement=pki.endorse(tls, signed.document.encode()),
    )


def verify_proposal(proposal: Proposal, root: bytes, now: datetime) -> PlanRequest:
    """The request, once both keys confirm it and a certificate of `root` (PEM), good at `now`, names its researcher.

    Whether it was revoked only the coordinator knows. Raises `SignatureInvalid`, `CertificateForeign`,
    `CertificateExpired`, or `PlanInvalid` for a request that contradicts itself or says not what it is for.
    """
    try:
        key = VerifyKey.parse(proposal.verify_key)
    except InvalidIdentifier as error:
        raise SignatureInvalid(what=_WHAT) from error
    request = proposal.signed.verified(key, PlanRequest, what=_WHAT)
    certificate = proposal.certificate.encode()
    peer = pki.check_certificate(certificate, root, now=now)
    if (peer.role, peer.name) != (Role.RESEARCHER, request.researcher):
        raise SignatureInvalid(f"the certificate is {peer.uri}'s", what=_WHAT)
    pki.check_endorsement(certificate, proposal.signed.document.encode(), proposal.endorsement, what=_WHAT)
    if request.run is None or not request.aim.strip():
        raise PlanInvalid(problem="a researcher says in one sentence what it is for (`aim`)")
    check_request(request)
    return request


def check_asked(plan: Plan, root: Path) -> None:
    """Raise as `verify_proposal` does, or `PlanInvalid`, unless a researcher's plan is what they signed.

    `root` is a PEM file.
    """
    if plan.proposal is None:
        return
    request = verify_proposal(plan.proposal, root.read_bytes(), plan.created_at)
    same = all(getattr(plan, name) == getattr(request, name) for name in _KEPT)
    asked = request.evaluation and request.evaluation.run
    if (
        not same
        or asked != (plan.evaluated and plan.evaluated.run)
        or (request.sites and {*request.sites} != {*plan.roster})
    ):
        raise PlanInvalid(problem="it is not what its researcher signed")
