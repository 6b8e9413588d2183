"""``collect`` on Pong at random, written to disk, beside the bare emulator.

Also the size of a record on disk.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv

from benchmarks.measuring import Row, alone, alternate, installed, per_second
from corrtool.project.directory import create_project
from corrtool.runs.context import StageContext
from corrtool.runs.results import CollectResult
from corrtool.runtime.console import Console
from corrtool.settings.stages import CollectSettings
from corrtool.stages.collect import collect

PONG = {"id": "ALE/Pong-v5"}
LANES = CollectSettings().lanes
STEPS = CollectSettings().records // LANES
FLOAT32_PAIR_BYTES = 2 * 4 * 84 * 84 * 4  # s and s', four frames each


def measure(rounds: int) -> list[Row]:
    """Steps a second, and bytes a record."""
    settings = CollectSettings()
    sizes: list[float] = []

    def ours() -> float:
        directory = Path(tempfile.mkdtemp())
        try:
            project = create_project(directory / "lab", {"source": PONG, "target": PONG}, {})
            context = StageContext(project, Console(quiet=True), torch.device("cpu"))
            results: list[CollectResult] = []
            speed = per_second(settings.records, lambda: results.append(collect(context, settings)))
            sizes.append(results[0]["bytes"] / settings.records)
            return speed
        finally:
            shutil.rmtree(directory)

    others = installed({"envpool": envpool})
    mine, bare, *theirs = alternate(
        ours,
        vector_env,
        *(lambda side=side: alone(side) for side in others.values()),
        rounds=rounds,
    )
    work = f"collect Pong at random, {settings.records:,} records"
    return [
        Row(work, "bare AtariVectorEnv", "steps/s", mine, bare, 0.9),
        *(Row(work, f"bare {name}", "steps/s", mine, speeds, None)
          for name, speeds in zip(others, theirs, strict=True)),
        Row("records in a megabyte of disk", "float32 (s, s') pairs", "records/MB",
            [1e6 / size for size in sizes[1:]], [1e6 / FLOAT32_PAIR_BYTES] * rounds, 400.0),
    ]  # fmt: skip


def vector_env() -> float:
    """ale-py's vector environment, made, seeded and stepped: nothing is kept."""

    def play() -> None:
        lanes = AtariVectorEnv("pong", num_envs=LANES, repeat_action_probability=0.0)
        lanes.reset(seed=np.arange(LANES))  # which loads the game again, as ours does
        _step_at_random(lanes)
        lanes.close()

    return per_second(STEPS * LANES, play)


def envpool() -> float:
    import envpool

    def play() -> None:
        lanes = envpool.make("Pong-v5", env_type="gymnasium", num_envs=LANES, seed=0)
        lanes.reset()
        _step_at_random(lanes)
        lanes.close()

    return per_second(STEPS * LANES, play)


def _step_at_random(lanes: Any) -> None:
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        lanes.step(random.integers(0, 6, LANES))
