"""The means of the loss terms between two lines of the log."""

from pathlib import Path

import pytest
import torch

from corrtool.correspondence.learner import RunningMeans
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.runtime.ranks import ONE_PROCESS

CPU = torch.device("cpu")


def terms(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_are_taken_over_the_steps_since_the_last_line() -> None:
    means = RunningMeans(ONE_PROCESS)
    for gan, cycle in ((1.0, 8.0), (2.0, 0.0), (6.0, 1.0)):
        means.add(terms(gan=gan, cycle=cycle))
    assert means.take() == {"gan": 3.0, "cycle": 3.0}
    means.add(terms(gan=5.0))
    assert means.take() == {"gan": 5.0}


def test_leave_the_terms_as_they_were() -> None:
    means, first = RunningMeans(ONE_PROCESS), terms(gan=1.0)
    means.add(first)
    first["gan"] += 10
    means.add(terms(gan=2.0))
    assert means.take() == {"gan": 1.5}


def test_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    means = RunningMeans(ONE_PROCESS)
    means.add(terms(gan=1.0))
    means.add(terms(gan=3.0))
    save_checkpoint(tmp_path / "c", means.state())
    resumed = RunningMeans(ONE_PROCESS)
    resumed.load_state(load_checkpoint(tmp_path / "c"), CPU)
    resumed.add(terms(gan=8.0))
    assert resumed.take() == {"gan": pytest.approx(4.0)}
