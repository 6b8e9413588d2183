"""How the cost of a step grows with what it depends on, a curve each.

``python -m benchmarks.growth [--json FILE] [--picture FILE]``
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot

from benchmarks.learn_corr import SETTINGS
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.layers import freeze
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import FIELDS, MemoryRows
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.device import resolve_device
from corrtool.runtime.machine import describe_machine
from corrtool.runtime.process import configure_process
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, parse_task

CPU = torch.device("cpu")
ACTIONS = 6


def seconds_each(step: Callable[[], Any], count: int = 10) -> float:
    """Median of ``count`` steps, after two that do not count."""
    times = []
    for _ in range(count + 2):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def learning_step(size: int = 84, **given: Any) -> Callable[[], Any]:
    """A step of ``learn-corr``, (1,1,1), on pictures of ``size`` × ``size``."""
    settings = LearnCorrSettings(**(SETTINGS.to_json() | given))
    spec = StateSpec("image", (1, size, size), 4)
    torch.manual_seed(0)
    model = ScaledModel(
        build_environment_model(spec, ACTIONS, filters=16, blocks=4), StateScaling(spec)
    )
    freeze(model)
    generator = GeneratorDescription.of(settings, spec)
    correspondence = Correspondence(StateScaling(spec), StateScaling(spec), generator)
    q = freeze(build_q_function(spec, ACTIONS, "small"))
    learner = CorrespondenceLearner(
        correspondence, q, model, settings, 10**6, np.random.default_rng(0), CPU
    )
    pictures = torch.randint(0, 256, (2, settings.batch_size, 5, size, size), dtype=torch.uint8)
    actions = torch.zeros(settings.batch_size, dtype=torch.int64)
    return lambda: learner.update(
        pictures[0, :, :4], pictures[1, :, :4], actions, pictures[1, :, 1:]
    )


def sampling(records: int) -> Callable[[], Any]:
    """A mini-batch of 32 transitions from a memory of so many records."""
    spec, random = StateSpec("image", (1, 84, 84), 4), np.random.default_rng(0)
    fields: dict[str, np.ndarray] = {
        name: np.zeros(records, dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:] = True
    fields["episode_steps"][:] = 100
    frames = random.integers(0, 255, (records, 1, 84, 84), np.uint8)
    memory = ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), CPU)
    return lambda: [
        memory.sample(32, random, n_step=1, gamma=0.99, clip_rewards=True) for _ in range(20)
    ]


def playing(lanes: int) -> float:
    """Seconds of a step of so many lanes of Pong, per lane."""
    task = parse_task("target", {"id": "ALE/Pong-v5"}, Path())
    with Lanes(task, lanes) as games:
        games.reset(list(range(lanes)))
        return seconds_each(lambda: games.step(np.zeros(lanes, np.int64)), 60) / lanes


CURVES: dict[str, tuple[str, list[int], Callable[[int], float]]] = {
    "records in memory": ("sampling 32 transitions, ms", [1_000, 4_000, 16_000, 64_000, 256_000],
                          lambda n: seconds_each(sampling(n)) / 20),
    "lanes": ("a step of Pong, per lane, ms", [1, 2, 4, 8, 16, 32], playing),
    "batch": ("learn-corr step, per state, ms", [1, 2, 4, 8],
              lambda n: seconds_each(learning_step(batch_size=n), 6) / n),
    "frame side": ("learn-corr step, ms", [42, 63, 84, 126, 168],
                   lambda n: seconds_each(learning_step(n), 6)),
    "generator filters": ("learn-corr step, ms", [4, 8, 16, 32, 64],
                          lambda n: seconds_each(learning_step(filters=n), 4)),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    device = resolve_device("cpu")
    configure_process(device, 0, "image")
    measured: dict[str, Any] = {"machine": describe_machine(device)}
    for name, (unit, values, cost) in CURVES.items():
        costs = [1_000 * cost(value) for value in values]
        measured[name] = {"unit": unit, "values": values, "costs": costs}
        print(
            f"{name:18} {unit}:",
            *(f"{v:,}: {c:.3g}  " for v, c in zip(values, costs, strict=True)),
            flush=True,
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(measured, indent=1) + "\n")
    if chosen.picture:
        draw(measured, chosen.picture)


def draw(measured: dict[str, Any], path: Path) -> None:
    """A panel for each curve, both axes logarithmic.

    The grey line is proportional growth, where that is what should be.
    """
    figure, panels = pyplot.subplots(
        1, len(CURVES), figsize=(3.2 * len(CURVES), 3), layout="constrained"
    )
    expected = {
        "frame side": 2.0,
        "generator filters": 2.0,
    }  # pixels, and channels in times channels out
    for panel, name in zip(panels, CURVES, strict=True):
        values, costs = measured[name]["values"], measured[name]["costs"]
        panel.loglog(values, costs, "o-")
        power = expected.get(name, 0.0)
        panel.loglog(
            values, [costs[-1] * (v / values[-1]) ** power for v in values], color="0.75", zorder=0
        )
        panel.set(xlabel=name, title=measured[name]["unit"], ylim=(min(costs) / 3, max(costs) * 3))
        panel.set_xticks(values, [f"{v:,}" for v in values], fontsize=7)
        panel.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        ticks = itertools.chain.from_iterable((10**k, 3 * 10**k) for k in range(-3, 6))
        panel.set_yticks([tick for tick in ticks if min(costs) / 3 <= tick <= max(costs) * 3])
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
