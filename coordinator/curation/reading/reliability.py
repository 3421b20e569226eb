"""How well readers agree: Fleiss' kappa, Cohen's of each pair, Krippendorff's alpha, with bootstrap intervals.

Fleiss, Psychological Bulletin 1971;76:378; Cohen, Educational and Psychological Measurement 1960;20:37; Krippendorff,
Content Analysis, 4th edition, chapter 12. A figure is undefined where its chance agreement is whole, so where all reads
are the same term, and where nobody's reads can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.federation.cell_policy import CellPolicy
from shared.frozen import Frozen

Reads: TypeAlias = Mapping[str, str]  # of one study: by the pseudonym of its reader the term
Level = Literal["nominal", "ordinal"]
Codes: TypeAlias = NDArray[np.int64]  # studies x readers: the number of the term, -1 for a missing read
RESAMPLES = 1000


class Estimate(Frozen):
    """A figure and its 95 % interval over resampled studies, each `None` where it is undefined.

    The interval is over the resamples in which the figure is defined; `undefined` counts the others.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: int = 0

    @property
    def text(self) -> str:
        """The figure as it is shown."""
        if self.value is None:
            return "undefined"
        interval = "undefined" if self.low is None else f"{self.low:.2f} to {self.high:.2f}"
        return f"{self.value:.2f} ({interval})"


class Reliability(Frozen):
    """The agreement among the readers of some studies, whose number is shown by a policy for small cells."""

    studies: int
    fleiss: Estimate
    alpha: Estimate
    cohen: dict[str, Estimate]  # by both pseudonyms, joined by `/`; a pair with too few studies in common is left out


class SiteReliability(Frozen):
    """Of all studies, and of those of each site; `None` where they are too few, so hidden, or would tell such."""

    policy: str
    seed: int
    pooled: Reliability | None
    sites: dict[str, Reliability | None]


def reliability_by_site(
    studies: Mapping[str, Sequence[Reads]],
    terms: Sequence[str],
    *,
    level: Level,
    readers: int,
    policy: CellPolicy,
    seed: int,
    resamples: int = RESAMPLES,
) -> SiteReliability:
    """Agreement on one group of terms, given in order, over the studies of each site that were read.

    `readers` is how many read a study where none is missing; Fleiss' kappa leaves other studies out. A site is hidden
    where the number of its studies is small by the policy; where a single site is, so is the one with the fewest
    others, since else the pooled number would tell. The same reads and seed give the same intervals.
    """
    read = {site: [each for each in reads if each] for site, reads in sorted(studies.items())}
    counts = {site: len(reads) for site, reads in read.items()}
    hidden = {site for site, count in counts.items() if policy.is_small(count)}
    if len(hidden) == 1 and (others := [site for site in counts if site not in hidden and counts[site]]):
        hidden.add(min(others, key=lambda site: (counts[site], site)))

    def agreement(reads: Sequence[Reads]) -> Reliability:
        return reliability(reads, terms, level=level, readers=readers, policy=policy, seed=seed, resamples=resamples)

    pooled = [each for reads in read.values() for each in reads]
    return SiteReliability(
        policy=policy.name,
        seed=seed,
        pooled=None if policy.is_small(len(pooled)) else agreement(pooled),
        sites={site: None if site in hidden else agreement(reads) for site, reads in read.items()},
    )


def reliability(
    reads: Sequence[Reads],
    terms: Sequence[str],
    *,
    level: Level,
    readers: int,
    policy: CellPolicy,
    seed: int,
    resamples: int = RESAMPLES,
) -> Reliability:
    """Agreement over some studies, as `reliability_by_site` describes it."""
    names = sorted({reader for each in reads for reader in each})
    numbers = {term: number for number, term in enumerate(terms)}
    codes = np.array([[numbers[each[name]] if name in each else -1 for name in names] for each in reads], np.int64)
    codes = codes.reshape(len(reads), len(names))
    size = len(terms)
    pairs = {
        f"{names[first]}/{names[second]}": codes[:, [first, second]]
        for first, second in combinations(range(len(names)), 2)
        if (common := int((codes[:, [first, second]] >= 0).all(axis=1).sum())) and not policy.is_small(common)
    }
    return Reliability(
        studies=policy.shown(len(reads)),
        fleiss=estimate(codes, lambda part: fleiss_kappa(part, size, readers), seed=seed, resamples=resamples),
        alpha=estimate(codes, lambda part: krippendorff_alpha(part, size, level), seed=seed, resamples=resamples),
        cohen={
            pair: estimate(both, lambda part: cohen_kappa(part[:, 0], part[:, 1], size), seed=seed, resamples=resamples)
            for pair, both in pairs.items()
        },
    )


def estimate(
    codes: Codes, statistic: Callable[[Codes], float | None], *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic with its percentile interval over studies drawn with replacement, by a generator of that seed."""
    value = statistic(codes)
    if value is None:
        return Estimate(value=None)
    generator = np.random.default_rng(seed)
    drawn = (statistic(codes[generator.integers(len(codes), size=len(codes))]) for _ in range(resamples))
    defined = [each for each in drawn if each is not None]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (None, None)
    return Estimate(value=value, low=low, high=high, undefined=resamples - len(defined))


def fleiss_kappa(codes: Codes, size: int, readers: int) -> float | None:
    """Fleiss' kappa over the studies with `readers` reads, of `size` terms; `None` where it is undefined."""
    counts = _counts(codes, size)
    counts = counts[counts.sum(axis=1) == readers]
    if not _are_mixed(counts.sum(axis=0)):
        return None
    agreeing = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    return _beyond_chance(float(agreeing.mean()), float(((counts.sum(axis=0) / counts.sum()) ** 2).sum()))


def cohen_kappa(first: Codes, second: Codes, size: int) -> float | None:
    """Cohen's kappa over the studies that both readers read; `None` where it is undefined."""
    both = (first >= 0) & (second >= 0)
    margins = [np.bincount(codes[both], minlength=size) for codes in (first, second)]
    if not _are_mixed(margins[0] + margins[1]):
        return None
    chance = float((margins[0] * margins[1]).sum()) / int(both.sum()) ** 2
    return _beyond_chance(float((first[both] == second[both]).mean()), chance)


def krippendorff_alpha(codes: Codes, size: int, level: Level) -> float | None:
    """Krippendorff's alpha over the studies with two reads or more; `None` where it is undefined."""
    counts = _counts(codes, size)
    counts = counts[counts.sum(axis=1) >= 2]
    totals = counts.sum(axis=0)
    if not _are_mixed(totals):
        return None
    weights = 1 / (counts.sum(axis=1) - 1)
    observed = (counts * weights[:, None]).T @ counts - np.diag(weights @ counts)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    distances = _distances(totals, level)
    return float(1 - (observed * distances).sum() / (expected * distances).sum())


def _counts(codes: Codes, size: int) -> Codes:
    """Studies x terms: how many reads of each."""
    return np.asarray((codes[:, :, None] == np.arange(size)).sum(axis=1), np.int64)


def _are_mixed(totals: Codes) -> bool:
    """Whether there are reads of more terms than a single one, so that chance agreement is not whole."""
    return int((totals > 0).sum()) > 1


def _beyond_chance(observed: float, chance: float) -> float:
    return (observed - chance) / (1 - chance)


def _distances(totals: Codes, level: Level) -> NDArray[np.float64]:
    """The squared distance of each pair of terms: ordinal ones are as far apart as reads lie between them."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle[None, :]) ** 2, np.float64)
