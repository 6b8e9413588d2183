"""``evaluate`` and the play tests of ``learn-corr``: games side by side.

Beside the same games one after another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.learn_corr import networks
from benchmarks.measuring import Row, alternate
from corrtool.correspondence.play import TransferredQValues
from corrtool.correspondence.saved import load_correspondence
from corrtool.play.games import DirectQValues, QValues, play_games
from corrtool.play.lane_pool import LanePool
from corrtool.pretrained import PONG, PRETRAINED
from corrtool.project.artifacts import read_artifact
from corrtool.q_learning.saved import load_q_function
from corrtool.runtime.seeds import derive_seeds
from corrtool.settings.stages import EvaluateSettings, LearnCorrSettings
from corrtool.tasks import lanes_in_turns, parse_task

CPU = torch.device("cpu")
ALONE = 2  # so many games are timed one after another
TASKS = [
    parse_task("source", {"id": "ALE/Pong-v5"}, Path()),
    parse_task("target", {"id": "ALE/Pong-v5", "views": ["rotate:90"]}, Path()),
]


def measure(rounds: int) -> list[Row]:
    """Whole games a second, of three agents.

    They are the one that comes with corrtool, the same behind its rotation, and one behind a resnet
    that has learnt nothing yet. Play tests have as many games as by default, in lanes that stay
    open.
    """
    trained, rotation, untrained = (
        load_q_function(read_artifact(PRETRAINED, "q", PONG), CPU),
        load_correspondence(read_artifact(PRETRAINED, "corr", PONG), CPU),
        networks()[0].eval(),
    )
    spec, games, test_games = (
        rotation.source_scaling.spec,
        EvaluateSettings().games,
        LearnCorrSettings().eval_games,
    )
    source, target = (partial(lanes_in_turns, task) for task in TASKS)
    with LanePool(target) as pool:
        return [
            compare(f"evaluate --q, {games} games", games,
                    lambda: DirectQValues(trained, spec), partial(LanePool, source), rounds),
            compare(f"play test of a rotation, {test_games} games", test_games,
                    lambda: TransferredQValues(trained, rotation), lambda: nullcontext(pool),
                    rounds),
            compare(f"play test of a resnet, {test_games} games", test_games,
                    lambda: TransferredQValues(trained, untrained), lambda: nullcontext(pool),
                    rounds),
        ]  # fmt: skip


def compare(
    work: str, games: int, player: Callable[[], QValues],
    open_pool: Callable[[], AbstractContextManager[LanePool]],
    rounds: int,
) -> Row:  # fmt: skip
    """``games`` side by side beside some of them one after another.

    Opening the lanes counts where they are opened.
    """
    seeds = derive_seeds(0, "evaluate", games)

    def games_per_second(waves: list[list[int]]) -> float:
        q_values, began = player(), time.perf_counter()
        for wave in waves:
            with open_pool() as pool:
                play_games(
                    pool, q_values, seeds=wave, epsilon=EvaluateSettings().epsilon,
                    random=np.random.default_rng(0), device=CPU
                )  # fmt: skip
        return len(waves[0]) * len(waves) / (time.perf_counter() - began)

    ours, theirs = alternate(
        lambda: games_per_second([seeds]),
        lambda: games_per_second([[seed] for seed in seeds[:ALONE]]),
        rounds=rounds,
    )
    return Row(work, "one game after another", "games/s", ours, theirs, 3.0)
