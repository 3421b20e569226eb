"""The rows of the store as frozen records."""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from shared.agreement import Moment, State
from shared.editions import ProtocolEdition
from shared.federation.plan import Plan
from shared.frozen import LARGEST_NUMBER, Frozen
from shared.ids import AgreementId, RunId, Sha256, SiteId, Uid
from shared.signed import Signed
from shared.submission_state import SubmissionState
from shared.survey import SurveyAnswer
from shared.token import TokenKind

Number = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]  # that a column of eight bytes holds


class Site(Frozen):
    """A hospital, from its interest or invitation on. The signature sets `verify_key`, the execution `site_id`."""

    name: str
    agreement: AgreementId
    site_id: SiteId | None = None
    verify_key: str | None = None  # OpenSSH line
    recorded_at: Moment
    enrolled_at: Moment | None = None
    survey: SurveyAnswer | None = None


class Amendment(Frozen):
    """The next version of an agreement: it replaces the one in force once both sides have signed it."""

    version: int
    terms: str
    consent: Signed | None = None


class Agreement(Frozen):
    """An agreement in its present state. `terms` is canonical JSON of `AgreementTerms`, `curator` whom they name.

    `attachment` is the digest of a document that the parties signed besides, which is kept elsewhere.
    """

    id: AgreementId
    site_name: str
    state: State
    version: int = 0
    terms: str | None = None
    consent: Signed | None = None
    execution: Signed | None = None
    expires_at: Moment | None = None
    changed_at: Moment
    amendment: Amendment | None = None
    attachment: Sha256 | None = None
    curator: str | None = None


class AgreementVersion(Frozen):
    """A version of an agreement that was in force until a later one replaced it."""

    agreement: AgreementId
    version: int
    terms: str
    consent: Signed
    execution: Signed
    attachment: Sha256 | None = None


class TokenRow(Frozen):
    """A token, stored by the digest of its secret."""

    digest: Sha256
    kind: TokenKind
    role: str
    subject: str  # site name, or the curator's or researcher's name
    expires_at: Moment
    used_at: Moment | None = None
    revoked_at: Moment | None = None  # it expired then


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
    statement: Signed | None = None  # the enrolment by which a curator signed its recipient
    enrolled_at: Moment


class Rotation(Frozen):
    """Keys that a curator gave up, and the document in which they name the next ones."""

    name: str
    verify_key: str
    recipient: str
    signed: Signed
    rotated_at: Moment


class Submission(Frozen):
    """A sealed study that was received whole. `id` is the digest of its idempotency key.

    `number` is that of the audit event of its arrival, `changed` that of the last event that changed its state;
    `curator` is whom it is sealed to, and whose `decision` set the state.
    """

    id: Sha256
    number: int
    curator: str
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
    state: SubmissionState = SubmissionState.RECEIVED
    decision: Signed | None = None
    changed: int


class ListedSubmission(NamedTuple):
    """A row of a list, as the database gave it: nothing in it is checked, so that a bad row hides no other."""

    number: int
    id: str
    site_id: str
    study: str
    agreement: str
    agreement_version: int
    sequence: int
    contents_sha256: str
    ciphertext_sha256: str
    ciphertext_size: int
    received_at: datetime
    state: str
    changed: int
    manifest: str  # JSON of `Signed`
    decision: str | None  # JSON of `Signed`


class SiteTally(NamedTuple):
    """How many submissions of a site were received in some time, and the bytes of their ciphertexts."""

    site_id: str
    submissions: int
    bytes: int


class SubmissionTally(NamedTuple):
    """How many submissions of a site are in a state, and the bytes of their ciphertexts."""

    site_id: str
    state: str
    submissions: int
    bytes: int


class SequenceFault(NamedTuple):
    """A sequence number that came several times, or before which numbers of its site did not arrive."""

    site_id: str
    sequence: int
    times: int
    previous: int  # the next lower number that arrived; 0 before the first

    @property
    def follows_gap(self) -> bool:
        """Whether the numbers between `previous` and this one did not arrive."""
        return self.sequence - self.previous > 1


Unfinished = Literal["deletion", "purge"]


class Withdrawal(Frozen):
    """A tombstone, kept for good: what was withdrawn, by which side, and what became of ciphertext and copies.

    `number` is that of the audit event; `by` the role of who withdrew; `ciphertext` its name in the store of them.
    """

    number: int
    submission: Sha256
    site_id: SiteId
    study: Uid
    curator: str
    by: str
    instances: tuple[Uid, ...]  # none: the whole submission
    ciphertext: Sha256
    withdrawn_at: Moment
    deletion: Signed | None = None  # a `Deletion`, once the ciphertext is deleted
    purge: Signed | None = None  # a `Purge`, once the curator has said that its copies are
    allowed_at: Moment | None = None  # since when the study may be received again


class Upload(Frozen):
    """An unfinished upload: whose the partial file `name` is, and when the site last went on with it."""

    name: Sha256
    site_id: SiteId
    continued_at: Moment


class Edition(ProtocolEdition):
    """An edition of the protocol that was installed here, or named to be accepted until a moment."""

    noted_at: Moment
    accepted_until: Moment | None = None  # of no meaning while it is the one installed


class Node(Frozen):
    """A site's registered Flower node key."""

    site_id: SiteId
    public_key: str  # PEM, SubjectPublicKeyInfo, P-384
    registered_at: Moment


class Presence(Frozen):
    """The latest report of a site's node: whole studies by place, its queue, free disk and certificate's end."""

    site_id: SiteId
    reported_at: Moment
    version: str = Field(pattern=r"^[0-9A-Za-z.+!_-]{1,40}$")
    received: Number
    waiting: Number
    quarantined: Number
    excluded: Number
    refused: Number
    submitted: Number
    queued: Number  # of those that wait, sealed and to be sent
    free_bytes: Number
    certificate_ends_at: Moment


RunState = Literal["proposed", "declined", "pending", "running", "stopping", "done", "failed"]


class Run(Frozen):
    """A federated run. `signed` is the plan as it travels; `result` is canonical JSON, empty until there is one.

    One that a researcher proposed has a draft of its plan, and nothing is signed until an operator approves it.
    `actor` asked for it. `progress` says what a running one does or waits for, `problem` why it ends or ended.
    """

    id: RunId
    state: RunState
    plan: Plan
    signed: str
    actor: str
    created_at: Moment
    started_at: Moment | None = None
    ended_at: Moment | None = None
    result: str = ""
    problem: str = ""
    progress: str = ""


class PooledCounts(Frozen):
    """What a released cohort table was made from; never released. `id` is the table's."""

    id: RunId
    name: str  # of the cohort's definition
    sites: tuple[SiteId, ...]  # whose counts are in it, ascending
    counts: dict[str, int] = Field(repr=False)  # of every cell, in the definition's order
    seed: str = Field(repr=False)  # hexadecimal: what chooses the cells that are hidden, one for all tables of a name


class Cohort(Frozen):
    """A released cohort table. `id` is its run's; `table` is canonical JSON of `ReleasedTable`."""

    id: RunId
    name: str  # of the cohort's definition
    policy: str
    site_count: int
    computed_at: Moment
    table_sha256: Sha256
    table: str
