"""The rows of the store as frozen records."""

from shared.agreement import Moment, State
from shared.frozen import Frozen
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.signed import Signed
from shared.token import TokenKind


class Site(Frozen):
    """A hospital, from its invitation on. The signature sets `verify_key`, the execution `site_id`."""

    name: str
    agreement: AgreementId
    site_id: SiteId | None = None
    verify_key: str | None = None  # OpenSSH line
    recorded_at: Moment
    enrolled_at: Moment | None = None


class Agreement(Frozen):
    """An agreement in its present state. `terms` is canonical JSON of `AgreementTerms`."""

    id: AgreementId
    site_name: str
    state: State
    version: int = 0
    terms: str | None = None
    consent: Signed | None = None
    execution: Signed | None = None
    expires_at: Moment | None = None
    changed_at: Moment


class TokenRow(Frozen):
    """A token, stored by the digest of its secret."""

    digest: Sha256
    kind: TokenKind
    role: str
    subject: str  # site name, or the curator's or researcher's name
    expires_at: Moment
    used_at: Moment | None = None


class Certificate(Frozen):
    """An issued client certificate."""

    serial: str  # lower-case hexadecimal
    role: str
    name: str
    ends_at: Moment
    revoked_at: Moment | None = None


class Member(Frozen):
    """A curator or researcher who enrolled, and the keys registered then."""

    role: str
    name: str
    verify_key: str
    recipient: str | None = None
    enrolled_at: Moment


class Submission(Frozen):
    """A sealed study that was received whole. `id` is the digest of its idempotency key."""

    id: Sha256
    site_id: SiteId
    contents_sha256: Sha256
    agreement: AgreementId
    agreement_version: int
    study: Uid
    sequence: int
    ciphertext_sha256: Sha256
    ciphertext_size: int
    manifest: Signed
    receipt: Signed
    received_at: Moment


class Document(Frozen):
    """A named JSON document of a service that has its own formats (cohorts, federated runs, nodes)."""

    kind: str
    name: str
    state: str
    body: str  # JSON
    changed_at: Moment
