"""What surrounds a step of learning the correspondence: compilation, ranks, old checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence import learner as module
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.runtime.ranks import ONE_PROCESS, Ranks
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")
NUMBERS = StateSpec("vector", (2,))
BATCH = 3


def learner(ranks: Ranks = ONE_PROCESS, **values: Any) -> CorrespondenceLearner:
    torch.manual_seed(0)
    scalings = StateScaling(NUMBERS), StateScaling(NUMBERS)
    correspondence = Correspondence(*scalings, GeneratorDescription("linear"))
    lambdas: dict[str, Any] = {"lambda_cyc": 0, "lambda_q": 0, "lambda_m": 0}
    settings = LearnCorrSettings(discriminator_filters=2, **lambdas | values)
    random = np.random.default_rng(0)
    return CorrespondenceLearner(correspondence, None, None, settings, 10, random, CPU, ranks=ranks)


def update(made: CorrespondenceLearner) -> None:
    draw = torch.Generator().manual_seed(1)
    source, target = (torch.randn(BATCH, 2, generator=draw) for _ in range(2))
    made.update(source, target, torch.zeros(BATCH, dtype=torch.int64), None)


@pytest.mark.parametrize("compiled", [False, True])
def test_both_objectives_are_compiled_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    asked, begun = list[Any](), list[Any]()
    monkeypatch.setattr(module, "compile_module", lambda *given: asked.append(given))
    monkeypatch.setattr(module, "begin_step", lambda *given: begun.append(given))
    made = learner(compile=compiled)
    update(made)
    both = [(made._generator_objective, CPU), (made._discriminator_objective, CPU)]
    assert asked == (both if compiled else [])
    assert begun == [(compiled, CPU)]


@dataclass(frozen=True)
class Second(Ranks):
    """The second of two ranks, of which the first generates zeros."""

    rank: int = 1
    count: int = 2
    learnt: list[bool] = field(default_factory=list)

    def parallel(self, objective: nn.Module) -> nn.Module:
        names = dict(objective.named_parameters())
        of = {parameter.requires_grad for name, parameter in names.items() if "discrim" in name}
        assert len(of) == 1
        self.learnt.extend(of)
        return objective

    def gather(self, states: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(states), states])


def test_each_objective_is_shared_with_the_parameters_that_its_step_learns() -> None:
    ranks = Second()
    learner(ranks)
    assert ranks.learnt == [False, True]  # those of the discriminators


def test_the_pools_remember_what_all_ranks_generate_and_give_each_its_own() -> None:
    made = learner(Second(), pool_size=2 * BATCH)
    seen: list[Tensor] = []
    made.source_discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    update(made)
    assert all(len(states) % BATCH == 0 and states.any() for states in seen)
    remembered = made.state()["source_pool"]["states"]
    assert len(remembered) == 2 * BATCH
    assert not torch.cat(list(remembered))[:BATCH].any()


def test_the_generators_step_needs_no_gradient_of_the_discriminators() -> None:
    made = learner()
    needed: list[bool] = []
    for network in (made.source_discriminator, made.target_discriminator):
        network.register_forward_pre_hook(
            lambda network, _: needed.append(next(network.parameters()).requires_grad)
        )
    update(made)
    assert needed == sorted(needed) and set(needed) == {False, True}


def test_a_checkpoint_from_before_it_had_random_numbers_leaves_its_own() -> None:
    made = learner()
    state = made.state()
    del state["random"]
    other = learner()
    other._random.random(7)
    drawn = other._random.bit_generator.state
    other.load_state(state)
    assert other._random.bit_generator.state == drawn
    other.load_state(made.state())
    assert other._random.bit_generator.state == made.state()["random"]
