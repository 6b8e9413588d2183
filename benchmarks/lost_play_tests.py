"""`python -m benchmarks.lost_play_tests`: when a play test of Pong is lost, for who knows more.

Five games side by side of the agent that comes with corrtool, with a share of random actions, when
the best mean so far is 20. No environment says how much a game can still bring. If somebody knew
that Pong's never bring more than 21, or that each point lost is gone, how many steps would a test
save that ends once its mean can no longer be the best?
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluate import CPU, TASKS
from corrtool.memory import StateStacker
from corrtool.play.games import DirectQValues, choose_actions
from corrtool.pretrained import PONG, PRETRAINED
from corrtool.project.artifacts import read_artifact
from corrtool.q_learning.saved import load_q_function
from corrtool.runtime.seeds import derive_seeds
from corrtool.tasks import Lanes

GAMES, BEST, MOST = 5, 20.0, 21.0
RANDOM_ACTIONS = (0.0, 0.05, 0.2, 0.3, 0.5, 1.0)


def main() -> None:
    print("random actions  mean return  steps  lost by 21 a game  lost by the points lost")
    for share in RANDOM_ACTIONS:
        rewards, playing = play(share)
        returns = rewards.cumsum(axis=0)
        points_lost = (-rewards).clip(min=0).cumsum(axis=0)
        bounds = (np.full_like(returns, MOST), MOST - points_lost)  # of games that still go on
        ends = [first_below(np.where(playing, bound, returns).mean(axis=1)) for bound in bounds]
        print(f"{share:14} {returns[-1].mean():12.1f} {len(rewards):6} {ends[0]:18} {ends[1]:24}")


def play(random_actions: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The games' rewards, and which of them go on after each step: both (steps, games)."""
    random = np.random.default_rng(0)
    q_function = load_q_function(read_artifact(PRETRAINED, "q", PONG), CPU)
    rewards, playing = [], [np.ones(GAMES, bool)]
    with Lanes(TASKS[0], GAMES) as lanes:
        stacker = StateStacker(lanes.spec, GAMES, CPU)
        q_values = DirectQValues(q_function, lanes.spec)
        states = stacker.push(lanes.reset(derive_seeds(0, "select", GAMES)))
        while playing[-1].any():
            actions = choose_actions(
                q_values(states).detach(), GAMES, lanes.actions, random_actions, random
            )
            step = lanes.step(actions)
            rewards.append(np.where(playing[-1], step.rewards, 0.0))
            playing.append(playing[-1] & ~(step.terminated | step.truncated))
            states = stacker.push(step.frames, step.episode_steps)
    return np.array(rewards), np.array(playing[1:])


def first_below(means: NDArray[np.float64]) -> int:
    """The step after which ``means`` are below the best, or the last one."""
    below = np.flatnonzero(means < BEST)
    return int(below[0]) + 1 if len(below) else len(means)


if __name__ == "__main__":
    main()
