"""A plan goes to the sites that it names or to all whose agreement covers its purpose, and to none twice."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator.federation.planning import plan_of
from coordinator.federation.results import (
    KeptModel,
    ModelTest,
    PooledFigures,
    RoundResult,
    TrainingResult,
    evaluation_of,
)
from coordinator.store.records import Run
from shared.agreement import Mode
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.federation import PlanInvalid
from shared.federation.plan import EvaluationRequest, Member, Plan, PlanRequest, complete_plan
from shared.federation.task import TrainingTask
from shared.ids import RunId, Sha256, SiteId
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol().digest
SITES = [SiteId(str(100_001 + number)) for number in range(8)]
PRINTS = {site: f"SHA256:{site:>043}" for site in SITES}
RUN = RunId("R-0123456789ab")
TRAINED = SITES[:3]


class Agreements:
    """Whose agreement covers what: the last site's covers training alone, the first one's counting alone."""

    def members(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, str]:
        """All others' cover both."""
        covers = {site: {Mode.TRAINING, Mode.COHORT} for site in reversed(SITES)}
        covers |= {SITES[-1]: {Mode.TRAINING}, SITES[0]: {Mode.STATISTICS}}
        return {site: PRINTS[site] for site, held in covers.items() if held & {*modes}}


def digest(number: int) -> Sha256:
    return Sha256(f"{number:064}")


def examined(number: int) -> ModelTest:
    model = KeptModel(round=number, file=f"{number}", sha256=digest(number), state_sha256=digest(10 + number))
    figures = PooledFigures(patients=9, threshold=number / 10)
    return ModelTest(model=model, pooled=figures, sites=(), worst=None, summed=())


def result(*tests: int, best: int | None = 1) -> TrainingResult:
    rounds = tuple(
        RoundResult(round=number, training_images=1, training_loss=None, auc=None, sites=()) for number in (1, 2, 3)
    )
    return TrainingResult(
        rounds=rounds, refusals=(), model="m", model_sha256=None, best=best, tests=tuple(map(examined, tests))
    )


def trained_plan() -> Plan:
    members = tuple(Member(site_id=site, fingerprint=PRINTS[site]) for site in TRAINED)
    return complete_plan(
        PlanRequest(purpose="training", training=TrainingTask()), members=members, protocol_digest=PROTOCOL
    )


def run_of(name: RunId, **changes: Any) -> Run:
    assert name == RUN
    at = datetime(2026, 11, 1, tzinfo=UTC)
    fields = {"result": result(1, 3).model_dump_json(), "state": "done", "plan": trained_plan(), **changes}
    return Run.model_validate({"id": RUN, "signed": "", "actor": "x", "created_at": at, **fields})


def plan(purpose: str, sites: list[SiteId] | None = None, **changes: Any) -> Plan:
    parts: dict[str, dict[str, Any]] = {
        "training": {"training": {}},
        "statistics": {"statistics": {"cohort": "ricord"}},
        "evaluation": {"evaluation": {"run": RUN}},
    }
    request = PlanRequest.model_validate({"purpose": purpose, "sites": sites or (), **parts[purpose]})
    return plan_of(request, Agreements(), PROTOCOL, run_of=lambda name: run_of(name, **changes))


def test_without_names_it_goes_to_all_whose_agreement_covers_it() -> None:
    """In their order, each with its fingerprint; of counting either mode will do."""
    assert plan("training").roster == tuple(SITES[1:])
    assert plan("statistics").roster == tuple(SITES[:-1])
    assert [member.fingerprint for member in plan("training").sites] == [PRINTS[site] for site in SITES[1:]]


def test_with_names_it_goes_to_these() -> None:
    """Unless an agreement does not cover it; a site that there is not has none."""
    assert plan("training", SITES[5:2:-1]).roster == tuple(SITES[3:6])
    for purpose, site in (("training", SITES[0]), ("statistics", SITES[-1]), ("training", SiteId("999999"))):
        with pytest.raises(AgreementModeNotAllowed) as refused:
            plan(purpose, [*SITES[3:6], site])
        assert refused.value.fields["mode"] == purpose


def test_a_model_goes_to_no_site_that_trained_it() -> None:
    """With the digests and the threshold of its run; only of a training that is done."""
    evaluation = plan("evaluation")
    assert evaluation.roster == tuple(SITES[3:])
    assert evaluation.evaluated is not None
    assert (evaluation.evaluated.round, evaluation.evaluated.threshold) == (1, 0.1)
    with pytest.raises(PlanInvalid, match="had a part in the model's training"):
        plan("evaluation", [*SITES[3:6], SITES[2]])
    counted = trained_plan().model_copy(update={"training": None, "purpose": "statistics"})
    for change in ({"state": "running"}, {"state": "failed"}, {"plan": counted}):
        with pytest.raises(PlanInvalid, match="not a finished training"):
            plan("evaluation", **change)


@pytest.mark.parametrize(
    ("model", "tests", "best", "expected"),
    [("best", (1, 3), 1, 1), ("last", (1, 3), 1, 3), ("best", (3,), 3, 3), ("last", (3,), 3, 3)],
)
def test_the_model_that_is_asked_about_was_tested(model: str, tests: tuple[int, ...], best: int, expected: int) -> None:
    """The best round's or the last one's."""
    request = EvaluationRequest.model_validate({"run": RUN, "model": model})
    task = evaluation_of(request, TrainingTask(seed=7), result(*tests, best=best))
    assert (task.run, task.round, task.training.seed) == (RUN, expected, 7)
    assert (task.sha256, task.state_sha256) == (digest(expected), digest(10 + expected))
    for untested in ((), tuple({1, 3} - {expected})):
        with pytest.raises(PlanInvalid, match="no tested model"):
            evaluation_of(request, TrainingTask(), result(*untested, best=best))
