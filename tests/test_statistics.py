import numpy as np
import pytest

from corrtool.statistics import (
    bootstrap_interval,
    comparable_share,
    interval_over_games,
    interval_over_seeds,
    moving_mean,
    moving_means,
    student_t_interval,
    student_t_quantile,
    transfer_metrics,
)


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
    low, high = bootstrap_interval(returns.tolist())
    assert low == pytest.approx(returns.mean() - half_width, abs=0.02)
    assert high == pytest.approx(returns.mean() + half_width, abs=0.02)


def test_more_confidence_is_a_wider_interval() -> None:
    returns = list(range(20))
    (low_90, high_90), (low_99, high_99) = (
        bootstrap_interval(returns, 0.90),
        bootstrap_interval(returns, 0.99),
    )
    assert low_99 < low_90 < 9.5 < high_90 < high_99


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


@pytest.mark.parametrize(
    ("transfer", "random", "source_random", "share"),
    [
        (50.0, 0.0, 0.0, 0.5),
        (50.0, 0.0, None, 0.5),
        (76.0, 60.0, 0.0, None),  # random play apart by 60 of 100
        (74.5, 49.0, 0.0, 0.5),
        (74.5, 49.0, -2.0, None),  # by 51 of 102
        (199.0, 0.0, 0.0, 1.99),
        (200.0, 0.0, 0.0, None),  # twice the way, which is that of the target's random play
        (151.0, 49.0, 0.0, None),
        (150.0, 49.0, 0.0, 101 / 51),
    ],
)
def test_a_share_is_told_of_one_scale_only(
    transfer: float, random: float, source_random: float | None, share: float | None
) -> None:
    assert comparable_share(transfer, random, 100.0, source_random) == share


def test_moving_mean_takes_the_last_window() -> None:
    assert moving_mean([100.0, 1.0, 2.0, 6.0], window=3) == 3.0
    assert moving_mean([1.0, 2.0], window=20) == 1.5
    assert moving_mean([100.0, *[1.0] * 20]) == 1.0
    assert moving_mean([]) is None


def test_moving_means_after_each_game() -> None:
    assert moving_means([1.0, 3.0, 5.0, 7.0], window=2) == [1.0, 2.0, 4.0, 6.0]
    assert moving_means([]) == []


@pytest.mark.parametrize(
    ("probability", "degrees_of_freedom", "quantile"),
    [
        (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 3, 3.182), (0.975, 4, 2.776),
        (0.975, 9, 2.262), (0.975, 30, 2.042), (0.975, 1000, 1.962), (0.95, 5, 2.015),
        (0.995, 4, 4.604), (0.5, 3, 0.0),
    ],
)  # fmt: skip
def test_quantiles_of_students_t_are_those_of_the_tables(
    probability: float, degrees_of_freedom: int, quantile: float
) -> None:
    assert student_t_quantile(probability, degrees_of_freedom) == pytest.approx(quantile, abs=5e-4)


def test_students_interval_by_hand() -> None:
    # mean 2, standard deviation 1, of the mean 1/√3; 4.303 · 0.57735 = 2.484
    assert student_t_interval([1.0, 2.0, 3.0]) == pytest.approx((-0.484, 4.484), abs=1e-3)
    # mean 19.98, standard deviation 0.04472, of the mean 0.02; 2.776 · 0.02 = 0.0555
    assert student_t_interval([20.0, 19.9, 20.0, 20.0, 20.0]) == pytest.approx(
        (19.9245, 20.0355), abs=1e-4
    )
    assert student_t_interval([5.0, 5.0]) == (5.0, 5.0)
    assert student_t_interval([5.0]) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_students_interval_holds_the_mean_as_often_as_it_says(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    bounds = [student_t_interval(random.normal(0.0, 1.0, seeds).tolist()) for _ in range(2_000)]
    held = np.mean([pair is not None and pair[0] < 0 < pair[1] for pair in bounds])
    assert (
        0.935 < held < 0.965
    )  # 0.95, and three standard errors of 0.005; the bootstrap has 0.51, 0.75 and 0.84


def test_intervals_say_what_they_are_over() -> None:
    games = interval_over_games([1.0, 2.0, 3.0], distinct=3)
    assert (games.mean, games.bounds, games.over, games.count, games.distinct) == (
        2.0,
        None,
        "games",
        3,
        3,
    )
    seeds = interval_over_seeds([[20.0] * 30, [10.0] * 30])
    assert (seeds.mean, seeds.over, seeds.count) == (15.0, "seeds", 2)
    assert seeds.bounds == pytest.approx((15 - 12.706 * 5, 15 + 12.706 * 5), abs=0.01)
    assert interval_over_seeds([[20.0, 10.0]]).bounds is None


def test_an_interval_over_games_needs_twenty_that_differ() -> None:
    returns = [20.0, 19.0] * 15
    assert interval_over_games(returns, distinct=19).bounds is None
    assert interval_over_games(returns, distinct=20).bounds == bootstrap_interval(returns)
    assert (
        interval_over_games(returns).bounds is None
    )  # nobody counted, and there are two different returns
    assert interval_over_games(list(range(20))).bounds is not None


def test_transfer_metrics_of_a_curve_worked_out_by_hand() -> None:
    returns = [-21.0] * 20 + [21.0] * 30  # the 20-game mean rises by 2.1 a game from the 21st
    metrics = transfer_metrics(returns, [100 * (game + 1) for game in range(50)])
    assert metrics.jumpstart == -21.0 and metrics.asymptote == 21.0
    assert metrics.games_to == {0.0: 30, 10.0: 35, 18.0: 39}
    assert metrics.env_steps_to == {0.0: 3000, 10.0: 3500, 18.0: 3900}


def test_the_first_and_the_last_twenty_games_make_jumpstart_and_asymptote() -> None:
    metrics = transfer_metrics([1.0] * 20 + [5.0] * 20 + [7.0] * 20, list(range(60)))
    assert (metrics.jumpstart, metrics.asymptote) == (1.0, 7.0)
    few = transfer_metrics([2.0, 4.0], [10, 20])
    assert (few.jumpstart, few.asymptote) == (3.0, 3.0)
    with pytest.raises(ValueError, match="at least one game"):
        transfer_metrics([], [])


def test_a_threshold_counts_from_twenty_games_on_and_may_never_be_reached() -> None:
    metrics = transfer_metrics([20.0] * 25 + [-21.0], list(range(26)), thresholds=(18.0, 21.0))
    assert metrics.games_to == {18.0: 20, 21.0: None}
    assert metrics.env_steps_to == {18.0: 19, 21.0: None}
    assert transfer_metrics([20.0] * 19, list(range(19))).games_to == {
        0.0: None,
        10.0: None,
        18.0: None,
    }  # no 20-game mean yet
