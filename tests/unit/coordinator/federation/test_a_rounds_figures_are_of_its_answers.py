"""What is shown of a round comes from the answers of that round, and of all that were not refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.federation.grid import Answer
from coordinator.federation.reported import training_result
from shared.federation.records import AUC, EXAMPLES, FIGURES, LOSS
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
