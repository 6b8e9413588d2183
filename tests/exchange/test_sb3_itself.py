"""A DQN that Stable-Baselines3 trained, if it is installed (extra 'bench')."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from support.commands import run_in_process

import corrtool
from corrtool.runtime.seeds import derive_seeds

GAMES, SEED = 20, 5  # random play has a return of 22


@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
def test_it_plays_as_at_home(
    cartpole: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the import it plays the same games to the last step; half a minute."""
    sb3 = pytest.importorskip("stable_baselines3")
    agent = sb3.DQN(
        "MlpPolicy",
        "CartPole-v1",
        seed=1,
        learning_rate=2.3e-3,
        batch_size=64,
        learning_starts=1_000,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.5,
    ).learn(8_000)
    agent.save(tmp_path / "dqn_cartpole.zip")
    lab = cartpole()
    flags = ("--preprocessing", "same", "-p", lab)
    assert (
        run_in_process("import", "q", tmp_path / "dqn_cartpole.zip", "--from", "sb3", *flags) == 0
    )
    out = capsys.readouterr().out
    assert out.startswith("Q-function dqn_cartpole-seed1: mlp, 4,610 parameters")
    assert "gamma 0.99, seed 1, env_steps 8192" in out

    games = ("--task", "source", "--games", GAMES, "--epsilon", 0, "--seed", SEED, "--json")
    assert run_in_process("evaluate", "-p", lab, *games) == 0
    seeds = derive_seeds(SEED, "evaluate", GAMES)
    returns, states = _play(agent, seeds)
    assert json.loads(capsys.readouterr().out)["returns"] == returns
    assert np.mean(returns) > 50 and len(set(returns)) > 1  # it has learnt, and not all

    assert len(states) >= 1_000
    q_function = corrtool.open_project(lab).load_q_function("dqn_cartpole-seed1")
    visited = torch.from_numpy(np.stack(states))
    with torch.no_grad():
        difference = q_function(visited) - agent.q_net(visited)
    assert difference.abs().max() < 1e-5


def _play(agent: Any, seeds: list[int]) -> tuple[list[float], list[Any]]:
    """Whole games by Stable-Baselines3's own predictions: their returns, and all states."""
    environment, returns, states = gymnasium.make("CartPole-v1"), list[float](), list[Any]()
    for seed in seeds:
        state, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            states.append(state)
            action, _ = agent.predict(state, deterministic=True)
            state, reward, terminated, truncated, _ = environment.step(int(action))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns, states
