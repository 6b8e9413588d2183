"""What this machine could do, and what the steps that users wait for make of it.

``python -m benchmarks.roofline``
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import learn_corr, train_dqn
from benchmarks.measuring import per_second
from corrtool.memory import TransitionBatch
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.device import resolve_device
from corrtool.runtime.machine import describe_machine
from corrtool.runtime.process import configure_process

CPU = torch.device("cpu")
SIDE = 1024
COPIED = 256 << 20
COUNT = 30


def main() -> None:
    configure_process(resolve_device("cpu"), 0, "image")
    machine = describe_machine(CPU)
    operations, copied = ceilings()
    title = (
        f"{machine['device_name']}, {machine['threads']} threads: {operations / 1e9:.0f} · 10⁹ "
        f"float32 operations/s in a product of {SIDE}×{SIDE} matrices, "
        f"{copied / 1e9:.1f} GB/s read and written in a copy"
    )
    table = Table("step", "operations", "at least", "takes", "where", title=title)
    for name, step in steps().items():
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        count = counter.get_total_flops()
        seconds = 1 / statistics.median(per_second(1, step) for _ in range(COUNT))
        table.add_row(
            name,
            f"{count / 1e9:.2f} · 10⁹",
            f"{1e3 * count / operations:.0f} ms",
            f"{1e3 * seconds:.0f} ms",
            where(step),
        )
    Console(width=150).print(table)


def ceilings() -> tuple[float, float]:
    """The most of five rounds: float32 operations and bytes a second.

    The operations are those of a product of matrices, the bytes are read and written by a copy.
    """
    a, b = torch.rand(2, SIDE, SIDE)
    source, copy = torch.ones(2, COPIED, dtype=torch.uint8)
    return (
        max(per_second(2 * SIDE**3, lambda: a @ b) for _ in range(5)),
        max(per_second(2 * COPIED, lambda: copy.copy_(source)) for _ in range(5)),
    )


def steps() -> dict[str, Callable[[], Any]]:
    """An update of ``train-dqn`` and a step of ``learn-corr``, as in their rows.

    Also an update of ``train-dqn`` at its defaults.
    """
    data, learner = learn_corr.batches(), learn_corr.learner()
    return {
        "DQN update, Nature network, batch 32": dqn_update("nature", 32),
        "DQN update at the defaults, batch 64": dqn_update("small", 64),
        "learn-corr, resnet, (1,1,1), batch 1": lambda: learner.update(*next(data)),
    }


def dqn_update(architecture: str, batch_size: int) -> Callable[[], Any]:
    spec, actions = learn_corr.SPEC, learn_corr.ACTIONS
    learner = DqnLearner(
        build_q_function(spec, actions, architecture), spec, train_dqn.settings(1_000), CPU
    )
    pictures = torch.randint(0, 256, (batch_size, 5, 84, 84), dtype=torch.uint8)
    ones = torch.ones(batch_size)
    batch = TransitionBatch(
        pictures[:, :4], torch.randint(0, actions, (batch_size,)), ones, pictures[:, 1:],
        0.99 * ones,
        torch.zeros(batch_size, dtype=torch.bool), ones, np.arange(batch_size),
    )  # fmt: skip
    return lambda: learner.update(batch)


def where(step: Callable[[], Any]) -> str:
    """The operators that take the most of the time by themselves."""
    with profile() as recorded:
        for _ in range(10):
            step()
    costs = recorded.key_averages()
    whole = sum(cost.self_cpu_time_total for cost in costs)
    most = sorted(costs, key=lambda cost: -cost.self_cpu_time_total)[:6]
    return ", ".join(
        f"{cost.key.removeprefix('aten::')} {100 * cost.self_cpu_time_total / whole:.0f} %"
        for cost in most
    )


if __name__ == "__main__":
    main()
