"""The plan of a federated run: what it may do and with whom, in canonical JSON, signed by the coordinator.

A plan travels with every message of its run, so a site can judge each message by itself. A person writes a
`PlanRequest`; the coordinator completes it to a `Plan` with a run id, the roster and its fingerprints, and signs that.
A researcher signs the request, too (`proposal.py`). `check_plan` refuses a plan that contradicts itself.
"""

import operator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import PlanInvalid
from shared.errors.trust import SignatureInvalid
from shared.federation.task import COMPARING, StatisticsTask, TrainingTask, model_rules
from shared.frozen import Frozen
from shared.ids import RunId, Sha256, SiteId
from shared.signed import Signed

LEAST_SITES = 3
MOST_SITES = 2**10  # of a masked training; see shared.federation.averaging
WAITING = timedelta(days=2)  # of a plan's life: for its turn, for sites that are absent, until a person resumes it

Purpose = Literal["statistics", "training", "evaluation"]
Which = Literal["best", "last"]  # of a training's models: best by the validation images
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
BEST, LAST, ALONE = "evaluate.best", "evaluate.last", "evaluate.alone"  # messages once a training has ended
TESTS = (BEST, LAST)


class EvaluationRequest(Frozen):
    """Which model a person asks about: of a run that is done, the best or the last one."""

    run: RunId
    model: Which = "best"


class EvaluationTask(Frozen):
    """A finished run's model, for sites that had no part in it, and how it was trained."""

    run: RunId
    round: int = Field(ge=1)
    sha256: Sha256  # of the checkpoint's file
    state_sha256: Sha256  # of the state that is sent to the sites
    threshold: float | None = None  # from the run's validation patients
    training: TrainingTask


class PlanRequest(Frozen):
    """What a person asks for. No sites: every site whose agreement covers the purpose.

    `researcher` and `run` are set when a researcher signs it: one signature is good for one run.
    """

    format: Literal["ricord-plan-request/1"] = "ricord-plan-request/1"
    purpose: Purpose
    aim: str = Field(default="", max_length=300, pattern=_ONE_LINE)  # what for, in a sentence
    researcher: str = Field(default="", max_length=63)  # the name in the certificate; empty: the operator asks
    run: RunId | None = None
    sites: tuple[SiteId, ...] = ()
    minimum_sites: int = Field(default=LEAST_SITES, ge=LEAST_SITES)
    training: TrainingTask | None = None
    statistics: StatisticsTask | None = None
    evaluation: EvaluationRequest | None = None
    timeout_seconds: int = Field(default=3600, ge=1, le=86400)  # for one round of answers

    @property
    def lifetime(self) -> timedelta:
        """How long its plan is good: to wait, and as long as every round of answers may last."""
        rounds = 1 if self.training is None else 2 * self.training.rounds + len(TESTS) + 1
        return WAITING + rounds * timedelta(seconds=self.timeout_seconds)


class Proposal(Frozen):
    """A request as its researcher signed it, and by which keys; see `proposal.py`."""

    signed: Signed  # `PlanRequest`
    verify_key: str = Field(max_length=200)  # OpenSSH line of the Ed25519 key that they registered
    certificate: str = Field(max_length=16384)  # PEM, with the intermediate
    endorsement: str = Field(max_length=200)  # base64: the certificate's own key over the signed document


class Member(Frozen):
    """A site of the roster and the fingerprint of its registered signing key."""

    site_id: SiteId
    fingerprint: str = Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")


class Plan(Frozen):
    """A complete plan; only the coordinator makes one.

    What later releases added is left out of its JSON where it says nothing, so that earlier plans keep their bytes.
    """

    format: Literal["ricord-plan/1"] = "ricord-plan/1"
    run: RunId
    purpose: Purpose
    aim: str = Field(default="", max_length=300, pattern=_ONE_LINE, exclude_if=operator.not_)
    researcher: str = Field(default="", max_length=63, exclude_if=operator.not_)
    proposal: Proposal | None = Field(default=None, exclude_if=operator.not_)
    protocol_digest: Sha256
    sites: tuple[Member, ...]
    minimum_sites: int = Field(ge=LEAST_SITES)
    training: TrainingTask | None = None
    statistics: StatisticsTask | None = None
    evaluated: EvaluationTask | None = Field(default=None, exclude_if=operator.not_)
    timeout_seconds: int = Field(default=3600, ge=1, le=86400)
    created_at: datetime
    expires_at: datetime

    @model_validator(mode="after")
    def _aware(self) -> Self:
        if self.created_at.tzinfo is None or self.expires_at.tzinfo is None:
            raise ValueError("times carry their zone")
        return self

    @property
    def roster(self) -> tuple[SiteId, ...]:
        """The sites that take part."""
        return tuple(member.site_id for member in self.sites)

    def sums(self, kind: str) -> bool:
        """Whether answers of that kind go into a secure sum: a test's always do, others unless the plan says not so."""
        if self.training is None or kind in ("query", *TESTS):
            return kind != "query"
        return self.training.masked and kind != ALONE

    @property
    def learning(self) -> TrainingTask | None:
        """What is or was trained: of a training, or of the model that is evaluated."""
        return self.training if self.evaluated is None else self.evaluated.training


def complete_plan(
    request: PlanRequest,
    *,
    members: tuple[Member, ...],
    protocol_digest: Sha256,
    proposal: Proposal | None = None,
    evaluated: EvaluationTask | None = None,
) -> Plan:
    """The plan that fits a request, which is that of `proposal`, of the model `evaluated` if it is about one.

    Raises `PlanInvalid` as `check_plan` does.
    """
    now = datetime.now(UTC)
    plan = Plan(
        run=request.run or RunId.random(),
        purpose=request.purpose,
        aim=request.aim,
        researcher=request.researcher,
        proposal=proposal,
        protocol_digest=protocol_digest,
        sites=members,
        minimum_sites=request.minimum_sites,
        training=request.training,
        statistics=request.statistics,
        evaluated=evaluated,
        timeout_seconds=request.timeout_seconds,
        created_at=now,
        expires_at=now + request.lifetime,
    )
    check_plan(plan)
    return plan


def check_request(request: PlanRequest) -> None:
    """Raise `PlanInvalid` when parts of the request contradict each other: no sites could make a plan of it."""
    _refuse_first((*_rules(request, request.sites or None), _evaluation_rule(request.purpose, request.evaluation)))


def check_plan(plan: Plan) -> None:
    """Raise `PlanInvalid` when parts of the plan contradict each other; its type checks the ranges of single values."""
    keys = {member.fingerprint for member in plan.sites}
    _refuse_first(
        (
            *_rules(plan, plan.roster),
            _evaluation_rule(plan.purpose, plan.evaluated),
            (
                plan.evaluated is not None and plan.evaluated.training.strategy == "fedbn",
                "the norm layers of that model stayed at the sites that trained it",
            ),
            *(model_rules(plan.evaluated.training) if plan.evaluated else ()),
            (len(keys) != len(plan.sites), "two sites share one signing key"),
            (plan.expires_at <= plan.created_at, "it expires before it begins"),
            ((plan.proposal is None) != (not plan.researcher), "a researcher stands with their proposal only"),
        )
    )


def _refuse_first(rules: tuple[tuple[bool, str], ...]) -> None:
    problem = next((text for wrong, text in rules if wrong), None)
    if problem is not None:
        raise PlanInvalid(problem=problem)


def _rules(plan: Plan | PlanRequest, roster: tuple[SiteId, ...] | None) -> tuple[tuple[bool, str], ...]:
    """Without a roster nothing is said of the sites."""
    training, statistics, count = plan.training, plan.statistics, plan.minimum_sites if roster is None else len(roster)
    return (
        (roster is not None and len(set(roster)) != count, "a site is named twice"),
        (count < plan.minimum_sites, f"{count} sites are fewer than the minimum of {plan.minimum_sites}"),
        ((training is not None) != (plan.purpose == "training"), "`training` stands with the purpose training only"),
        ((statistics is not None) != (plan.purpose == "statistics"), "`statistics` stands with its purpose only"),
        (
            statistics is not None and statistics.privacy is not None and bool(statistics.means),
            "counts alone have noise, so `privacy` stands without `means`",
        ),
        (
            statistics is not None and bool(statistics.filter) and statistics.privacy is None,
            "exact counts of a part are a table: cross the variables in `tables`, or ask for noise (`privacy`)",
        ),
        *(model_rules(training) if training else ()),
        (
            training is not None and training.validation_share + training.test_share >= 1,
            "validation and test leave no patient to train on",
        ),
        (
            training is not None and training.proximal_mu > 0 and training.strategy != "fedprox",
            "`proximal_mu` is for the strategy fedprox",
        ),
        (
            training is not None and training.masked and training.strategy in COMPARING,
            "that strategy compares the sites' updates, which masks hide; without masks it needs `masked = false`",
        ),
        (
            training is not None and training.masked and count > MOST_SITES,
            f"masks hold for {MOST_SITES} sites at most",
        ),
    )


def _evaluation_rule(purpose: Purpose, model: object | None) -> tuple[bool, str]:
    return ((model is not None) != (purpose == "evaluation"), "`evaluation` stands with its purpose only")


def sign_plan(plan: Plan, key: SigningKey) -> str:
    """The plan signed by the coordinator, as the JSON text that travels."""
    return Signed.by(key, plan).model_dump_json()


def verify_plan(text: str, key: VerifyKey) -> Plan:
    """The plan in the text that `sign_plan` made, once `key`'s signature and `check_plan` confirm it.

    Raises `SignatureInvalid` or `PlanInvalid`.
    """
    try:
        signed = Signed.model_validate_json(text)
    except ValidationError as error:
        raise SignatureInvalid("not a signed plan", what="the plan") from error
    plan = signed.verified(key, Plan, what="the plan")
    check_plan(plan)
    return plan


def parse_request(text: str | bytes) -> PlanRequest:
    """A request from its JSON text; raises `PlanInvalid` naming the field that is wrong."""
    try:
        return PlanRequest.model_validate_json(text)
    except ValidationError as error:
        raise PlanInvalid(problem=problem_of(error)) from None


def problem_of(error: ValidationError) -> str:
    """The first field that is wrong, and why; no value is quoted."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(takewhile(lambda part: "[" not in part, map(str, first["loc"])))  # then come pydantic's own names
    return f"{where or 'the plan'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
