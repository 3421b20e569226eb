"""What a manifest claims, judged by the site's key, the agreement in force and what was received under it."""

from dataclasses import dataclass

from coordinator.agreements.lookup import terms_in_force
from coordinator.editions.accepted import check_edition
from coordinator.home.identity import Clock, Identity
from coordinator.store.interface import Reading
from coordinator.store.records import Site
from coordinator.trust.certificates import is_member_now
from shared.agreement import AgreementTerms, Mode
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors.agreements import AgreementSuperseded, StudyQuotaReached, SubmissionWithdrawn
from shared.errors.studies import ManifestInvalid
from shared.errors.trust import CertificateForeign, SignatureInvalid
from shared.ids import AgreementId, SiteId
from shared.manifest import Manifest
from shared.signed import Signed


@dataclass(frozen=True)
class Claims:
    """The rules by which a coordinator judges manifests; `largest` is the most bytes that a study may have."""

    identity: Identity
    now: Clock
    largest: int

    def verified(self, site: Site, signed: Signed) -> Manifest:
        """The manifest, after checking its signature; raises `SignatureInvalid`."""
        if site.verify_key is None:
            raise SignatureInvalid("no key registered", what="the manifest")
        return signed.verified(VerifyKey.parse(site.verify_key), Manifest, what="the manifest")

    def terms(self, reading: Reading, agreement: AgreementId) -> AgreementTerms:
        """The terms in force under an agreement.

        Raises `NotFound`, `AgreementNotExecuted`, `AgreementNotBegun`, `AgreementModeNotAllowed`.
        """
        return terms_in_force(reading, agreement, Mode.SUBMIT, self.now())

    def terms_of_member(self, reading: Reading, site_id: SiteId, agreement: AgreementId) -> AgreementTerms:
        """The same at the end of an upload, since when the certificate may have been revoked: `CertificateForeign`."""
        terms = self.terms(reading, agreement)
        if not is_member_now(reading, Role.SITE, site_id, self.now()):
            raise CertificateForeign("revoked during the upload", peer=f"site/{site_id}")
        return terms

    def check(self, reading: Reading, site_id: SiteId, manifest: Manifest, terms: AgreementTerms) -> None:
        """Raise unless a verified manifest fits the terms, which may have changed since it was last asked.

        Raises `AgreementSuperseded`, `ManifestInvalid`, `StudyQuotaReached`, `SubmissionWithdrawn`; what
        `check_edition` raises.
        """
        _check_not_withdrawn(reading, site_id, manifest)
        if manifest.agreement == terms.id and manifest.agreement_version < terms.version:
            raise AgreementSuperseded
        installed = self.identity.protocol
        check_edition(reading, manifest.protocol_digest, installed=installed, terms=terms, now=self.now())
        agreed = (site_id, terms.id, terms.version, terms.curator.recipient)
        claimed = (manifest.site_id, manifest.agreement, manifest.agreement_version, manifest.recipient)
        for what, claim, term in zip(
            ("site", "agreement", "agreement version", "recipient"), claimed, agreed, strict=True
        ):
            if claim != term:
                raise ManifestInvalid(problem=f"it names another {what} than the agreement in force")
        if manifest.ciphertext_size > self.largest:
            raise ManifestInvalid(problem=f"the study is larger than the {self.largest} bytes taken here")
        if not set(manifest.modalities) <= set(terms.scope.modalities):
            raise ManifestInvalid(problem="a modality is outside the agreement's scope")
        _check_quota(reading, terms, manifest)


def _check_not_withdrawn(reading: Reading, site_id: SiteId, manifest: Manifest) -> None:
    """Raise `SubmissionWithdrawn` for a withdrawn study; one of which images were may come with other contents."""
    for each in reading.withdrawals(site_id=site_id, study=manifest.study):
        if each.allowed_at is None and (not each.instances or each.submission == manifest.submission):
            raise SubmissionWithdrawn(study=manifest.study)


def _check_quota(reading: Reading, terms: AgreementTerms, manifest: Manifest) -> None:
    """Raise `StudyQuotaReached` for a new study beyond the agreement's number; one that came before may come again."""
    most = terms.scope.studies
    if most is None or reading.has_study(terms.id, manifest.study):
        return
    if reading.study_count(terms.id) >= most:
        raise StudyQuotaReached(studies=str(most))
