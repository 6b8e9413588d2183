"""``evaluate`` and the play tests of ``learn-corr``: games side by side, beside the same games one after another."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.learn_corr import networks
from benchmarks.measuring import Row, alternate
from corrtool.runtime import derive_seeds
from corrtool.stages import play
from corrtool.stages.play import QValues, direct_q_values, play_games, transferred_q_values
from corrtool.tasks import Lanes, parse_task

GAMES = 30  # as evaluate plays by default
ALONE = 3  # so many are timed one after another
FRAMES = 1_200  # a game is broken off here, after 300 steps


def measure(rounds: int) -> list[Row]:
    """Games a second, all of one length: side by side, the longest is waited for."""
    correspondence, q, _ = networks()
    correspondence.eval()
    task = parse_task("target", {"id": "ALE/Pong-v5", "preprocessing": {"max_episode_frames": FRAMES}}, Path())
    spec = correspondence.source_scaling.spec
    players = {
        f"evaluate --q, {GAMES} games": lambda: direct_q_values(q, spec),
        f"play test of a resnet, {GAMES} games": lambda: transferred_q_values(q, correspondence),
    }

    def games_per_second(q_values: QValues, waves: list[list[int]]) -> float:
        began = time.perf_counter()
        for wave in waves:
            play_games(
                lambda count: Lanes(task, count), q_values, seeds=wave, epsilon=0.5, random=np.random.default_rng(0),
                device=torch.device("cpu"),
            )  # fmt: skip
        return len(waves[0]) * len(waves) / (time.perf_counter() - began)

    seeds = derive_seeds(0, "evaluate", GAMES)
    assert play.MAX_LANES >= GAMES
    rows = []
    for work, player in players.items():
        values = alternate(
            lambda p=player: games_per_second(p(), [seeds]),
            lambda p=player: games_per_second(p(), [[seed] for seed in seeds[:ALONE]]),
            rounds=rounds,
        )
        rows.append(Row(work, "one game after another", "games/s", *values, 3.0))
    return rows
