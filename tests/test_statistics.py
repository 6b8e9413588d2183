import numpy as np
import pytest

from corrtool.statistics import bootstrap_interval, moving_mean


def test_constant_returns_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval([21.0] * 30) == (21.0, 21.0)


def test_a_single_return_gives_a_degenerate_interval() -> None:
    assert bootstrap_interval([-3.0]) == (-3.0, -3.0)


def test_two_returns_by_hand() -> None:
    # Two draws from {0, 1} have the mean 0, ½, 1 with probability ¼, ½, ¼.
    assert bootstrap_interval([0.0, 1.0], confidence=0.95) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], confidence=0.40) == (0.5, 0.5)


def test_the_same_returns_give_the_same_interval() -> None:
    returns = [-21.0, 3.0, 20.0, 7.5]
    assert bootstrap_interval(returns) == bootstrap_interval(list(returns))


def test_many_returns_agree_with_the_normal_approximation() -> None:
    returns = np.random.default_rng(3).normal(5.0, 2.0, 400)
    half_width = 1.96 * returns.std() / np.sqrt(len(returns))
    low, high = bootstrap_interval(returns)
    assert low == pytest.approx(returns.mean() - half_width, abs=0.02)
    assert high == pytest.approx(returns.mean() + half_width, abs=0.02)


def test_more_confidence_is_a_wider_interval() -> None:
    returns = list(range(20))
    (low_90, high_90), (low_99, high_99) = bootstrap_interval(returns, 0.90), bootstrap_interval(returns, 0.99)
    assert low_99 < low_90 < 9.5 < high_90 < high_99


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


def test_moving_mean_takes_the_last_window() -> None:
    assert moving_mean([100.0, 1.0, 2.0, 6.0], window=3) == 3.0
    assert moving_mean([1.0, 2.0], window=20) == 1.5
    assert moving_mean([100.0, *[1.0] * 20]) == 1.0
    assert moving_mean([]) is None
