"""A PPO that Stable-Baselines3 trained, if it is installed (extra 'bench'), as zip and as ONNX."""

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
from support.foreign_policies import export_onnx
from torch import Tensor, nn

import corrtool
from corrtool.q_learning.policy import PolicyNetwork, values_of
from corrtool.runtime.seeds import derive_seeds

GAMES, SEED = 30, 5


class Logits(nn.Module):
    """What a policy of Stable-Baselines3 computes before it draws."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> Tensor:
        features = self.policy.extract_features(observation, self.policy.pi_features_extractor)
        logits: Tensor = self.policy.action_net(self.policy.mlp_extractor.forward_actor(features))
        return logits


@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
@pytest.mark.parametrize("form", ["sb3", "onnx"])
def test_it_plays_as_at_home(
    form: str, cartpole: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the import it has the same logits, and plays the same games to the last step."""
    sb3 = pytest.importorskip("stable_baselines3")
    agent = sb3.PPO("MlpPolicy", "CartPole-v1", seed=1, n_steps=256, gamma=0.97).learn(1_024)
    path = tmp_path / f"ppo.{form}"
    if form == "sb3":
        agent.save(path)
        path = path.with_name("ppo.sb3.zip") if not path.exists() else path
    else:
        pytest.importorskip("onnx")
        export_onnx(Logits(agent.policy), torch.zeros(2, 4), path, dynamo=False)
    lab = cartpole()
    flags = ("--from", form, "--preprocessing", "same", "--name", "ppo", "-p", lab)
    assert run_in_process("import", "policy", path, *flags) == 0
    out = capsys.readouterr().out
    assert out.startswith("policy ppo: chain, ")
    assert ("gamma 0.97, seed 1, env_steps 1024" in out) is (form == "sb3")

    games = ("--task", "source", "--games", GAMES, "--epsilon", 0, "--seed", SEED, "--json")
    assert run_in_process("evaluate", "-p", lab, *games) == 0
    returns, states = _play(agent, derive_seeds(SEED, "evaluate", GAMES))
    assert json.loads(capsys.readouterr().out)["returns"] == returns
    assert len(set(returns)) > 1

    assert len(states) >= 1_000
    policy = corrtool.open_project(lab).load_q_function("ppo")
    visited = torch.from_numpy(np.stack(states))
    with torch.no_grad():
        assert (policy(visited) - Logits(agent.policy)(visited)).abs().max() < 1e-5
        assert isinstance(policy, PolicyNetwork)
        values = values_of(policy)
        assert (values is not None) is (form == "sb3")
        if values is not None:
            theirs = agent.policy.predict_values(visited)
            assert (values(visited) - theirs).abs().max() < 1e-5


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
