"""How well readers agree is what statsmodels, scikit-learn and krippendorff say, and undefined where they say NaN."""

import math
import warnings
from itertools import product

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as peer_fleiss

from coordinator.curation.reading import reliability as ours
from coordinator.curation.reading.reliability import Estimate, Level, reliability, reliability_by_site
from shared.federation.cell_policy import CellPolicy

SIZE = 4
TERMS = ["typical", "indeterminate", "atypical", "negative"]
NONE_SMALL, TEN = CellPolicy(name="none", highest=0), CellPolicy.named("cms-11")
whole = st.lists(st.tuples(*[st.integers(0, SIZE - 1)] * 3), min_size=1, max_size=30)
partial = st.lists(st.tuples(*[st.integers(-1, SIZE - 1)] * 4), min_size=1, max_size=30)


def is_same(mine: float | None, theirs: float) -> bool:
    return math.isnan(theirs) if mine is None else abs(mine - theirs) <= 1e-12


@given(whole)
def test_fleiss_equals_statsmodels(rows: list[tuple[int, ...]]) -> None:
    """To 1e-12, and undefined where statsmodels gives NaN."""
    codes = np.array(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = float(peer_fleiss(aggregate_raters(codes, n_cat=SIZE)[0]))
    assert is_same(ours.fleiss_kappa(codes, SIZE, 3), theirs)


@given(whole)
def test_cohen_equals_scikit_learn(rows: list[tuple[int, ...]]) -> None:
    """Of each pair, to 1e-12, and undefined where scikit-learn gives NaN."""
    codes = np.array(rows)
    for first, second in ((0, 1), (1, 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = float(cohen_kappa_score(codes[:, first], codes[:, second], labels=range(SIZE)))
        assert is_same(ours.cohen_kappa(codes[:, first], codes[:, second], SIZE), theirs)


@given(partial, st.sampled_from(["nominal", "ordinal"]))
def test_alpha_equals_krippendorff(rows: list[tuple[int, ...]], level: Level) -> None:
    """With missing reads, to 1e-12; undefined where that program gives NaN or refuses."""
    codes = np.array(rows)
    missing = np.where(codes < 0, np.nan, codes).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = float(krippendorff.alpha(missing, value_domain=range(SIZE), level_of_measurement=level))
        except ValueError:  # nobody's reads can be compared
            theirs = math.nan
    assert is_same(ours.krippendorff_alpha(codes, SIZE, level), theirs)


@given(partial)
def test_a_missing_read_is_not_counted(rows: list[tuple[int, ...]]) -> None:
    """Fleiss' kappa is of the studies that all read, Cohen's of those that both did."""
    codes = np.array(rows)
    complete = codes[(codes >= 0).all(axis=1)]
    assert ours.fleiss_kappa(codes, SIZE, 4) == ours.fleiss_kappa(complete, SIZE, 4)
    both = codes[(codes[:, :2] >= 0).all(axis=1)]
    assert ours.cohen_kappa(codes[:, 0], codes[:, 1], SIZE) == ours.cohen_kappa(both[:, 0], both[:, 1], SIZE)


def reads(*terms: tuple[str | None, ...]) -> list[dict[str, str]]:
    return [{f"R{at}": term for at, term in enumerate(each) if term} for each in terms]


EVERY = reads(*product(TERMS, repeat=3))  # 64 studies: chance agreement alone


def test_agreement_by_chance_is_none() -> None:
    """Where every triple occurs as often, all figures are 0 or nearly so; where all agree, 1."""
    mixed = reliability(EVERY, TERMS, level="nominal", readers=3, policy=NONE_SMALL, seed=1, resamples=9)
    assert mixed.fleiss.value == pytest.approx(0)
    assert mixed.alpha.value == pytest.approx(0, abs=0.01)
    assert [each.value for each in mixed.cohen.values()] == pytest.approx([0, 0, 0])
    alike = reliability(
        reads(*zip(TERMS, TERMS, TERMS, strict=True)), TERMS, level="ordinal", readers=3, policy=NONE_SMALL, seed=1
    )
    assert {alike.fleiss.value, alike.alpha.value, *(each.value for each in alike.cohen.values())} == {1.0}


def test_one_term_is_undefined() -> None:
    """Where every read is the same term, and where there is no read, each figure is undefined and no number."""
    for studies in (reads(*[("typical",) * 3] * 20), []):
        result = reliability(studies, TERMS, level="nominal", readers=3, policy=NONE_SMALL, seed=1, resamples=9)
        assert {result.fleiss.text, result.alpha.text, *(each.text for each in result.cohen.values())} == {"undefined"}


def test_intervals_are_of_the_seed() -> None:
    """The same seed gives the same interval, another another; it holds the figure."""
    first, again, other = (
        reliability(EVERY[:20], TERMS, level="ordinal", readers=3, policy=NONE_SMALL, seed=seed, resamples=99)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    for each in (first.fleiss, first.alpha, *first.cohen.values()):
        assert each.value is not None
        assert each.low is not None
        assert each.high is not None
        assert each.low <= each.value <= each.high


def test_an_undefined_resample_is_counted() -> None:
    """Where a resample has one term only, it is left out of the interval and counted."""
    codes = np.array([[0, 0, 0], [1, 1, 1]])
    result = ours.estimate(codes, lambda part: ours.fleiss_kappa(part, SIZE, 3), seed=1)
    assert 400 < result.undefined < 600  # half of the draws of two are of one study
    assert (result.low, result.high, result.text) == (1, 1, "1.00 (1.00 to 1.00)")
    assert Estimate(value=0.5).text == "0.50 (undefined)"


def by_site(**counts: int) -> dict[str, int | None]:
    studies = {site.removeprefix("s"): EVERY[:count] for site, count in counts.items()}
    result = reliability_by_site(studies, TERMS, level="nominal", readers=3, policy=TEN, seed=1, resamples=9)
    shown = {"pooled": result.pooled, **result.sites}
    return {site: each.studies if each else None for site, each in shown.items()}


def test_small_cells_are_hidden() -> None:
    """By the cohort's policy a site with 1 to 10 studies is hidden; a single such with the smallest of the others."""
    assert by_site(s123456=11, s654321=20) == {"pooled": 31, "123456": 11, "654321": 20}
    assert by_site(s123456=10, s654321=20, s419639=30) == {
        "pooled": 60, "123456": None, "654321": None, "419639": 30,
    }  # fmt: skip
    assert by_site(s123456=10, s654321=9, s419639=30) == {
        "pooled": 49, "123456": None, "654321": None, "419639": 30,
    }  # fmt: skip
    assert by_site(s123456=5, s654321=0) == {"pooled": None, "123456": None, "654321": 0}


def test_a_pair_with_few_studies_is_left_out() -> None:
    """Two readers who read 1 to 10 studies in common are not compared; a study that nobody read counts nowhere."""
    studies = [*EVERY[:20], *reads(*[("typical", None, None, "negative")] * 10), {}]
    result = reliability_by_site(
        {"123456": studies}, TERMS, level="nominal", readers=3, policy=TEN, seed=1, resamples=9
    )
    assert result.pooled is not None
    assert set(result.pooled.cohen) == {"R0/R1", "R0/R2", "R1/R2"}
    assert result.pooled.studies == 30
