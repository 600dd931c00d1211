"""Means with 95 % intervals, and paired comparisons. Deterministic: every draw is seeded.

Intervals are percentile bootstraps (Efron 1979). Where values lie in strata (the rows of a group) the estimate is the mean of
the strata's means and each stratum is resampled within itself, so that the mixture of rows stays what the task says. Percentile intervals of a handful of
values are too narrow: those of two cover the mean half of the time, those of ten about nine times in ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TIE", "Estimate", "Paired", "estimate", "paired", "ratio_of_gains", "stratified"]

TIE = 1e-6
"""Differences up to this count as none: a metric of the same pixels may differ in the last bits between machines."""

RESAMPLES = 2000
_PERMUTATIONS = 10_000
_EXACT = 12
_BLOCK = 2_000_000
_TAILS = (2.5, 97.5)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        n: values.
        mean: of the values, or of the strata's means.
        median: of all values.
        low: lower end of the 95 % interval; None where a stratum has fewer than two values and tells nothing about spread.
        high: upper end.
    """

    n: int
    mean: float
    median: float
    low: float | None
    high: float | None

    def as_data(self, digits: int = 6) -> dict[str, float | int | None]:
        """As JSON data, rounded: what lies beyond depends on the order of summation."""
        return _rounded(asdict(self), digits)


@dataclass(frozen=True)
class Paired:
    """Second minus first on the same samples.

    Attributes:
        n: pairs.
        first: mean of the first.
        second: mean of the second.
        difference: mean of second minus first.
        low: lower end of the difference's 95 % interval, None for a single pair.
        high: upper end.
        better: share of pairs in which the second is better.
        worse: share of pairs in which it is worse.
        equal: share of ties.
        wilcoxon_p: two-sided Wilcoxon signed-rank test; 1 when every pair ties.
        permutation_p: two-sided sign-flip permutation test of the mean difference; exact up to 12 pairs.
    """

    n: int
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    better: float
    worse: float
    equal: float
    wilcoxon_p: float
    permutation_p: float

    def as_data(self, digits: int = 6) -> dict[str, float | int | None]:
        """As JSON data, rounded."""
        return _rounded(asdict(self), digits)


def estimate(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean, median and 95 % interval of at least one value.

    Raises:
        ValueError: no values.
    """
    return stratified([values], seed=seed)


def stratified(strata: Sequence[Sequence[float]], *, seed: int = 0) -> Estimate:
    """The mean of the strata's means, each stratum with equal weight; empty strata are left out.

    Raises:
        ValueError: no values in any stratum.
    """
    filled = [np.asarray(values, np.float64) for values in strata if len(values)]
    if not filled:
        raise ValueError("no values: nothing to estimate")
    mean = float(np.mean([values.mean() for values in filled]))
    low = high = None
    if min(map(len, filled)) > 1:
        random = np.random.default_rng(seed)
        means = np.mean([_resampled(values[:, None], random) for values in filled], axis=0)
        low, high = (float(x) for x in np.percentile(means[:, 0], _TAILS))
    together = np.concatenate(filled)
    return Estimate(len(together), mean, float(np.median(together)), low, high)


def ratio_of_gains(
    strata: Sequence[Sequence[tuple[float, float, float]]], *, seed: int = 0
) -> Estimate | None:
    """How much of a ceiling's gain a system reaches: (system - base) / (ceiling - base) of the strata's mean means.

    Args:
        strata: triples (base, system, ceiling) of the same sample.
        seed: of the resampling.

    Returns:
        The share; its median is the ratio itself, as a median of ratios would explode where the ceiling gains nothing. None
        without samples or where the ceiling gains nothing on average.
    """
    filled = [np.asarray(triples, np.float64) for triples in strata if len(triples)]
    if not filled:
        return None
    base, system, ceiling = np.mean([triples.mean(axis=0) for triples in filled], axis=0)
    if abs(ceiling - base) <= TIE:
        return None
    share = float((system - base) / (ceiling - base))
    low = high = None
    if min(map(len, filled)) > 1:
        random = np.random.default_rng(seed)
        means = np.mean([_resampled(triples, random) for triples in filled], axis=0)
        possible = means[:, 2] - means[:, 0]
        # Resamples in which the ceiling gains nothing have no ratio; where they are more than the tails, neither has the end.
        kept = np.sign(possible) == np.sign(ceiling - base)
        if kept.mean() > 0.95:
            shares = (means[kept, 1] - means[kept, 0]) / possible[kept]
            low, high = (float(x) for x in np.percentile(shares, _TAILS))
    return Estimate(sum(map(len, filled)), share, share, low, high)


def paired(
    first: Sequence[float], second: Sequence[float], *, higher_is_better: bool = True, seed: int = 0
) -> Paired:
    """Compare two scores of the same samples, in the same order.

    Raises:
        ValueError: no pairs, or a different number of values.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values make no pairs")
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    difference = b - a
    spread = estimate(difference.tolist(), seed=seed)
    gain = difference if higher_is_better else -difference
    return Paired(
        n=len(a),
        first=float(a.mean()),
        second=float(b.mean()),
        difference=spread.mean,
        low=spread.low,
        high=spread.high,
        better=float(np.mean(gain > TIE)),
        worse=float(np.mean(gain < -TIE)),
        equal=float(np.mean(np.abs(gain) <= TIE)),
        wilcoxon_p=_wilcoxon(difference),
        permutation_p=_permutation(difference, seed),
    )


def _resampled(values: Floats, random: np.random.Generator) -> Floats:
    """(RESAMPLES, columns): means over resampled rows of (n, columns), in blocks that fit the memory."""
    n = len(values)
    step = max(1, _BLOCK // (n * values.shape[1]))
    blocks = [
        values[random.integers(0, n, (min(step, RESAMPLES - start), n))].mean(axis=1)
        for start in range(0, RESAMPLES, step)
    ]
    return np.concatenate(blocks)


def _wilcoxon(difference: Floats) -> float:
    from scipy import stats

    moved = difference[np.abs(difference) > TIE]
    if not len(moved):
        return 1.0
    # Ranks of rounded differences: noise in the last bits must not break ties.
    return float(stats.wilcoxon(np.round(moved, 9)).pvalue)


def _permutation(difference: Floats, seed: int) -> float:
    """Share of sign flips whose mean lies at least as far from zero; with the observed one, so never zero."""
    n = len(difference)
    seen = abs(difference.sum()) * (1 - 1e-12) - 1e-12
    if n <= _EXACT:
        flips = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(flips @ difference) >= seen))
    hits = sum(
        int(np.sum(np.abs(flips @ difference) >= seen))
        for flips in _flips(n, np.random.default_rng(seed))
    )
    return (hits + 1) / (_PERMUTATIONS + 1)


def _flips(n: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    step = max(1, _BLOCK // n)
    for start in range(0, _PERMUTATIONS, step):
        yield 1 - 2 * random.integers(0, 2, (min(step, _PERMUTATIONS - start), n))


def _rounded(data: dict[str, float | int | None], digits: int) -> dict[str, float | int | None]:
    return {
        key: round(value, digits) if isinstance(value, float) else value
        for key, value in data.items()
    }
