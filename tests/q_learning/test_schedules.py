"""What changes while a Q-function learns.

That is ε, learning rate, importance weights and length of returns.
"""

import pytest

from corrtool.q_learning.progress import Progress
from corrtool.q_learning.schedules import (
    env_steps_in_all,
    exploration_rates,
    importance_exponent,
    is_settled,
    learning_rate,
    return_length,
    still_improves,
)
from corrtool.settings.stages import TrainDqnSettings


class TestEnvStepsInAll:
    settings = TrainDqnSettings(env_steps=400, unsolved_env_steps=900, eval_every=100)

    @pytest.mark.parametrize(
        "env_steps, best, threshold, total",
        [
            (0, None, 200.0, 400),
            (399, 10.0, 200.0, 400),  # it may still be solved in time
            (400, 10.0, 200.0, 900),
            (700, 199.9, 200.0, 900),
            (700, 200.0, 200.0, 400),
            (400, None, 200.0, 900),
            (400, 10.0, None, 400),  # the task states no threshold
            (0, -200.0, -110.0, 400),
            (400, -100.0, -110.0, 400),
        ],
    )
    def test_are_more_where_no_play_test_has_solved_the_task(
        self, env_steps: int, best: float | None, threshold: float | None, total: int
    ) -> None:
        found = env_steps_in_all(self.settings, env_steps, best, threshold, improves=False)
        assert found == total

    @pytest.mark.parametrize(("env_steps", "total"), [(399, 400), (400, 900), (700, 900)])
    def test_are_more_where_play_tests_get_better_of_a_task_without_a_threshold(
        self, env_steps: int, total: int
    ) -> None:
        assert env_steps_in_all(self.settings, env_steps, 5.0, None, improves=True) == total

    def test_a_task_that_is_solved_needs_to_get_no_better(self) -> None:
        assert env_steps_in_all(self.settings, 400, 200.0, 200.0, improves=True) == 400

    def test_are_as_planned_where_nothing_else_is_asked_for_or_nothing_is_tested(self) -> None:
        for other in ({"unsolved_env_steps": 0}, {"eval_every": 0}):
            settings = TrainDqnSettings(**{**self.settings.to_json(), **other})
            assert env_steps_in_all(settings, 400, None, 200.0, improves=True) == 400


@pytest.mark.parametrize(
    ("test_means", "random_mean", "improves"),
    [
        ([-16.3, -7.9, -4.9, -0.8, 5.2, 1.5, 4.7], -20.0, True),  # of Pong, after 300,000 steps
        ([17.6, 19.4, 20.1, 20.0, 19.8, 20.2], -20.0, False),
        ([0.0, 0.0, 0.0, 10.0, 10.0, 10.0], -90.0, True),  # a tenth of what was learnt
        ([0.0, 0.0, 0.0, 4.0, 4.0, 4.0], -90.0, False),
        ([9.0, 9.0, 9.0, 1.0, 1.0, 1.0], 0.0, False),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 0.0, False),  # too few
        ([-9.0, -8.0, -7.0, -3.0, -2.0, -1.0], 0.0, False),  # worse than random play
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, False),
    ],
)
def test_play_tests_get_better_by_a_part_of_what_was_learnt(
    test_means: list[float], random_mean: float | None, improves: bool
) -> None:
    assert still_improves(test_means, random_mean) is improves


@pytest.mark.parametrize(
    ("test_means", "best_game", "random_mean", "settled"),
    [
        ([16.0, 19.5, 19.6], 21.0, -20.0, True),  # Pong: 18.95 and more
        ([16.0, 18.9, 19.6], 21.0, -20.0, False),
        ([19.5, 19.6, 18.9], 21.0, -20.0, False),  # only the newest count, and all of them
        ([30.0, 30.0], 40.0, 0.0, False),  # games differ too much to tell
        ([20.5], 21.0, -20.0, False),  # too few
        ([-20.0, -20.0], -20.0, -20.0, False),  # nothing was learnt
        ([20.5, 20.5], 21.0, None, False),
        ([], None, -20.0, False),
    ],
)
def test_play_tests_settle_at_the_best_game(
    test_means: list[float], best_game: float | None, random_mean: float | None, settled: bool
) -> None:
    assert is_settled(test_means, best_game, random_mean) is settled


@pytest.mark.parametrize("env_steps, settled", [(399, False), (400, True), (1_200, True)])
def test_nothing_settles_in_the_first_two_fifths(env_steps: int, settled: bool) -> None:
    progress = Progress(first_returns=[-5.0] * 20)
    for progress.env_steps in (200, env_steps):
        progress.finish_test([0.0] * 10)  # to do nothing is better than random play
    assert progress.has_settled(1_000) is settled


class TestExplorationRates:
    settings = TrainDqnSettings(
        learning_starts=100,
        epsilon_start=0.9,
        epsilon_end=0.1,
        epsilon_env_steps=400,
        greedy_from=1.0,
    )

    @pytest.mark.parametrize(
        "env_steps, epsilon",
        [
            (0, 0.9),
            (99, 0.9),
            (100, 0.9),
            (200, 0.7),
            (300, 0.5),
            (500, 0.1),
            (501, 0.1),
            (10**9, 0.1),
        ],
    )
    def test_falls_in_a_line_once_learning_begins(self, env_steps: int, epsilon: float) -> None:
        assert exploration_rates(self.settings, env_steps) == pytest.approx([epsilon] * 8)

    def test_is_that_of_the_tests_in_the_greedy_part(self) -> None:
        settings = TrainDqnSettings(
            env_steps=1_000, greedy_from=0.7, epsilon_end=0.1, eval_epsilon=0.02
        )
        assert (exploration_rates(settings, 699) > 0.1).all()
        for step in (700, 1_000, 1_007):
            assert (exploration_rates(settings, step) == 0.02).all()

    def test_may_be_constant(self) -> None:
        constant = TrainDqnSettings(epsilon_start=0.3, epsilon_end=0.3, greedy_from=1.0)
        for step in (0, 20_000, 10**6):
            assert (exploration_rates(constant, step) == 0.3).all()

    @pytest.mark.parametrize(
        "env_steps, epsilons",
        [
            (0, [1.0, 1.0, 1.0]),
            (50, [0.501, 0.505, 0.525]),
            (100, [0.002, 0.01, 0.05]),  # each five times the one before
        ],
    )
    def test_ends_at_another_rate_in_each_lane(self, env_steps: int, epsilons: list[float]) -> None:
        settings = TrainDqnSettings(
            lanes=3,
            learning_starts=0,
            epsilon_end=0.002,
            epsilon_end_most=0.05,
            epsilon_env_steps=100,
            greedy_from=1.0,
        )
        assert exploration_rates(settings, env_steps) == pytest.approx(epsilons)


class TestLearningRate:
    @pytest.mark.parametrize(
        "env_steps, rate", [(0, 0.5), (100, 0.5), (150, 0.4), (200, 0.3), (300, 0.1), (400, 0.1)]
    )
    def test_falls_in_a_line_to_the_last_step(self, env_steps: int, rate: float) -> None:
        settings = TrainDqnSettings(
            learning_rate=0.5, learning_rate_end=0.1, env_steps=300, constant_share=1 / 3
        )
        assert learning_rate(settings, env_steps) == pytest.approx(rate)

    def test_a_part_of_a_step_may_be_constant(self) -> None:
        settings = TrainDqnSettings(
            learning_rate=0.5, learning_rate_end=0.2, env_steps=10, constant_share=0.85
        )
        # Constant for 8.5 steps; half a step of 1.5 is a third of the way.
        assert learning_rate(settings, 9) == pytest.approx(0.4)

    def test_never_rises(self) -> None:
        settings = TrainDqnSettings(learning_rate=0.1, learning_rate_end=0.5)
        assert {learning_rate(settings, step) for step in (0, 1_000, 10**6)} == {0.1}


@pytest.mark.parametrize("env_steps, exponent", [(0, 0.4), (50, 0.7), (100, 1.0), (107, 1.0)])
def test_importance_weights_become_exact(env_steps: int, exponent: float) -> None:
    assert importance_exponent(TrainDqnSettings(env_steps=100), env_steps) == pytest.approx(
        exponent
    )


@pytest.mark.parametrize(
    "env_steps, n", [(0, 10), (1_000, 10), (5_500, 6), (10_000, 3), (10**6, 3)]
)
def test_returns_get_shorter(env_steps: int, n: int) -> None:
    settings = TrainDqnSettings(
        n_step=10, n_step_end=3, n_step_env_steps=9_000, learning_starts=1_000
    )
    assert return_length(settings, env_steps) == n
    assert return_length(TrainDqnSettings(n_step=2, n_step_end=3), env_steps) == 2
