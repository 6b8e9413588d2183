"""Schedules of the training: how long, ε, learning rate, length of returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corrtool.settings.stages import DqnSettings

COMPARED_TESTS = 3  # play tests, with as many before: one mean of ten games says little
IMPROVED = 0.05  # of all that was learnt since random play
SETTLED_TESTS = 2  # in a row
SETTLES_FROM = 0.4  # of --env-steps: to do nothing may be the best that was found before


def env_steps_in_all(
    settings: DqnSettings,
    env_steps: int,
    best_mean_return: float | None,
    reward_threshold: float | None,
    *,
    improves: bool,
) -> int:
    """Where learning ends, as far as is known after ``env_steps``.

    Later than planned where the best play test has not solved the task by then, or, of a task that
    does not say what solves it, play tests still get better.

    Args:
        reward_threshold: the mean return that does; None where the task states none.
        improves: what :func:`still_improves` says.
    """
    unfinished = (
        improves if reward_threshold is None else not is_solved(best_mean_return, reward_threshold)
    )
    if unfinished and settings.eval_every and env_steps >= settings.env_steps:
        return max(settings.env_steps, settings.unsolved_env_steps)
    return settings.env_steps


def still_improves(test_means: Sequence[float], random_mean: float | None) -> bool:
    """True if the newest play tests are better than as many before, by a part of what was learnt.

    Args:
        test_means: of all play tests, in order; too few of them tell nothing.
        random_mean: the mean return before anything was learnt; None where that is not known.
    """
    newest, before = test_means[-COMPARED_TESTS:], test_means[:-COMPARED_TESTS][-COMPARED_TESTS:]
    if len(before) < COMPARED_TESTS or random_mean is None:
        return False
    learnt = max(test_means) - random_mean
    return learnt > 0 and bool(np.mean(newest) - np.mean(before) > IMPROVED * learnt)


def is_settled(
    test_means: Sequence[float], best_game: float | None, random_mean: float | None
) -> bool:
    """True if the newest play tests are, on the average, as good as any single game was.

    Within the same part of what was learnt. Where games differ more than that this says nothing.

    Args:
        best_game: the best return of a game in any play test.
        random_mean: as above.
    """
    if len(test_means) < SETTLED_TESTS or best_game is None or random_mean is None:
        return False
    learnt = best_game - random_mean
    return learnt > 0 and min(test_means[-SETTLED_TESTS:]) >= best_game - IMPROVED * learnt


def is_solved(best_mean_return: float | None, reward_threshold: float) -> bool:
    """True if a play test has reached the mean return that solves a task."""
    return best_mean_return is not None and best_mean_return >= reward_threshold


def what_is_unfinished(reward_threshold: float | None) -> str:
    """Why learning goes on, or should, in words."""
    if reward_threshold is None:
        return "play tests still get better"
    return f"no play test has reached {reward_threshold:g}, which solves the task"


def unsolved_note(
    settings: DqnSettings, best_mean_return: float | None, reward_threshold: float | None
) -> str | None:
    """That the task is not solved, and what goes on with it; None where it is, or nobody knows."""
    if reward_threshold is None or best_mean_return is None:
        return None
    if is_solved(best_mean_return, reward_threshold):
        return None
    longer = ": --extend with more --env-steps goes on" if settings.stage == "train-dqn" else ""
    return f"{what_is_unfinished(reward_threshold)}, the best has {best_mean_return:.1f}{longer}"


def exploration_rates(settings: DqnSettings, env_steps: int) -> NDArray[np.float64]:
    """ε of each lane (N,) after ``env_steps``.

    ε_start until learning begins, then linearly to an ε_end that is another for each lane, by equal
    ratios from one to the next, as in Horgan et al. 2018 ("Distributed prioritized experience
    replay", section 4). In the greedy part all have that of the play tests.
    """
    if plays_greedily(settings, env_steps):
        return np.full(settings.lanes, settings.eval_epsilon)
    ends = np.full(settings.lanes, settings.epsilon_end)
    if settings.epsilon_end_most > settings.epsilon_end:
        ends = np.geomspace(settings.epsilon_end, settings.epsilon_end_most, settings.lanes)
    share = min(1.0, max(0.0, (env_steps - settings.learning_starts) / settings.epsilon_env_steps))
    return settings.epsilon_start + share * (ends - settings.epsilon_start)


def plays_greedily(settings: DqnSettings, env_steps: int) -> bool:
    """True in the last part of the training, whose games are played as they are tested.

    They are after the share ``greedy_from`` of all steps, if that is less than 1.
    """
    return settings.greedy_from < 1.0 and env_steps >= settings.greedy_from * settings.env_steps


def learning_rate(settings: DqnSettings, env_steps: int) -> float:
    """The optimizer's step size after ``env_steps``.

    It is learning_rate for a while, then falls linearly to learning_rate_end if that is less.
    """
    end = min(settings.learning_rate, settings.learning_rate_end)
    constant = settings.constant_share * settings.env_steps
    share = min(1.0, max(0.0, (env_steps - constant) / max(1.0, settings.env_steps - constant)))
    return settings.learning_rate + share * (end - settings.learning_rate)


def importance_exponent(settings: DqnSettings, env_steps: int) -> float:
    """β of prioritized replay after ``env_steps``: 0.4 to 1 (Schaul et al. 2016, section 3.4)."""
    return 0.4 + 0.6 * min(1.0, env_steps / settings.env_steps)


def return_length(settings: DqnSettings, env_steps: int) -> int:
    """n of the n-step returns after ``env_steps``.

    From n_step when learning begins it falls linearly to n_step_end, if that is less.
    """
    end = min(settings.n_step, settings.n_step_end)
    share = min(1.0, max(0.0, (env_steps - settings.learning_starts) / settings.n_step_env_steps))
    return round(settings.n_step + share * (end - settings.n_step))
