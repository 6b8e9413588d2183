"""Parts of a loop: what a checkpoint takes of them and gives back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from corrtool.errors import ArtifactError
from corrtool.play.games import Game
from corrtool.q_learning.progress import Progress
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.runs.resumable import Parts, RandomState, Resumable
from corrtool.runs.run import Run
from corrtool.stages.evaluate import GamesPlayed


def through_a_checkpoint(part: Resumable, directory: Path) -> Any:
    save_checkpoint(directory / "checkpoint.safetensors", {"stage": part.state()})
    return load_checkpoint(directory / "checkpoint.safetensors")["stage"]


def test_parts_go_on_where_they_were(tmp_path: Path) -> None:
    random, progress, played = (
        np.random.default_rng(3),
        Progress(env_steps=7, recent_returns=[1.0]),
        GamesPlayed(),
    )
    played.games.append(Game(2.0, 5, "over", "ab"))
    random.random(10)
    state = through_a_checkpoint(
        Parts(random=RandomState(random), progress=progress, played=played), tmp_path
    )
    expected = random.random(5)

    other_random, other_progress, other_played = (
        np.random.default_rng(4),
        Progress(games=9),
        GamesPlayed(),
    )
    others = Parts(random=RandomState(other_random), progress=other_progress, played=other_played)
    others.load_state(state)
    assert (other_random.random(5) == expected).all()
    assert other_progress == progress and other_played.games == played.games


def run_in(directory: Path) -> Run:
    run = object.__new__(Run)
    run.checkpoint_path = directory / "checkpoint.safetensors"
    return run


@pytest.mark.parametrize(
    "state",
    [{}, {"progress": None}, {"progress": {"env_step": 3}}, []],
    ids=["missing", "no table", "unknown field", "a list"],
)
def test_a_state_that_does_not_fit_is_a_damaged_checkpoint(tmp_path: Path, state: Any) -> None:
    with pytest.raises(ArtifactError, match=r"checkpoint\.safetensors"):
        run_in(tmp_path).restore(Parts(progress=Progress()), state)


def test_other_errors_are_told_as_they_are(tmp_path: Path) -> None:
    part: Any = SimpleNamespace(load_state=lambda state: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_in(tmp_path).restore(part, {})
