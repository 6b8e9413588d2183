"""An agent of Stable-Baselines3 plays a task that it has never seen, unchanged.

`python examples/sb3_policy.py [AGENT.zip]`, after `pip install 'corrtool[onnx]' stable-baselines3`.
AGENT.zip is a DQN of CartPole-v1; without it one is trained here. The target is CartPole with its
numbers in another order, two of them with the other sign, and its actions exchanged. corrtool
learns the correspondence, in minutes. Then Stable-Baselines3 plays through it, and so does
onnxruntime, from one file with agent and correspondence.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from stable_baselines3 import DQN

import corrtool
from corrtool.wrappers import TranslateAction, TranslateObservation

TARGET_VIEW = ["permute:2,3,0,1", "scale:-1,1,-1,1", "actions:1,0"]
GAMES = 10


def train(path: Path) -> None:
    """A DQN of CartPole with the settings of RL Baselines3 Zoo."""
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        policy_kwargs={"net_arch": [256, 256]},
        learning_rate=2.3e-3,
        batch_size=64,
        learning_starts=1000,
        buffer_size=100_000,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        seed=0,
        device="cpu",
    )
    model.learn(50_000)
    model.save(path)


Policy = Callable[[NDArray[Any]], Any]  # a state → an action


def policy_of(model: DQN) -> Policy:
    """The policy as it is."""
    return lambda state: model.predict(state, deterministic=True)[0]


def policy_of_file(path: Path) -> Policy:
    """That of an ONNX file, without torch and without corrtool."""
    session = onnxruntime.InferenceSession(path)

    def act(state: NDArray[Any]) -> int:
        (q_values,) = session.run(None, {"observation": state[np.newaxis]})
        return int(q_values.argmax())

    return act


def mean_return(policy: Policy, environment: gymnasium.Env[Any, Any]) -> float:
    """The mean return in games of one seed each."""
    total = 0.0
    for seed in range(GAMES):
        state, _ = environment.reset(seed=seed)
        over = False
        while not over:
            state, reward, terminated, truncated, _ = environment.step(policy(state))
            total, over = total + float(reward), terminated or truncated
    return total / GAMES


def main(agent: Path | None) -> None:
    """Train or load the agent, learn the correspondence, and play four ways."""
    lab = Path(tempfile.mkdtemp()) / "lab"
    if agent is None:
        agent = lab.with_name("agent.zip")
        train(agent)
    model = DQN.load(agent, device="cpu")

    project = corrtool.init_project(lab, source="CartPole-v1", target_view=TARGET_VIEW)
    project.import_q(agent, format="sb3", preprocessing="same", name="sb3")
    project.transfer(from_q="sb3", games=GAMES)
    correspondence = project.load_correspondence()
    exported = project.export_policy(to="onnx")

    source, target = project.environment("source"), project.environment("target")
    translated = TranslateAction(TranslateObservation(target, correspondence), correspondence)
    sb3, onnx = policy_of(model), policy_of_file(Path(exported["path"]))
    print("source                ", mean_return(sb3, source))
    print("target, untranslated  ", mean_return(sb3, target))
    print("target, translated    ", mean_return(sb3, translated))
    print("target, by onnxruntime", mean_return(onnx, target))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
