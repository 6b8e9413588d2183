"""The training of a correspondence step by step, without a project around it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.training import (
    LOG_EVERY_GRADIENT_STEPS,
    CorrespondenceTraining,
)
from corrtool.environment_model.saved import ModelDescription
from corrtool.layers import copy_of_weights, freeze
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import FIELDS, MemoryRows
from corrtool.q_learning.network import build_q_function
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.runtime.ranks import ONE_PROCESS
from corrtool.settings.stages import LearnCorrSettings
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (3,), 2)
ACTIONS = 3
CPU = torch.device("cpu")
SETTINGS = LearnCorrSettings(
    batch_size=4, pool_size=3, gradient_steps=8, filters=4, discriminator_filters=4
)


def memory(records: int) -> ReplayMemory:
    fields: dict[str, np.ndarray] = {
        name: np.zeros(records, dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:-1] = True
    fields["episode_steps"][:] = np.arange(records)
    fields["actions"][:] = np.arange(records) % ACTIONS
    frames = np.random.default_rng(0).normal(size=(records, 3)).astype(np.float32)
    return ReplayMemory.from_rows(MemoryRows(SPEC, 1, frames, fields), CPU)


def training(settings: LearnCorrSettings = SETTINGS, seed: int = 0) -> CorrespondenceTraining:
    torch.manual_seed(seed)
    source, target = memory(30), memory(20)
    model = ModelDescription(SPEC, ACTIONS, filters=4, blocks=1).build(
        source.scaling(source.transition_rows())
    )
    freeze(model)
    knowledge = Knowledge(source, target, freeze(build_q_function(SPEC, ACTIONS, width=4)), model)
    context: Any = SimpleNamespace(seed=seed, device=CPU, ranks=ONE_PROCESS)
    return CorrespondenceTraining(
        context, settings, knowledge, GeneratorDescription.of(settings, SPEC)
    )


def learn(learning: CorrespondenceTraining, steps: int) -> None:
    for _ in range(steps):
        learning.step()


def weights(learning: CorrespondenceTraining) -> dict[str, torch.Tensor]:
    return copy_of_weights(learning.correspondence)


def test_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    unbroken = training()
    learn(unbroken, 5)
    unbroken.test_results.best_mean_return = 3.0
    save_checkpoint(tmp_path / "checkpoint", unbroken.state())
    learn(unbroken, 3)
    resumed = training()
    resumed.load_state(load_checkpoint(tmp_path / "checkpoint"))
    assert (resumed.gradient_steps, resumed.test_results.best_mean_return) == (5, 3.0)
    learn(resumed, 3)
    assert resumed.terms == unbroken.terms != {}
    for name, expected in weights(unbroken).items():
        assert torch.equal(weights(resumed)[name], expected)


def test_a_checkpoint_from_before_scores_goes_on_without_any() -> None:
    old, resumed = training(), training()
    learn(old, 2)
    old.scores.best_gradient_steps, resumed.scores.best_gradient_steps = 1, 2
    state = old.state()
    resumed.load_state(state)
    assert resumed.scores == old.scores
    for name in ("scores", "started", "recipe", "recipe_scores", "action_map"):
        del state[name]
    older = training()
    older.load_state(state)
    assert older.scores == training().scores and older.gradient_steps == 2


def test_a_checkpoint_that_lacks_one_of_the_newer_parts_is_refused() -> None:
    learning = training()
    for name in ("scores", "started", "recipe", "recipe_scores", "action_map"):
        state = learning.state()
        del state[name]
        with pytest.raises(KeyError):
            training().load_state(state)


def test_f_keeps_its_scaling() -> None:
    learning = training()
    learning.correspondence.source_scaling.mean.add_(1.0)
    model: Any = learning._knowledge.environment_model
    assert not torch.equal(model.scaling.mean, learning.correspondence.source_scaling.mean)


def test_terms_are_told_now_and_then_and_at_the_end() -> None:
    last = LOG_EVERY_GRADIENT_STEPS + 3
    learning = training(replace(SETTINGS, gradient_steps=last))
    told = [step for step in range(1, last + 1) if learning.step()]
    assert told == [LOG_EVERY_GRADIENT_STEPS, last]
    progress = learning.progress()
    assert progress["gradient_steps"] == last and progress["learning_rate"] > 0
    assert learning.terms.items() <= progress.items()


@pytest.mark.parametrize(
    ("settings", "steps"), [({"gradient_steps": 7}, 7), ({"gradient_steps": None, "epochs": 2}, 14)]
)
def test_epochs_are_those_of_the_larger_memory(settings: dict[str, Any], steps: int) -> None:
    assert (
        training(replace(SETTINGS, **settings)).total == steps
    )  # 29 transitions in mini-batches of 4


def streams(learning: CorrespondenceTraining) -> list[Any]:
    state = learning.state()
    return [state[part]["random"] for part in ("learner", "source_batches", "target_batches")]


def test_each_part_has_a_random_generator_of_its_own() -> None:
    learning = training()
    first = streams(learning)
    assert all(a != b for a, b in itertools.combinations(first, 2))
    learn(learning, 4)  # 16 states each: the pools of 3 are full, the first epochs under way
    assert all(before != after for before, after in zip(first, streams(learning), strict=True))
    assert streams(training(seed=1)) != first


def test_an_older_checkpoint_in_which_all_shared_one_generator_goes_on() -> None:
    old = training()
    learn(old, 3)
    state = old.state()
    del state["learner"]["random"]
    state["target_batches"]["random"] = state["source_batches"]["random"]
    resumed = training()
    resumed.load_state(state)
    pools, _, target = streams(training())
    assert streams(resumed) == [pools, state["source_batches"]["random"], target]
    assert (
        resumed._target_batches.next().tolist() == old._target_batches.next().tolist()
    )  # the epoch's order is kept
    learn(resumed, 5)
    assert resumed.gradient_steps == 8


class FollowsActions(torch.nn.Module):
    """An F that moves each number by half the action less a half, in the raw range."""

    actions = ACTIONS

    def __init__(self, deviation: torch.Tensor) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return states + 0.5 * (actions[:, None] - 1.0) / self.deviation


@pytest.mark.parametrize(
    ("source_of", "fits"), [((0, 1, 2), False), ((2, 1, 0), True), ((1, 0, 2), True)]
)
def test_other_actions_fit_where_they_explain_the_target_better(
    source_of: tuple[int, ...], fits: bool
) -> None:
    """A generator that changes nothing, of a target in which action a does ``source_of[a]``."""
    learning = training()
    does = np.array(source_of)[np.arange(300) % ACTIONS]
    frames = np.cumsum(0.5 * (np.concatenate([[1], does[:-1]]) - 1.0))[:, None] + np.zeros(3)
    fields: dict[str, np.ndarray] = {name: np.zeros(300, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:-1], fields["episode_steps"][:] = True, np.arange(300)
    fields["actions"][:] = np.arange(300) % ACTIONS
    target = ReplayMemory.from_rows(MemoryRows(SPEC, 1, frames.astype(np.float32), fields), CPU)
    c = learning.correspondence
    layer: Any = c.target_to_source.layer
    with torch.no_grad():
        layer.weight.copy_(torch.eye(6))
        layer.bias.zero_()
    model: Any = FollowsActions(c.target_scaling.deviation)
    learning._knowledge = replace(learning._knowledge, target=target, environment_model=model)
    assert learning.other_actions_fit() is fits
    c.action_map = ActionMap(source_of, ACTIONS)
    assert not learning.other_actions_fit()


def test_no_other_actions_fit_where_they_are_learnt_or_there_is_no_model() -> None:
    assert not training(replace(SETTINGS, action_map="learned")).other_actions_fit()
    learning = training()
    learning._knowledge = replace(learning._knowledge, environment_model=None)
    assert not learning.other_actions_fit()
