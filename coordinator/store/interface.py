"""What the coordinator may ask of its store.

Work is done in transactions, whole or not at all. `begin` is for changes and runs alone; `read` sees one
consistent state. Every implementation is held to the same laws (tests/unit/coordinator/store/test_store_laws.py).
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from coordinator.store.audit_chain import AuditEvent
from coordinator.store.locks import Locks
from coordinator.store.records import (
    Agreement,
    AgreementVersion,
    Certificate,
    Cohort,
    Edition,
    ListedSubmission,
    Member,
    Node,
    PooledCounts,
    Presence,
    Rotation,
    Run,
    RunState,
    SequenceFault,
    Site,
    SiteTally,
    Submission,
    SubmissionTally,
    TokenRow,
    Unfinished,
    Upload,
    Withdrawal,
)
from coordinator.store.references import Kind
from coordinator.store.signals import Signals
from shared.federation.plan import Purpose
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.merkle import Subtree


class Reading(Protocol):
    """A read-only transaction. A lookup that finds nothing returns `None`."""

    def named(
        self, kind: Kind, reference: str, *, curator: str | None = None, asker: str | None = None
    ) -> tuple[str | None, int]:
        """The rows of a kind that have this name, else those that have one that begins so: a key, and how many.

        With a `curator`, of the submissions sealed to that one; with an `asker`, of the runs and cohorts of that one.
        See `references.resolve`.
        """

    def site(self, reference: str) -> Site | None:
        """A site by its name or SITEID."""

    def sites(self, *, after: str = "", limit: int | None = None) -> Sequence[Site]:
        """Every site by name, or `limit` at most after a name."""

    def agreement(self, agreement_id: AgreementId) -> Agreement | None:
        """An agreement by its id."""

    def agreement_version(self, agreement_id: AgreementId, version: int) -> AgreementVersion | None:
        """A version that another one replaced."""

    def agreements(
        self, *, sealed_to: str | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[Agreement]:
        """Every agreement by site name, or `limit` at most after a name.

        With `sealed_to`, those that were executed and by whose terms sites seal to that curator.
        """

    def token(self, digest: Sha256) -> TokenRow | None:
        """A token by the digest of its secret."""

    def tokens(self, *, subject: str | None = None, after: str = "", limit: int | None = None) -> Sequence[TokenRow]:
        """Every token by digest, or a subject's, or `limit` at most after a digest."""

    def certificate(self, serial: str) -> Certificate | None:
        """An issued certificate by its serial number."""

    def certificates(self, role: str, name: str) -> Sequence[Certificate]:
        """A member's certificates, the one that ends last first."""

    def certificates_end(self, role: str) -> Mapping[str, datetime]:
        """By each member's name, when the last of its certificates ends that are not revoked."""

    def membership(self) -> int:
        """How often a site, an agreement, a certificate or a node changed."""

    def member(self, role: str, name: str) -> Member | None:
        """A curator or researcher by name."""

    def is_curators(self, recipient: str) -> bool:
        """Whether a curator has, or had, that age recipient."""

    def rotations(self, name: str) -> Sequence[Rotation]:
        """The keys that a curator gave up, the oldest first."""

    def submission(self, submission_id: Sha256) -> Submission | None:
        """A received study by its id."""

    def submissions(
        self, site_id: SiteId | None = None, *, after: int = 0, limit: int | None = None
    ) -> Sequence[Submission]:
        """Received studies in the order of their arrival, of one site or all: `limit` at most, after a number."""

    def listed_submissions(
        self, *, site_id: SiteId | None, curator: str | None, after: int, limit: int, by_change: bool = False
    ) -> Sequence[ListedSubmission]:
        """As `submissions`, unchecked, of one curator's when it is named.

        With `by_change` in the order of their last change, and after the number of such a change.
        """

    def sequence_faults(self, site_id: SiteId | None, *, after: tuple[str, int], limit: int) -> Sequence[SequenceFault]:
        """The faults of a site or of all, in the order of site and number: `limit` at most, after a site's number."""

    def submission_tally(self) -> Sequence[SubmissionTally]:
        """How many submissions there are by site and state, and their sealed bytes."""

    def received_between(self, since: datetime, until: datetime) -> Sequence[SiteTally]:
        """What each site's submissions that were received from `since` until before `until` come to, by SITEID."""

    def missing_numbers(self) -> Mapping[str, int]:
        """By SITEID, how many sequence numbers below the highest that arrived did not."""

    def run_tally(self) -> Mapping[RunState, int]:
        """How many runs there are by state."""

    def has_study(self, agreement: AgreementId, study: Uid) -> bool:
        """Whether a submission of the study was received under the agreement."""

    def study_count(self, agreement: AgreementId) -> int:
        """How many different studies were received under the agreement."""

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEvent]:
        """Audit events numbered above `after`, in order, at most `limit`; raises `AuditBroken` where a row is none."""

    def log_size(self) -> int:
        """How many audit events there are."""

    def tree_hashes(self, subtrees: Collection[Subtree]) -> Mapping[Subtree, bytes]:
        """Hashes of whole subtrees of the tree over the events; raises `AuditBroken` where something is missing."""

    def withdrawals(
        self,
        *,
        site_id: str | None = None,
        study: Uid | None = None,
        curator: str | None = None,
        unfinished: Unfinished | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Sequence[Withdrawal]:
        """Withdrawals by number, of those that are named: `limit` at most, after a number.

        `unfinished` names those without a receipt of deletion, or without the curator's statement.
        """

    def uploads(self, site_id: SiteId | None = None, *, before: datetime | None = None) -> Sequence[Upload]:
        """Unfinished uploads by name: of one site, last continued before a moment, or both."""

    def presence(self, site_id: SiteId) -> Presence | None:
        """The latest report of a site's node."""

    def editions(self) -> Sequence[Edition]:
        """Every edition of the protocol that is known here, the one noted first at the beginning."""

    def edition(self, digest: Sha256) -> Edition | None:
        """An edition by the digest of its data."""

    def nodes(self) -> Sequence[Node]:
        """Every registered node, by SITEID."""

    def node_with(self, public_key: str) -> Node | None:
        """The node that registered a key."""

    def run(self, run_id: str) -> Run | None:
        """A federated run by its id."""

    def runs(
        self,
        *states: RunState,
        purpose: Purpose | None = None,
        actor: str | None = None,
        after: Run | None = None,
        limit: int | None = None,
    ) -> Sequence[Run]:
        """The runs in one of `states`, of every state when none is named; the oldest first, `limit` after a run.

        With an `actor`, those that this one asked for.
        """

    def cohort(self, run_id: str) -> Cohort | None:
        """A released table by the id of its run."""

    def pooled_counts(self, name: str) -> Sequence[PooledCounts]:
        """What each released table of the cohort of that name was made from."""

    def cohorts(self, *, asker: str | None = None) -> Sequence[Cohort]:
        """Every released table, the oldest first; with an `asker`, those of that one's runs."""


class Work(Reading, Protocol):
    """A transaction that reads and writes."""

    def put_site(self, site: Site) -> None:
        """Add a site or replace the one of that name."""

    def reserve_site_id(self, site_id: SiteId) -> bool:
        """Mark a SITEID as issued, for ever; `False` when it already was."""

    def put_agreement(self, agreement: Agreement) -> None:
        """Add an agreement or replace the one of that id."""

    def add_agreement_version(self, version: AgreementVersion) -> None:
        """Keep a version that another one replaces."""

    def add_token(self, token: TokenRow) -> None:
        """Add a token by its digest."""

    def use_token(self, digest: Sha256, at: datetime) -> bool:
        """Mark a token as used; `False` when it already was or does not exist."""

    def cancel_tokens(self, role: str, subject: str, at: datetime) -> int:
        """Revoke every token that was not used; returns how many could have been used until then."""

    def cancel_token(self, digest: Sha256, at: datetime) -> bool:
        """Revoke a token that was not used; `False` when it could not be used."""

    def add_certificate(self, certificate: Certificate) -> None:
        """Add an issued certificate by its serial number."""

    def revoke(self, role: str, name: str, at: datetime) -> int:
        """Revoke every certificate of a member; returns how many were not revoked before."""

    def put_member(self, member: Member) -> None:
        """Add a curator or researcher or replace the one of that name."""

    def add_rotation(self, rotation: Rotation) -> None:
        """Add the keys that a curator gives up."""

    def add_submission(self, submission: Submission) -> bool:
        """Add a received study; `False`, and nothing changed, when its id is already there."""

    def put_submission(self, submission: Submission) -> None:
        """Add a received study or replace the one of that id."""

    def append_event(self, *, at: datetime, actor: str, action: str, about: str, result: str = "done") -> AuditEvent:
        """Add the next link of the audit chain, and what it makes whole of the Merkle tree over it."""

    def note_refusal(self, caller: str, method: str, hour: datetime) -> bool:
        """Note that a caller was refused a method within the hour; `False` when that is noted already."""

    def put_withdrawal(self, withdrawal: Withdrawal) -> None:
        """Add a withdrawal or replace the one of that number."""

    def put_upload(self, upload: Upload) -> None:
        """Add an unfinished upload or replace the one of that name."""

    def delete_upload(self, name: Sha256) -> None:
        """Delete an unfinished upload; nothing happens when there is none."""

    def put_presence(self, presence: Presence) -> None:
        """Add a report or replace that site's last one."""

    def put_edition(self, edition: Edition) -> None:
        """Add an edition or replace the one of that digest."""

    def put_node(self, node: Node) -> None:
        """Add a site's node or replace it."""

    def delete_node(self, site_id: str) -> None:
        """Delete a site's node; nothing happens when there is none."""

    def put_run(self, run: Run) -> None:
        """Add a run or replace the one of that id."""

    def add_cohort(self, cohort: Cohort) -> None:
        """Add a released table by the id of its run."""

    def add_pooled_counts(self, pooled: PooledCounts) -> None:
        """Add what a released table was made from."""


class Store(Protocol):
    """A store on which any thread can open transactions."""

    def begin(self, *, passing: bool = False, synced: bool = True) -> AbstractContextManager[Work]:
        """A transaction for changes: committed at the end of the block, rolled back when it raises.

        One that is `passing` need not run alone, nor outlast a power cut: it writes a row that the next one replaces.
        Without `synced` it runs alone and outlasts a kill, but may be lost with the power until a later one is synced.
        """

    def read(self) -> AbstractContextManager[Reading]:
        """A transaction that only reads."""

    @property
    def is_shared(self) -> bool:
        """Whether coordinators on several hosts may serve from it."""

    @property
    def locks(self) -> Locks:
        """Locks shared by all who use the database."""

    @property
    def signals(self) -> Signals:
        """Words to all who use the database."""

    def close(self) -> None:
        """Close every connection."""
