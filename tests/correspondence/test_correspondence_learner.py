"""One step of learning the correspondence."""

import copy
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.networks import gradient_of
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.layers import copy_of_weights, freeze
from corrtool.q_learning.network import build_q_function
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.runs.steps import learning_rate_share
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")


class TestLearningRateShare:
    @pytest.mark.parametrize(
        "step, share", [(0, 1.0), (1, 0.9), (5, 0.5), (9, 0.1), (10, 0.0), (11, 0.0)]
    )
    def test_falls_in_a_line_to_zero(self, step: int, share: float) -> None:
        assert learning_rate_share(step, 10, 0.0) == pytest.approx(share)

    @pytest.mark.parametrize(
        "step, share", [(0, 1.0), (74, 1.0), (75, 1.0), (80, 0.8), (99, 0.04), (100, 0.0)]
    )
    def test_may_be_constant_at_first(self, step: int, share: float) -> None:
        assert learning_rate_share(step, 100, 0.75) == pytest.approx(share)

    def test_a_part_of_a_step_may_be_constant(self) -> None:
        # Constant for 8.5 steps; of the 1.5 that are left 1 is to come.
        assert learning_rate_share(9, 10, 0.85) == pytest.approx(1 / 1.5)

    def test_may_be_constant_to_the_end(self) -> None:
        assert [learning_rate_share(step, 10, 1.0) for step in (0, 5, 9)] == [1.0] * 3


def matrix(setup: "Setup") -> nn.Parameter:
    """The weights of the linear generator G_T."""
    return setup.correspondence.target_to_source.get_parameter("layer.weight")


class Setup:
    """A correspondence with everything around it.

    It is between vectors of two sizes, or between small pictures.
    """

    def __init__(
        self, kind: str = "vector", steps: int = 10, statistics: Any = None, **given: Any
    ) -> None:
        if kind == "vector":
            source, target, generator = (
                StateSpec("vector", (3,)),
                StateSpec("vector", (2,)),
                GeneratorDescription("linear"),
            )
        else:
            source = target = StateSpec("image", (1, 36, 36))
            generator = (
                GeneratorDescription("affine-resnet", filters=2, blocks=1, tone="before")
                if kind == "toned"
                else GeneratorDescription("resnet-rotation", filters=2, blocks=1)
            )
        torch.manual_seed(0)
        self.source_q = freeze(build_q_function(source, 4, "auto", 8))
        network = build_environment_model(source, 4, filters=2, blocks=1)
        self.model = ScaledModel(network, StateScaling(source))
        freeze(self.model)
        self.correspondence = Correspondence(StateScaling(source), StateScaling(target), generator)
        settings = LearnCorrSettings(discriminator_filters=2, **given)
        q = self.source_q if settings.lambda_q else None
        model = self.model if settings.lambda_m else None
        random = np.random.default_rng(0)
        self.learner = CorrespondenceLearner(
            self.correspondence, q, model, settings, steps, random, CPU, statistics
        )
        draw = torch.Generator().manual_seed(1)

        def states(spec: StateSpec) -> torch.Tensor:
            if spec.kind == "vector":
                return torch.randn(3, *spec.state_shape, generator=draw)
            return torch.randint(0, 256, (3, *spec.state_shape), generator=draw, dtype=torch.uint8)

        self.batch = states(source), states(target), torch.tensor([0, 1, 3]), states(target)

    def update(self) -> dict[str, torch.Tensor]:
        return self.learner.update(*self.batch)

    def networks(self) -> dict[str, nn.Module]:
        return {
            "target_to_source": self.correspondence.target_to_source,
            "source_to_target": self.correspondence.source_to_target,
            "q": self.source_q,
            "model": self.model,
            "source_discriminator": self.learner.source_discriminator,
            "target_discriminator": self.learner.target_discriminator,
        }


def changed(before: dict[str, torch.Tensor], network: nn.Module) -> bool:
    return any(
        not torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()
    )


class TestCorrespondenceLearner:
    @pytest.mark.parametrize(
        "lambdas, forwards, terms",
        [
            # GAN: each generator once, nothing else.
            ((0, 0, 0), (1, 1, 0, 0), {"gan"}),
            # CycleGAN: each generator also reconstructs.
            ((10, 0, 0), (2, 2, 0, 0), {"gan", "cycle"}),
            # (10) reconstructs source states only, and needs Q of them and of the originals.
            ((0, 1, 0), (2, 1, 2, 0), {"gan", "q"}),
            # (11) translates the next target state and predicts it once.
            ((0, 0, 10), (2, 1, 0, 1), {"gan", "model"}),
            # Everything: the reconstruction of source states is shared by (9) and (10).
            ((1, 1, 1), (3, 2, 2, 1), {"gan", "cycle", "q", "model"}),
        ],
        ids=["GAN", "CycleGAN", "Q", "model", "all"],
    )
    def test_a_lambda_of_zero_costs_nothing(
        self, lambdas: tuple[int, int, int], forwards: tuple[int, ...], terms: set[str]
    ) -> None:
        cyc, q, m = lambdas
        setup = Setup(lambda_cyc=cyc, lambda_q=q, lambda_m=m)
        states: Counter[str] = Counter()
        for name, network in setup.networks().items():
            network.register_forward_pre_hook(
                lambda _, inputs, name=name: states.update({name: len(inputs[0])})
            )
        computed = setup.update()
        batches = {
            name: count / 3 for name, count in states.items()
        }  # one pass may take several batches at once
        names = ("target_to_source", "source_to_target", "q", "model")
        assert tuple(batches.get(name, 0) for name in names) == forwards
        assert (
            batches["source_discriminator"] == batches["target_discriminator"] == 3
        )  # for G, real and generated
        assert set(computed) == terms | {"source_discriminator", "target_discriminator"}
        assert all(term.isfinite() and not term.requires_grad for term in computed.values())

    @pytest.mark.parametrize("kind", ["vector", "image"])
    def test_q_and_model_are_frozen_and_everything_else_learns(self, kind: str) -> None:
        setup = Setup(kind, lambda_cyc=1, lambda_q=1, lambda_m=1)
        networks = setup.networks()
        before = {name: copy_of_weights(network) for name, network in networks.items()}
        setup.update()
        assert {name for name, network in networks.items() if changed(before[name], network)} == {
            "target_to_source", "source_to_target", "source_discriminator", "target_discriminator",
        }  # fmt: skip
        for name in ("q", "model"):
            assert not networks[name].training
            assert all(parameter.grad is None for parameter in networks[name].parameters())
        for name in ("target_to_source", "source_to_target"):
            gradients = [gradient_of(parameter) for parameter in networks[name].parameters()]
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert any(gradient.any() for gradient in gradients)

    @pytest.mark.parametrize("name, term", [("lambda_q", "q"), ("lambda_m", "model")])
    def test_gradients_flow_through_q_and_model_into_the_generators(
        self, name: str, term: str
    ) -> None:
        gradients = []
        for weight in (1.0, 1000.0):
            lambdas: dict[str, Any] = {"lambda_cyc": 0, "lambda_q": 0, "lambda_m": 0, name: weight}
            setup = Setup(**lambdas)
            assert setup.update()[term] > 0
            gradients.append(gradient_of(matrix(setup)).norm().item())
        assert gradients[1] > 10 * gradients[0] > 0

    def test_a_generator_does_not_train_the_discriminators(self) -> None:
        """Their gradients are those of their own loss alone."""
        setup = Setup(lambda_cyc=0, lambda_q=0, lambda_m=0, pool_size=0)
        discriminator = copy.deepcopy(setup.learner.source_discriminator)
        real = setup.batch[0]
        with torch.no_grad():
            generated = setup.correspondence.target_to_source(setup.batch[1])
        (
            0.5
            * ((discriminator(real) - 1).square().mean() + discriminator(generated).square().mean())
        ).backward()
        setup.update()
        for expected, found in zip(
            discriminator.parameters(), setup.learner.source_discriminator.parameters(), strict=True
        ):
            torch.testing.assert_close(found.grad, expected.grad)

    def test_the_learning_rate_falls_to_zero(self) -> None:
        setup = Setup(steps=2, learning_rate=0.01)
        networks = {k: v for k, v in setup.networks().items() if k not in ("q", "model")}
        moved = []
        for _ in range(3):
            before = {name: copy_of_weights(network) for name, network in networks.items()}
            setup.update()
            moved.append(
                {name for name, network in networks.items() if changed(before[name], network)}
            )
        assert moved == [set(networks), set(networks), set()]  # 1, ½ and 0 of the learning rate

    def test_adams_first_step_is_as_long_as_the_learning_rate(self) -> None:
        setup = Setup(steps=10, learning_rate=0.01)
        before = matrix(setup).detach().clone()
        setup.update()
        step = (matrix(setup) - before).abs()
        torch.testing.assert_close(step, torch.full_like(step, 0.01), rtol=1e-3, atol=0)

    def test_a_spatial_layer_has_a_learning_rate_of_its_own(self) -> None:
        setup = Setup("image", learning_rate=0.01, spatial_learning_rate=0.04)
        generator = setup.correspondence.target_to_source
        before = copy_of_weights(generator)
        setup.update()
        moved = {
            name: float((value - before[name]).abs().max())
            for name, value in generator.state_dict().items()
        }
        (angle,) = (name for name in moved if name.endswith("angle"))
        assert moved.pop(angle) == pytest.approx(0.04, rel=1e-2)
        assert max(moved.values()) == pytest.approx(0.01, rel=1e-2)

    def test_a_tone_layer_learns_as_fast_as_the_spatial_layer(self) -> None:
        setup = Setup("toned", learning_rate=0.01, spatial_learning_rate=0.04)
        before = copy_of_weights(setup.correspondence)
        setup.update()
        moved = {
            name: float((value - before[name]).abs().max())
            for name, value in setup.correspondence.state_dict().items()
        }
        tones = [name for name in moved if ".tone." in name]
        assert len(tones) == 4
        assert [moved.pop(name) for name in tones] == pytest.approx([0.04] * 4, rel=1e-2)

    @pytest.mark.parametrize("optimizer", ["generator_optimizer", "discriminator_optimizer"])
    def test_adam_remembers_as_shortly_as_in_cyclegan(self, optimizer: str) -> None:
        groups = Setup("image").learner.state()[optimizer]["param_groups"]
        assert {group["betas"] for group in groups} == {(0.5, 0.999)}

    @pytest.mark.parametrize("norm", ["batch", "instance"])
    def test_the_discriminators_have_the_normalisation_of_the_settings(self, norm: str) -> None:
        learner = Setup("image", norm=norm).learner
        for network in (learner.source_discriminator, learner.target_discriminator):
            found = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
            assert found == (norm == "batch")

    def test_the_cycle_loss_is_weighed_by_the_statistics(self) -> None:
        sizes = 3, 2
        usual = tuple(ElementStatistics(torch.zeros(n), torch.arange(1.0, n + 1)) for n in sizes)
        setup = partial(Setup, lambda_cyc=1, lambda_q=0, lambda_m=0, cycle_loss="surprise")
        with_them, without = setup(statistics=usual).update(), setup().update()
        assert with_them["gan"] == without["gan"] and with_them["cycle"] != without["cycle"]

    def test_goes_on_exactly_where_it_was(self, tmp_path: Path) -> None:
        unbroken = Setup(pool_size=4)
        for _ in range(4):
            unbroken.update()
        save_checkpoint(tmp_path / "c", unbroken.learner.state())
        expected = [unbroken.update() for _ in range(4)]

        resumed = Setup(pool_size=4)
        resumed.learner.load_state(load_checkpoint(tmp_path / "c"))
        assert resumed.learner.gradient_steps == 4
        for terms in expected:
            found = resumed.update()
            assert {name: term.item() for name, term in found.items()} == {
                n: t.item() for n, t in terms.items()
            }
        for name, weight in copy_of_weights(unbroken.correspondence).items():
            assert torch.equal(resumed.correspondence.state_dict()[name], weight)

    def test_both_directions_start_from_opposite_angles(self) -> None:
        spec = StateSpec("image", (1, 36, 36))
        generator = GeneratorDescription("rotation", angle_init=30.0)
        correspondence = Correspondence(StateScaling(spec), StateScaling(spec), generator)
        angles = [
            g.get_parameter("angle").item()
            for g in (correspondence.target_to_source, correspondence.source_to_target)
        ]
        assert angles == pytest.approx([np.radians(30), -np.radians(30)])
