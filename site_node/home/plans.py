"""Plans of federated runs that came to this site: what was decided on each and by whom, and every answer.

Each decision and each answer is an event of the home's audit, in the same transaction. What leaves is entered before it
leaves: after a kill in between the audit says more than left, never less.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from shared.counts import counted
from shared.errors.console import ChangedMeanwhile
from shared.errors.inputs import NotFound
from shared.federation.privacy import Charge
from shared.frozen import Frozen
from shared.ids import RunId, StudyKey
from site_node.home.database import transaction
from site_node.home.words import NO_STUDY

PROGRAM = "ricord-site"  # in the audit, where no person decides
_STOP, _ALLOW = "federate-stop", "federate-allow"


class PlanState(StrEnum):
    """What was decided on a plan."""

    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"
    BY_POLICY = "allowed by policy"


_SPEND = "insert into privacy values (?, ?, ?, ?, ?, ?) on conflict do update set steps = steps + excluded.steps"


class KeptPlan(NamedTuple):
    """A plan as it came, signed, and what was decided on it; `reason` is that of the decision."""

    run: RunId
    document: str
    state: PlanState
    label: str  # that is learned; empty where nothing is
    seen_at: datetime
    expires_at: datetime
    reason: str

    @property
    def is_open(self) -> bool:
        """Whether it is good still."""
        return self.expires_at > datetime.now(UTC)


class Answered(NamedTuple):
    """What was answered to the messages of one run: `sent` says of which kinds and how many, `refused` why not.

    Without a `run` the messages had no plan of the coordinator.
    """

    run: RunId | None
    first_at: datetime
    last_at: datetime
    answers: int
    bytes: int
    sent: str
    refused: str


class Spent(Frozen):
    """What a run has cost of the privacy budget of a label."""

    run: RunId
    label: str
    charge: Charge


class Decisions(Frozen):
    """What is decided on the plans that are good still: by persons, and how much of the policy's month is used."""

    stopped: bool = False  # a person lets nothing be answered
    approved: tuple[RunId, ...] = ()
    declined: dict[RunId, str] = Field(default_factory=dict)  # with the reason, which the coordinator is told
    begun: dict[str, tuple[RunId, ...]] = Field(default_factory=dict)  # trainings of this calendar month (UTC) by label
    spent: tuple[Spent, ...] = ()  # by every private run there ever was


class Plans:
    """The tables `plans` and `answers`, on the ledger's connection; `audit` appends an event and returns its number."""

    def __init__(self, db: sqlite3.Connection, audit: Callable[[str, str, StudyKey, str], int]) -> None:
        self._db = db
        self._audit = audit

    def all(self, *states: PlanState) -> tuple[KeptPlan, ...]:
        """The plans, or those in `states`, the newest first."""
        rows = self._db.execute("select * from plans order by seen_at desc, run")
        return tuple(plan for plan in map(_plan, rows) if not states or plan.state in states)

    def decisions(self) -> Decisions:
        """What is decided now."""
        now = datetime.now(UTC)
        begun: dict[str, tuple[RunId, ...]] = {}
        month = "select run, label from plans where label <> '' and state <> ? and seen_at like ?"
        for run, label in self._db.execute(month, (PlanState.DECLINED, f"{now:%Y-%m}-%")):
            begun[label] = (*begun.get(label, ()), RunId(run))
        decided = self._db.execute(
            "select run, state, reason from plans where state in (?, ?) and expires_at > ?",
            (PlanState.APPROVED, PlanState.DECLINED, now.isoformat()),
        ).fetchall()
        return Decisions(
            stopped=self.is_stopped(),
            approved=tuple(RunId(run) for run, state, _ in decided if state == PlanState.APPROVED),
            declined={RunId(run): reason for run, state, reason in decided if state == PlanState.DECLINED},
            begun=begun,
            spent=self.spent(),
        )

    def spent(self) -> tuple[Spent, ...]:
        """What private runs have cost, run by run."""
        rows = self._db.execute("select run, label, noise, batches, steps, epsilon from privacy order by run")
        return tuple(
            Spent(
                run=RunId(run),
                label=label,
                charge=Charge(noise_multiplier=noise, batches=batches, steps=steps, epsilon=epsilon),
            )
            for run, label, noise, batches, steps, epsilon in rows
        )

    def enter(
        self, run: RunId, document: str, state: PlanState, *, label: str, expires_at: datetime, about: str
    ) -> None:
        """Enter a plan when it comes first, as one to decide on or as the policy decided; later calls do nothing."""
        with transaction(self._db):
            row = (run, document, state, label, _now(), expires_at.astimezone(UTC).isoformat(), "")
            if self._db.execute("insert or ignore into plans values (?, ?, ?, ?, ?, ?, ?)", row).rowcount:
                action = "federate-pending" if state is PlanState.PENDING else "federate-policy"
                self._audit(PROGRAM, action, NO_STUDY, f"{run}: {about}")

    def decide(self, run: RunId, state: PlanState, *, actor: str, reason: str, seen: PlanState | None = None) -> None:
        """Let a person decide on a plan, anew perhaps; raises `NotFound`.

        Raises `ChangedMeanwhile` where it is not in the state in which that person has `seen` it.
        """
        with transaction(self._db):
            held = self._db.execute("select state from plans where run = ?", (run,)).fetchone()
            if held is not None and seen is not None and held[0] != seen:
                raise ChangedMeanwhile
            changed = self._db.execute("update plans set state = ?, reason = ? where run = ?", (state, reason, run))
            if not changed.rowcount:
                raise NotFound(kind="plan of the run", name=run)
            action = "federate-approve" if state is PlanState.APPROVED else "federate-decline"
            self._audit(actor, action, NO_STUDY, f"{run}: {reason}")

    def enter_answer(self, run: RunId, what: str, size: int, spent: Spent | None = None) -> None:
        """Enter an answer that is about to leave, and what it costs of a privacy budget."""
        with transaction(self._db):
            event = self._audit(PROGRAM, "federate-answer", NO_STUDY, f"{run}: {what}, {counted(size, 'byte')}")
            self._db.execute("insert into answers values (?, ?, ?, ?, ?, '')", (event, run, _now(), what, size))
            if spent is not None:
                charge = spent.charge
                row = (run, spent.label, charge.noise_multiplier, charge.batches, charge.steps, charge.epsilon)
                self._db.execute(_SPEND, row)

    def enter_refusal(self, run: RunId | None, reason: str) -> None:
        """Enter why nothing left; the same reason for the same run is entered once."""
        name = run or ""
        with transaction(self._db):
            known = self._db.execute("select 1 from answers where run = ? and refused = ?", (name, reason)).fetchone()
            if known is None:
                event = self._audit(PROGRAM, "federate-refuse", NO_STUDY, f"{name or 'no plan'}: {reason}")
                self._db.execute("insert into answers values (?, ?, ?, '', 0, ?)", (event, name, _now(), reason))

    def history(self) -> tuple[Answered, ...]:
        """What was answered, run by run, the latest first."""
        rows = self._db.execute(
            "select run, min(at) as first, max(at) as last, sum(refused = '') as answers, sum(size) as bytes,"
            " (select group_concat(what || ' ' || times, ', ') from (select what, count(*) as times from answers as b"
            " where b.run = a.run and refused = '' group by what)) as sent,"
            " group_concat(nullif(refused, ''), '; ') as refused from answers as a group by run order by max(at) desc"
        )
        return tuple(
            Answered(
                RunId(row["run"]) if row["run"] else None,
                datetime.fromisoformat(row["first"]),
                datetime.fromisoformat(row["last"]),
                row["answers"],
                row["bytes"],
                row["sent"] or "",
                row["refused"] or "",
            )
            for row in rows
        )

    def is_stopped(self) -> bool:
        """Whether a person lets nothing be answered."""
        row = self._db.execute("select 1 from meta where name = ?", (_STOP,)).fetchone()
        return row is not None

    def stop(self, actor: str, reason: str) -> None:
        """Let nothing be answered from now on."""
        with transaction(self._db):
            self._db.execute("insert or replace into meta values (?, ?)", (_STOP, b""))
            self._audit(actor, _STOP, NO_STUDY, reason)

    def allow(self, actor: str, reason: str) -> None:
        """Let what policy and persons allow be answered again."""
        with transaction(self._db):
            self._db.execute("delete from meta where name = ?", (_STOP,))
            self._audit(actor, _ALLOW, NO_STUDY, reason)


def _plan(row: sqlite3.Row) -> KeptPlan:
    run, document, state, label, seen, expires, reason = tuple(row)
    times = datetime.fromisoformat(seen), datetime.fromisoformat(expires)
    return KeptPlan(RunId(run), document, PlanState(state), label, *times, reason)


def _now() -> str:
    return datetime.now(UTC).isoformat()
