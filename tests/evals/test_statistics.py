"""Statistics against numbers worked out by hand and against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from conservator.evals import statistics as statistics_module
from conservator.evals.statistics import estimate, paired, ratio_of_gains, stratified


def test_mean_median_and_the_interval_of_two_values() -> None:
    found = estimate([1.0, 2.0])
    # Of two values a resample is 1, 1.5 or 2 with chances 1/4, 1/2, 1/4: both tails reach the ends.
    assert (found.n, found.mean, found.median, found.low, found.high) == (2, 1.5, 1.5, 1.0, 2.0)
    skewed = estimate([0.0, 0.0, 0.0, 8.0])
    assert (skewed.mean, skewed.median) == (2.0, 0.0)
    assert skewed.low == 0.0
    # k of four draws hit the 8, mean 2k; P(k >= 3) = 5.1 %, P(4) = 0.4 %: the 97.5th percentile is 6.
    assert skewed.high == 6.0


def test_one_value_tells_nothing_about_spread() -> None:
    assert estimate([3.0]).as_data() == {
        "n": 1,
        "mean": 3.0,
        "median": 3.0,
        "low": None,
        "high": None,
    }
    assert stratified([[1.0, 2.0], [5.0]]).low is None
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_a_constant_has_no_width() -> None:
    found = estimate([7.5] * 5)
    assert (found.mean, found.low, found.high) == (7.5, 7.5, 7.5)


def test_the_interval_is_scipys_and_repeats() -> None:
    values = np.random.default_rng(3).normal(20, 3, 40)
    found = estimate(values.tolist())
    assert found == estimate(values.tolist())
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.12)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.12)
    assert estimate(values.tolist(), seed=1).low != found.low


def test_strata_weigh_the_same_however_many_values_they_have() -> None:
    found = stratified([[10.0, 10.0, 10.0, 10.0], [20.0, 20.0], []])
    assert (found.n, found.mean, found.median) == (6, 15.0, 10.0)
    # Resampled within the strata, constants stay; pooled resampling would mix 10 and 20.
    assert (found.low, found.high) == (15.0, 15.0)


def test_strata_are_resampled_apart() -> None:
    values = np.random.default_rng(5).normal(0, 1, 200).tolist()
    alone, four = estimate(values), stratified([values] * 4)
    width = [found.high - found.low for found in (alone, four)]
    # The mean of four independent means has half the spread; the same draws four times would keep it whole.
    assert width[1] / width[0] == pytest.approx(0.5, abs=0.06)


def test_large_samples_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).normal(0, 1, 50).tolist()
    whole = estimate(values)
    monkeypatch.setattr(statistics_module, "_BLOCK", 500)
    blocks = estimate(values)
    assert blocks.low == pytest.approx(whole.low, abs=0.05)


def test_paired_by_hand() -> None:
    found = paired([10.0, 20.0, 30.0, 40.0], [11.0, 19.0, 30.0, 44.0])
    assert (found.n, found.first, found.second, found.difference) == (4, 25.0, 26.0, 1.0)
    assert (found.better, found.worse, found.equal) == (0.5, 0.25, 0.25)
    # |1 - 1 + 4| is reached by flips with sum +-4 or +-6: signs of (1, 1, 4) with the 4 alone or helped: 6 of 8.
    assert found.permutation_p == pytest.approx(0.75)
    # Ranks 1.5, 1.5, 3 of differences 1, -1, 4: W- = 1.5.
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon([1.0, -1.0, 4.0]).pvalue)


def test_the_smallest_p_of_six_pairs() -> None:
    found = paired([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    assert found.wilcoxon_p == found.permutation_p == 2 / 2**6


def test_lower_is_better_turns_better_and_worse_around() -> None:
    found = paired([0.5, 0.4, 0.3], [0.4, 0.3, 0.4], higher_is_better=False)
    assert (found.better, found.worse) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert found.difference == pytest.approx(-0.1 / 3)


def test_ties_and_single_pairs() -> None:
    same = paired([1.0, 2.0], [1.0, 2.0 + 1e-9])
    assert (same.equal, same.wilcoxon_p, same.permutation_p) == (1.0, 1.0, 1.0)
    one = paired([1.0], [2.0])
    assert (one.difference, one.low, one.wilcoxon_p, one.permutation_p) == (1.0, None, 1.0, 1.0)
    with pytest.raises(ValueError, match="2 and 1"):
        paired([1.0, 2.0], [1.0])


def test_permutation_against_every_sign_and_against_scipy() -> None:
    values = np.random.default_rng(7).normal(0.4, 1, 10)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=10)]
    expected = np.mean([s >= abs(values.sum()) - 1e-12 for s in sums])
    assert paired([0.0] * 10, values.tolist()).permutation_p == pytest.approx(expected)
    many = np.random.default_rng(8).normal(0.3, 1, 40)
    # Both draw; with 99999 flips theirs is exact to 0.0016, ours with 10000 to 0.005 (one standard deviation each).
    theirs = stats.permutation_test(
        (many,),
        np.mean,
        permutation_type="samples",
        n_resamples=99_999,
        vectorized=True,
        random_state=np.random.default_rng(9),
    )
    assert paired([0.0] * 40, many.tolist()).permutation_p == pytest.approx(theirs.pvalue, abs=0.02)


def test_share_of_the_ceilings_gain() -> None:
    triples = [(10.0, 12.0, 20.0), (20.0, 23.0, 30.0)]
    found = ratio_of_gains([triples])
    assert found is not None
    assert (found.n, found.mean) == (2, pytest.approx(0.25))
    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.3))
    # Lower is better: the signs cancel.
    fallen = ratio_of_gains([[(0.5, 0.4, 0.1)]])
    assert fallen is not None
    assert fallen.mean == pytest.approx(0.25)
    assert ratio_of_gains([[(10.0, 12.0, 10.0)]]) is None
    assert ratio_of_gains([[], []]) is None
