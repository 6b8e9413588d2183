"""Training of F: what it makes of a mini-batch.

A resumed one ends where an unbroken one does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.environment_model.training import ModelTraining
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.runtime.ranks import ONE_PROCESS
from corrtool.settings.stages import TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,))
SETTINGS = TrainModelSettings(batch_size=4, epochs=3, learning_rate=0.01)


def training(settings: TrainModelSettings = SETTINGS) -> tuple[ModelTraining, ScaledModel]:
    """Nine transitions of one lane, whose state grows by 0.1 a step."""
    torch.manual_seed(0)
    frames = np.linspace(0, 0.9, 10, dtype=np.float32)[:, None].repeat(2, axis=1)
    fields: dict[str, np.ndarray] = {name: np.zeros(10, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:-1], fields["episode_steps"][:] = True, np.arange(10)
    memory = ReplayMemory.from_rows(MemoryRows(SPEC, 1, frames, fields), torch.device("cpu"))
    rows = memory.dynamics_rows()
    model = ScaledModel(build_environment_model(SPEC, 2, filters=8, blocks=1), StateScaling(SPEC))
    return ModelTraining(
        model, memory, rows, settings, np.random.default_rng(0), ONE_PROCESS
    ), model


def test_its_length_is_in_epochs_or_in_gradient_steps() -> None:
    assert training()[0].total == 3 * (9 // 4)
    assert training(replace(SETTINGS, gradient_steps=7))[0].total == 7


def rates(steps: int, **settings: Any) -> list[float]:
    """The learning rate of each of so many gradient steps, of 0.8."""
    learning, _ = training(replace(SETTINGS, gradient_steps=steps, learning_rate=0.8, **settings))
    found = []
    for _ in range(steps):
        learning._update()
        found.append(learning._optimizer.param_groups[0]["lr"])
    return found


def test_the_learning_rate_is_constant_or_falls_to_zero_after_a_share_of_the_steps() -> None:
    assert rates(4, constant_share=1.0) == [0.8, 0.8, 0.8, 0.8]
    assert rates(4, constant_share=0.5) == pytest.approx([0.8, 0.8, 0.8, 0.4])


def test_the_learning_rate_rises_at_first_for_a_tenth_of_the_training_at_most() -> None:
    assert rates(40, warmup_gradient_steps=2) == [0.4, *[0.8] * 39]
    assert rates(40, warmup_gradient_steps=200) == pytest.approx([0.2, 0.4, 0.6, *[0.8] * 37])
    assert rates(4, warmup_gradient_steps=200) == [0.8] * 4


def test_the_loss_falls() -> None:
    learning, _ = training()
    losses = [learning._update().item() for _ in range(60)]
    assert learning.gradient_steps == 60
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2


def test_a_resumed_training_ends_where_an_unbroken_one_does() -> None:
    unbroken, whole = training()
    for _ in range(6):
        unbroken._update()

    interrupted, _ = training()
    for _ in range(3):
        interrupted._update()
    state = interrupted.state()
    assert list(state) == [
        "model",
        "optimizer",
        "batches",
        "done",
    ]  # older checkpoints have the same
    resumed, other = training(replace(SETTINGS, learning_rate=0.01))
    resumed.load_state(state)
    assert resumed.gradient_steps == 3
    for _ in range(3):
        resumed._update()
    for name, weights in whole.state_dict().items():
        assert weights.numpy() == pytest.approx(other.state_dict()[name].numpy(), abs=0), name
