"""``evaluate`` and the play tests of ``learn-corr``: games side by side, beside the same games one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from benchmarks.learn_corr import networks
from benchmarks.measuring import Row, alternate
from corrtool.config import EvaluateSettings, LearnCorrSettings
from corrtool.networks.saved import load_q_function
from corrtool.pretrained import PONG, PRETRAINED
from corrtool.project.artifacts import read_artifact
from corrtool.runtime import derive_seeds
from corrtool.stages import play
from corrtool.stages.play import KeptLanes, LanesLike, QValues, direct_q_values, play_games, transferred_q_values
from corrtool.tasks import Lanes, parse_task

CPU = torch.device("cpu")
ALONE = 3  # so many games are timed one after another
TASK = parse_task("source", {"id": "ALE/Pong-v5"}, Path())


def measure(rounds: int) -> list[Row]:
    """Games a second, whole games: of the agent that comes with corrtool, and of one behind a resnet that has learnt nothing yet."""
    correspondence, q, _ = networks()
    correspondence.eval()
    trained = load_q_function(read_artifact(PRETRAINED, "q", PONG), CPU)
    spec, games, test_games = (
        correspondence.source_scaling.spec,
        EvaluateSettings().games,
        LearnCorrSettings().eval_games,
    )
    assert games <= play.MAX_LANES
    with KeptLanes(open_lanes) as kept:
        return [
            compare(f"evaluate --q, {games} games", games, lambda: direct_q_values(trained, spec), open_lanes, rounds),
            *(
                compare(f"play test of a resnet, {count} games", count, lambda: transferred_q_values(q, correspondence), kept, rounds)
                for count in (test_games, games)
            ),
        ]  # fmt: skip


def open_lanes(count: int) -> Lanes:
    return Lanes(TASK, count)


def compare(
    work: str, games: int, player: Callable[[], QValues], opened: Callable[[int], AbstractContextManager[LanesLike]],
    rounds: int,
) -> Row:  # fmt: skip
    """``games`` side by side, opening them included, beside some of them one after another."""
    seeds = derive_seeds(0, "evaluate", games)

    def games_per_second(waves: list[list[int]]) -> float:
        q_values, began = player(), time.perf_counter()
        for wave in waves:
            play_games(
                opened, q_values, seeds=wave, epsilon=EvaluateSettings().epsilon, random=np.random.default_rng(0), device=CPU
            )  # fmt: skip
        return len(waves[0]) * len(waves) / (time.perf_counter() - began)

    values = alternate(
        lambda: games_per_second([seeds]), lambda: games_per_second([[seed] for seed in seeds[:ALONE]]), rounds=rounds
    )
    return Row(work, "one game after another", "games/s", *values, 3.0)
