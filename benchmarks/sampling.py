"""Sampling mini-batches from a full replay memory, beside other replay buffers.

A mini-batch has 32 transitions of 4×84×84.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch

from benchmarks.measuring import Row, alone, alternate, installed, per_second
from corrtool.memory import ReplayMemory
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

RECORDS = 10_000
BATCH = 32
BATCHES = 300
LANES = 8
SHAPE = (4, 84, 84)


def measure(rounds: int) -> list[Row]:
    """Batches a second, states and next states as uint8, ready for the network."""
    peers = installed(
        {
            "torchrl LazyMemmapStorage": torchrl,
            "stable-baselines3 ReplayBuffer": stable_baselines3,
            "cpprb ReplayBuffer, next_of": cpprb,
        }
    )
    one_by_one, at_once = ours(), ours(at_once=True)
    values = alternate(
        lambda: per_second(BATCHES, one_by_one),
        lambda: per_second(BATCHES, at_once),
        *(lambda p=peer: alone(p) for peer in peers.values()),
        rounds=rounds,
    )
    what = f"{BATCH} transitions of 4×84×84 of {RECORDS:,}"
    goals = {"cpprb ReplayBuffer, next_of": None}
    return [
        Row(f"{what}, {how}", peer, "batches/s", mine, theirs, goals.get(peer, 2.5))
        for how, mine in (("one batch at a time", values[0]), ("several at once", values[1]))
        for peer, theirs in zip(peers, values[2:], strict=True)
    ]


def ours(*, at_once: bool = False) -> Callable[[], None]:
    random = np.random.default_rng(0)
    memory = ReplayMemory(
        StateSpec("image", (1, 84, 84), 4), LANES, RECORDS // LANES, torch.device("cpu")
    )
    memory.open_slot(random.integers(0, 255, (LANES, 1, 84, 84), np.uint8))
    for slot in range(1, RECORDS // LANES):
        ends = np.full(LANES, slot % 800 == 0)
        step = LaneStep(
            frames=random.integers(0, 255, (LANES, 1, 84, 84), np.uint8),
            rewards=np.zeros(LANES, np.float32),
            terminated=ends,
            truncated=np.zeros(LANES, bool),
            valid=np.full(LANES, slot % 800 != 1),
            episode_steps=np.full(LANES, slot % 800 if slot % 800 else 0, np.int64),
        )
        memory.record(random.integers(0, 6, LANES), step)

    how: dict[str, Any] = {"n_step": 1, "gamma": 0.99, "clip_rewards": True}

    def work() -> None:
        for _ in range(BATCHES):
            memory.sample(BATCH, random, **how)

    def work_at_once() -> None:  # as for several updates of train-dqn in a row
        for _ in memory.sample_batches(BATCHES, BATCH, random, **how):
            pass

    return work_at_once if at_once else work


def stable_baselines3() -> float:
    from stable_baselines3.common.buffers import ReplayBuffer

    box, actions = gymnasium.spaces.Box(0, 255, SHAPE, np.uint8), gymnasium.spaces.Discrete(6)
    buffer = ReplayBuffer(RECORDS, box, actions, device="cpu", n_envs=1)
    random = np.random.default_rng(0)
    states = random.integers(0, 255, (64, *SHAPE), np.uint8)
    for record in range(RECORDS):
        pair = states[record % 64], states[(record + 1) % 64]
        buffer.add(*pair, np.zeros(1, np.int64), np.zeros(1, np.float32), np.zeros(1), [{}])

    return _batches_per_second(lambda: buffer.sample(BATCH))


def torchrl() -> float:
    from tensordict import TensorDict
    from torchrl.data import LazyMemmapStorage, TensorDictReplayBuffer

    buffer: Any = TensorDictReplayBuffer(storage=LazyMemmapStorage(RECORDS), batch_size=BATCH)
    for _ in range(RECORDS // 500):
        states = torch.randint(0, 255, (500, *SHAPE), dtype=torch.uint8)
        seen: dict[str | tuple[str, str], torch.Tensor] = {
            "observation": states,
            ("next", "observation"): states,
            "action": torch.zeros(500, dtype=torch.int64),
            ("next", "reward"): torch.zeros(500),
            ("next", "terminated"): torch.zeros(500, dtype=torch.bool),
        }
        buffer.extend(TensorDict(seen, [500]))

    return _batches_per_second(buffer.sample)


def cpprb() -> float:
    from cpprb import ReplayBuffer

    fields = {
        "obs": {"shape": SHAPE, "dtype": np.uint8},
        "action": {"dtype": np.int64},
        "reward": {},
        "done": {},
    }
    buffer = ReplayBuffer(RECORDS, fields, next_of="obs")
    states = np.random.default_rng(0).integers(0, 255, (501, *SHAPE), np.uint8)
    more = {name: np.zeros(500) for name in ("action", "reward", "done")}
    for _ in range(RECORDS // 500):
        buffer.add(obs=states[:-1], next_obs=states[1:], **more)
    return _batches_per_second(
        lambda: {name: torch.from_numpy(value) for name, value in buffer.sample(BATCH).items()}
    )


def _batches_per_second(sample: Callable[[], Any]) -> float:
    def work() -> None:
        for _ in range(BATCHES):
            sample()

    work()
    return per_second(BATCHES, work)
