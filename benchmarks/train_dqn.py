"""``train-dqn`` on Pong beside stable-baselines3's DQN.

Both have the Nature network, mini-batches of 32 and one update per 4 steps.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import gymnasium
import torch

from benchmarks.measuring import Row, alone, alternate, per_second
from corrtool.project.directory import create_project
from corrtool.runs.context import StageContext
from corrtool.runtime.console import Console
from corrtool.settings.stages import TrainDqnSettings
from corrtool.stages.train_dqn import train_dqn

PONG = {"id": "ALE/Pong-v5"}
STEPS = 1_200
STARTS = 400


def settings(env_steps: int) -> TrainDqnSettings:
    """Algorithm 2 as in the peer's defaults.

    It is without what ours adds: n-step returns, an average of the weights.
    """
    return TrainDqnSettings(
        env_steps=env_steps, architecture="nature", batch_size=32, env_steps_per_update=4, lanes=8,
        n_step=1, n_step_end=1, weight_ema=0.0, greedy_from=1.0, learning_starts=STARTS,
        memory_capacity=10_000, target_sync_every=250,
        learning_rate=1e-4, optimizer_epsilon=1e-8, eval_every=0, precision="auto",
    )  # fmt: skip


def measure(rounds: int) -> list[Row]:
    """Environment steps a second while it learns.

    What comes before is taken off by a run that ends when learning begins.
    """

    def seconds(env_steps: int) -> float:
        directory = Path(tempfile.mkdtemp())
        try:
            project = create_project(directory / "lab", {"source": PONG, "target": PONG}, {})
            context = StageContext(project, Console(quiet=True), torch.device("cpu"))
            return 1 / per_second(1, lambda: train_dqn(context, settings(env_steps)))
        finally:
            shutil.rmtree(directory)

    def ours() -> float:
        return STEPS / (seconds(STARTS + STEPS) - seconds(STARTS))

    mine, theirs = alternate(ours, lambda: alone(stable_baselines3), rounds=rounds)
    return [
        Row(
            "train-dqn, Nature net, batch 32, one update per 4 steps",
            "stable-baselines3 DQN",
            "env steps/s",
            mine,
            theirs,
            3.0,
        )
    ]


def stable_baselines3() -> float:
    import ale_py
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    gymnasium.register_envs(ale_py)
    lanes = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=1, seed=0), 4)
    model = DQN(
        "CnnPolicy", lanes, buffer_size=10_000, learning_starts=STARTS, batch_size=32,
        train_freq=4, gradient_steps=1,
        target_update_interval=1_000, learning_rate=1e-4, device="cpu",
    )  # fmt: skip
    model.learn(STARTS)
    speed = per_second(STEPS, lambda: model.learn(STEPS, reset_num_timesteps=False))
    lanes.close()
    return speed
