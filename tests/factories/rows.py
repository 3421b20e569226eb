"""Rows for tests of the store and of what uses it."""

from datetime import UTC, datetime, timedelta

from coordinator.store.records import (
    Agreement,
    AgreementVersion,
    Amendment,
    Cohort,
    PooledCounts,
    Run,
    RunState,
    Site,
    Submission,
)
from shared.agreement import Mode, State
from shared.federation.plan import Member, Plan
from shared.federation.task import StatisticsTask, TrainingTask
from shared.ids import AgreementId, RunId, Sha256, SiteId, Uid
from shared.signed import Signed
from shared.survey import SurveyAnswer

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SITE_ID = SiteId("123456")
AGREEMENT = AgreementId("A-0123456789ab")


def make_site() -> Site:
    """A site with every field but the moment of its enrolment."""
    survey = SurveyAnswer(
        country="DE", modalities=("CT",), studies=9, modes=(Mode.SUBMIT,), clinical_data=True, ethics="applied"
    )
    return Site(name="Höspital", agreement=AGREEMENT, site_id=SITE_ID, verify_key="ssh", recorded_at=NOW, survey=survey)


def make_agreement(signed: Signed) -> Agreement:
    """Its agreement, in the middle of an amendment."""
    return Agreement(
        id=AGREEMENT,
        site_name="Höspital",
        state=State.SIGNED,
        version=2,
        consent=signed,
        changed_at=NOW,
        amendment=Amendment(version=3, terms="{}", consent=signed),
        attachment=Sha256("2" * 64),
    )


def make_replaced(signed: Signed) -> AgreementVersion:
    """The version before."""
    return AgreementVersion(agreement=AGREEMENT, version=1, terms="{}", consent=signed, execution=signed)


def make_submission(number: int, site_id: SiteId = SITE_ID) -> Submission:
    """A row that differs by `number`."""
    signed = Signed(document=f'{{"n":{number}}}', signature="c2ln")
    return Submission(
        id=Sha256(f"{number:064x}"),
        number=number,
        curator="curator",
        site_id=site_id,
        contents_sha256=Sha256(f"{number:064x}"),
        agreement=AGREEMENT,
        agreement_version=1,
        study=Uid(f"2.25.{number}"),
        sequence=number,
        ciphertext_sha256=Sha256("f" * 64),
        ciphertext_size=2**40,
        manifest=signed,
        receipt=signed,
        received_at=NOW,
        changed=number,
    )


def make_run(number: int, state: RunState = "pending") -> Run:
    """A run created `number` minutes after `NOW`: even ones train, odd ones count; it has begun unless pending."""
    sites = tuple(Member(site_id=SiteId(f"10000{n}"), fingerprint=f"SHA256:{n:043}") for n in range(3))
    at = NOW + timedelta(minutes=number)
    plan = Plan(
        run=RunId(f"R-{number:012x}"),
        purpose="statistics" if number % 2 else "training",
        protocol_digest=Sha256("0" * 64),
        sites=sites,
        minimum_sites=3,
        training=None if number % 2 else TrainingTask(learning_rate=0.1 + 0.2),
        statistics=StatisticsTask(cohort="ricord") if number % 2 else None,
        created_at=at,
        expires_at=at + timedelta(days=2),
    )
    return Run(
        id=plan.run,
        state=state,
        plan=plan,
        signed='{"document":"ü","signature":"c2ln"}',
        actor="coordinator/operator",
        created_at=at,
        started_at=None if state == "pending" else at.replace(microsecond=0),
        ended_at=at if state in ("done", "failed") else None,
        result='{"rounds":[]}' if state == "done" else "",
        problem="it was stopped" if state == "failed" else "",
    )


def make_pooled_counts(number: int) -> PooledCounts:
    """What the table of `make_cohort` was made from."""
    return PooledCounts(
        id=RunId(f"R-{number:012x}"), name="ricord", sites=(SITE_ID,), counts={"patients": number}, seed="5e" * 32
    )


def make_cohort(number: int) -> Cohort:
    """A table released `number` minutes after `NOW`; it is no more of a table than the store looks at."""
    return Cohort(
        id=RunId(f"R-{number:012x}"),
        name="ricord",
        policy="cms-11",
        site_count=3,
        computed_at=NOW + timedelta(minutes=number),
        table_sha256=Sha256("a" * 64),
        table='{"cells":[]}',
    )
