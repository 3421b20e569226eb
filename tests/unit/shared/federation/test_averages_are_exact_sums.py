"""What the fixed point holds: exact sums, a stated precision, a stated range, and no sum that cannot be one."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.federation import RunFailed
from shared.errors.inputs import InvalidArgument
from shared.federation.averaging import (
    BINS,
    LIMIT,
    SCALE,
    auc_of,
    average_of,
    averaged,
    evaluation_of,
    evaluation_words,
    histogram,
    inputs_of,
    state_digest,
    weighted,
)
from shared.federation.labels import class_of
from shared.federation.plan import MOST_SITES
from shared.federation.task import MOST_IMAGES
from shared.ids import RunId
from site_node.federate.training import auc

VALUE = st.floats(-LIMIT, LIMIT)
SITES = st.lists(st.tuples(st.integers(1, MOST_IMAGES), VALUE, VALUE), min_size=1, max_size=8)


@given(SITES)
def test_an_average_is_the_weighted_mean(sites: list[tuple[int, float, float]]) -> None:
    """For any weights and any values in range it differs from the mean by at most half a step of the fixed point."""
    total = np.zeros(3, dtype=np.uint64)
    for images, *values in sites:
        total += weighted(np.array(values), images)
    average = averaged(total, sites=len(sites), most_images=MOST_IMAGES)
    assert average.images == sum(images for images, *_ in sites)
    for place in (0, 1):
        mean = sum(images * values[place] for images, *values in sites) / average.images
        assert abs(average.values[place] - mean) <= 0.5 / SCALE + 1e-12


@given(SITES, st.integers(1, 3))
def test_an_average_without_masks_is_the_sum_s_bit_for_bit(
    sites: list[tuple[int, float, float]], repeated: int
) -> None:
    """Whatever the updates, and wherever a part of one ends."""
    repeat = 2 * 2**repeated * 2**11 + repeated
    updates = [(np.resize(np.array(values, np.float32), repeat), images) for images, *values in sites]
    total = sum((weighted(values, images) for values, images in updates), np.zeros(1 + repeat, np.uint64))
    average = averaged(total, sites=len(sites), most_images=MOST_IMAGES).values.astype(np.float32)
    assert average_of(updates).tobytes() == average.tobytes()


def test_without_masks_there_may_be_more_sites() -> None:
    """Sums that would leave 64 bits are of floats."""
    ends = [np.full(2, end, np.float32) for end in (LIMIT, LIMIT, LIMIT, -LIMIT)]
    assert average_of([(values, 2**30) for values in ends]).tolist() == [LIMIT / 2] * 2


def test_the_largest_sum_fits() -> None:
    """The most sites with the most images at the ends of the range stay within 64 signed bits."""
    for end in (-LIMIT, LIMIT):
        words = weighted(np.array([float(end)]), MOST_IMAGES)
        total = words * np.uint64(MOST_SITES)
        assert averaged(total, sites=MOST_SITES, most_images=MOST_IMAGES).values[0] == end


def test_values_outside_are_clipped_and_what_is_no_number_is_refused() -> None:
    """Clipping is to the range that is stated; a value that is no number would be somebody's whole model."""
    clipped = averaged(weighted(np.array([5000.0, -np.inf]), 3), sites=1, most_images=10)
    assert clipped.values.tolist() == [LIMIT, -LIMIT]
    with pytest.raises(InvalidArgument):
        weighted(np.array([np.nan]), 3)


@pytest.mark.parametrize("words", [[-1, 0], [31, 0], [3, 4 * LIMIT * SCALE], [3, -(2**63)], [0, 1]])
def test_a_sum_that_cannot_be_one_is_refused(words: list[int]) -> None:
    """Too many images, or a sum that its images cannot give: some site lied."""
    with pytest.raises(RunFailed):
        averaged(np.array(words, dtype=np.int64).view(np.uint64), sites=3, most_images=10)


IMAGES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, BINS - 1)), max_size=40)


@given(IMAGES)
def test_a_pooled_auc_is_the_auc_of_its_bins(images: list[tuple[int, int]]) -> None:
    """It is exact for scores that are no finer than the histogram's bins."""
    labels = np.array([label for label, _ in images], dtype=np.int64)
    scores = np.array([(place + 0.5) / BINS for _, place in images])
    expected, shown = auc(labels, scores), auc_of(histogram(labels, scores))
    assert shown == pytest.approx(expected) if expected is not None else shown is None


@given(IMAGES, st.floats(0, 20))
def test_an_evaluation_comes_back(images: list[tuple[int, int]], loss: float) -> None:
    """Loss and counts are those that went in; changed counts are refused."""
    labels = np.array([label for label, _ in images], dtype=np.int64)
    counts = histogram(labels, np.array([place / BINS for _, place in images]))
    total = evaluation_words(loss, counts)
    back, same = evaluation_of(total, sites=1, most_images=40)
    assert abs(back - loss) <= 0.5 / SCALE if images else back == 0
    assert (same == counts).all()
    for change in (1, 2**64 - 1):
        wrong = total.copy()
        wrong[2:3] += np.array([change], dtype=np.uint64)
        with pytest.raises(RunFailed):
            evaluation_of(wrong, sites=1, most_images=41)


def test_a_histogram_has_each_probability_in_its_bin() -> None:
    """From 0 in the first to 1 in the last; the classes apart."""
    probabilities = np.concatenate([[0.0], (np.arange(BINS) + 0.5) / BINS, [np.nextafter(1.0, 0), 1.0]])
    expected = [2, *[1] * (BINS - 2), 3]
    for label in (0, 1):
        counts = histogram(np.full(len(probabilities), label), probabilities)
        assert counts[label].tolist() == expected
        assert not counts[1 - label].any()


@pytest.mark.parametrize(
    "value", ["yes", "Positive", 1, "1", True, "TRUE", "no", "negative", 0, "0", False, "x", 2, ""]
)
def test_a_label_is_of_one_of_two_classes(value: object) -> None:
    """Whatever says yes is 1, whatever says no is 0, and nothing else is either."""
    yes, no = {"yes", "positive", "1", "true"}, {"no", "negative", "0", "false"}
    text = str(value).lower()
    assert class_of(value) == (1 if text in yes else 0 if text in no else None)


def test_cases_in_one_bin_count_half() -> None:
    """All of them, or those of one bin among others."""
    for places, area in (([3, 3, 3, 3], 0.5), ([3, 5, 5, 7], 0.875), ([3, 5, 5, 2], 0.375)):
        labels = np.array([0, 0, 1, 1])
        assert auc_of(histogram(labels, np.array([(place + 0.5) / BINS for place in places]))) == area


def test_at_the_ends_of_what_can_be_a_sum_is_one() -> None:
    """No image at all, as many as the sites may have, and products at the bound; one beyond is refused."""

    def of(*words: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array(words, dtype=np.int64).view(np.uint64)

    for words in ((0, 0), (30, 0), (3, 3 * LIMIT * SCALE), (3, -3 * LIMIT * SCALE)):
        average = averaged(of(*words), sites=3, most_images=10)
        assert (average.images, average.values[0]) == (words[0], words[1] / SCALE / max(words[0], 1))
    for wrong in ((31, 0), (3, 3 * LIMIT * SCALE + 1), (3, -3 * LIMIT * SCALE - 1), (0, 1), (-1, 0)):
        with pytest.raises(RunFailed):
            averaged(of(*wrong), sites=3, most_images=10)
    counts = histogram(np.array([0, 1]), np.array([0.5, 0.5]))
    total = evaluation_words(0.0, counts)
    assert evaluation_of(total, sites=1, most_images=2)[0] == 0
    total[1:2] = of(-1)
    with pytest.raises(RunFailed, match="does not fit an evaluation"):
        evaluation_of(total, sites=1, most_images=2)
    moved = evaluation_words(0.0, counts)
    moved[2:4] += of(1, -1)
    with pytest.raises(RunFailed, match="does not fit an evaluation"):
        evaluation_of(moved, sites=1, most_images=2)


def test_a_sum_is_of_whole_numbers_as_long_as_they_hold() -> None:
    """Of 2^28 images exactly: there a float would lose what the sum keeps."""
    ends = [np.full(3, end, np.float32) for end in (LIMIT, 2.0**-24, -LIMIT)]
    weights = [2**27 - 1, 2, 2**27 - 1]
    total = sum((weighted(v, n) for v, n in zip(ends, weights, strict=True)), np.zeros(4, np.uint64))
    exact = averaged(total, sites=3, most_images=2**27).values.astype(np.float32)
    assert average_of(list(zip(ends, weights, strict=True))).tobytes() == exact.tobytes()


def test_a_state_is_named_by_its_bytes_and_its_step() -> None:
    """Another run, step or value is another name, on every machine the same."""
    state = np.array([1.0, 2.0], np.float32)
    digest = hashlib.sha256(b"\x00\x00\x80\x3f\x00\x00\x00\x40").hexdigest()
    assert state_digest(state) == state_digest(state.astype(">f4")) == digest
    assert inputs_of(RunId("R-0123456789ab"), "train", state) == f"R-0123456789ab train {digest}"
