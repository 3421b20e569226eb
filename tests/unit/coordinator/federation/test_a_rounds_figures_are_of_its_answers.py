"""What is shown of a round comes from the answers of that round, and of all that were not refused."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.federation.grid import Answer
from coordinator.federation.reported import site_tests, training_result
from coordinator.federation.results import Interval, SiteFigures, SiteTest
from shared.federation.records import AUC, EXAMPLES, FIGURES, HIGH, LOSS, LOW
from shared.ids import SiteId

ANSWERS = st.lists(
    st.builds(
        Answer,
        site=st.sampled_from([SiteId("100001"), SiteId("100002")]),
        kind=st.sampled_from(["train", "evaluate"]),
        server_round=st.integers(1, 4),
        metrics=st.fixed_dictionaries(
            {LOSS: st.floats(0, 9), AUC: st.floats(0, 1), EXAMPLES: st.integers(1, 9), FIGURES: st.just(1)}
        ),
        refusal=st.none() | st.just("no"),
        summed=st.just(()),
    ),
    max_size=20,
)


@given(ANSWERS)
def test_a_rounds_figures_are_of_its_answers(answers: list[Answer]) -> None:
    """Images and loss; each refusal stands once, by site and round; a round that nobody evaluated is not shown."""
    result = training_result(answers, Path("absent"), previous=None, seconds={2: 1.5})
    assert [each.round for each in result.rounds] == sorted({a.server_round for a in answers if a.kind == "evaluate"})
    for shown in result.rounds:
        own = [a for a in answers if a.server_round == shown.round and a.refusal is None]
        trained, evaluated = ([a.metrics for a in own if a.kind == kind] for kind in ("train", "evaluate"))
        assert shown.training_images == sum(metrics[EXAMPLES] for metrics in trained)
        assert (shown.training_loss is None, shown.validation_loss is None) == (not trained, not evaluated)
        if trained:
            weight = sum(metrics[EXAMPLES] for metrics in trained)
            mean = sum(metrics[EXAMPLES] * metrics[LOSS] for metrics in trained) / weight
            assert shown.training_loss == pytest.approx(mean)
        assert len(shown.sites) == len(evaluated)
        assert shown.seconds == (1.5 if shown.round == 2 else None)
    refused = [(a.server_round, a.site) for a in answers if a.refusal]
    assert [(refusal.round, refusal.site_id) for refusal in result.refusals] == refused
    further = training_result(answers, Path("absent"), previous=result, seconds={})
    assert (len(further.rounds), len(further.refusals)) == (2 * len(result.rounds), 2 * len(refused))


FIRST, SECOND = SiteId("100001"), SiteId("100002")


def answer(site: str, kind: str, metrics: dict[str, float], **rest: object) -> Answer:
    fields = {"server_round": 1, "refusal": None, "summed": (), **rest}
    return Answer(site=SiteId(site) if site else None, kind=kind, metrics=metrics, **fields)  # type: ignore[arg-type]


def figures(loss: float, auc: float, images: int, *, shown: int = 1) -> dict[str, float]:
    return {LOSS: loss, AUC: auc, EXAMPLES: images, FIGURES: shown}


def test_what_a_site_withholds_is_in_no_mean_and_not_shown() -> None:
    """Its images count as trained on; where all withhold there is no mean."""
    answers = [
        answer(FIRST, "train", figures(0.5, 0, 10)),
        answer(SECOND, "train", figures(0.0, 0, 30, shown=0)),
        answer(FIRST, "evaluate", figures(0.25, 0.75, 4)),
        answer(SECOND, "evaluate", figures(0.0, 0.0, 9, shown=0)),
    ]
    [shown] = training_result(answers, Path("absent"), previous=None, seconds={}).rounds
    assert (shown.training_images, shown.training_loss) == (40, 0.5)
    assert (shown.auc, shown.validation_loss) == (0.75, 0.25)
    assert shown.sites == (SiteFigures(site_id=FIRST, images=4, auc=0.75, loss=0.25), SiteFigures(site_id=SECOND))
    silent = [each for each in answers if each.site == SECOND]
    [none] = training_result(silent, Path("absent"), previous=None, seconds={}).rounds
    assert none.training_loss is none.auc is none.validation_loss is None


def test_a_masked_rounds_figures_are_those_of_its_sum() -> None:
    """The loss of all images together; of a site only its own AUC, where it told it."""
    answers = [
        answer("", "train", figures(0.5, 0, 40)),
        answer("", "evaluate", figures(0.25, 0.75, 40), summed=(FIRST, SECOND)),
        answer(FIRST, "evaluate", {AUC: 0.8, FIGURES: 1}),
        answer(SECOND, "evaluate", {AUC: 0.0, FIGURES: 0}),
    ]
    [shown] = training_result(answers, Path("absent"), previous=None, seconds={1: 2.0}).rounds
    assert (shown.training_images, shown.training_loss, shown.auc, shown.validation_loss) == (40, 0.5, 0.75, 0.25)
    assert shown.summed == (FIRST, SECOND)
    assert shown.sites == (SiteFigures(site_id=FIRST, auc=0.8), SiteFigures(site_id=SECOND))


def test_the_last_model_and_the_best_are_named_by_their_files(tmp_path: Path) -> None:
    """With their digests where they lie there; the best one's only where it is another one than the last."""
    for number in (1, 2):
        (tmp_path / f"round-{number}.safetensors").write_bytes(bytes([number]))
    first = [
        answer(FIRST, "evaluate", figures(0.1, 0.9, 4)),
        answer(FIRST, "evaluate", figures(0.1, 0.5, 4), server_round=2),
    ]
    result = training_result(first, tmp_path, previous=None, seconds={})
    assert (result.best, result.model, result.files) == (
        1,
        "round-2.safetensors",
        ("round-1.safetensors", result.model),
    )
    assert result.model_sha256 == hashlib.sha256(b"\x02").hexdigest()
    assert result.best_sha256 == hashlib.sha256(b"\x01").hexdigest()
    last = training_result(first[:1], tmp_path, previous=None, seconds={})
    assert (last.best, last.best_sha256, last.model_sha256) == (1, None, hashlib.sha256(b"\x01").hexdigest())
    nothing = training_result([], tmp_path, previous=None, seconds={})
    assert (nothing.best, nothing.model, nothing.model_sha256, nothing.rounds) == (
        None, "round-0.safetensors", None, (),
    )  # fmt: skip


def test_what_each_site_told_of_a_test_is_its_last_word() -> None:
    """Of answers of that kind with an interval, in the order of the sites; one that withholds is named without."""
    ends = {AUC: 0.7, LOW: 0.6, HIGH: 0.8, FIGURES: 1}
    answers = [
        answer(SECOND, "evaluate.best", {**ends, FIGURES: 0}),
        answer(FIRST, "evaluate.best", {**ends, AUC: 0.65}),
        answer(FIRST, "evaluate.best", ends),
        answer(FIRST, "evaluate.last", {**ends, AUC: 0.61}),
        answer("", "evaluate.best", ends),
        answer("100003", "evaluate.best", {AUC: 0.7, FIGURES: 1}),
    ]
    assert site_tests(answers, "evaluate.best") == (
        SiteTest(site_id=FIRST, auc=Interval(value=0.7, low=0.6, high=0.8)),
        SiteTest(site_id=SECOND),
    )
    assert site_tests(answers, "evaluate.alone") == ()
