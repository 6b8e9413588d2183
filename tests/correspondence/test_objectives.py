"""Eq. (8)–(12) from raw states to their sum, against a plain reference.

The reference makes one network call per symbol of the paper, no sharing.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.objectives import DiscriminatorObjective, GeneratorObjective
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.layers import Norm, freeze
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.precision import Precision
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

ACTIONS = 3
GRID = list(
    itertools.product((0.0, 1.0, 10.0), (0.0, 1.0), (0.0, 1.0, 10.0))
)  # table 1: λ_Cyc, λ_Q, λ_M
FLOAT32 = Precision(torch.float32, torch.device("cpu"))
IMAGES = StateSpec("image", (1, 36, 36), 2)
PERMUTED = StateSpec("image", (1, 36, 36), 2, (1, 0))
SOURCE_VECTORS = StateSpec("vector", (3,), 2)
TARGET_VECTORS = StateSpec("vector", (2,), 2)
RESNET = {"kind": "resnet", "filters": 2, "blocks": 1}
PAIRS: dict[str, tuple[StateSpec, StateSpec, dict[str, Any]]] = {
    "images, each frame by itself": (IMAGES, IMAGES, RESNET | {"framewise": True}),
    "images, frames as channels": (IMAGES, IMAGES, RESNET | {"framewise": False}),
    "images in another order": (IMAGES, PERMUTED, RESNET | {"framewise": True}),
    "vectors, linear": (SOURCE_VECTORS, TARGET_VECTORS, {"kind": "linear"}),
    "vectors, mlp": (SOURCE_VECTORS, TARGET_VECTORS, {"kind": "mlp", "filters": 5, "blocks": 1}),
}


class Setting:
    """Two tasks with random networks and a mini-batch of three states of each."""

    def __init__(self, pair: str, norm: Norm = "instance") -> None:
        torch.manual_seed(0)
        self.source_spec, self.target_spec, generator = PAIRS[pair]
        self.source_scaling, self.target_scaling = (
            scaling(self.source_spec),
            scaling(self.target_spec),
        )
        self.correspondence = Correspondence(
            self.source_scaling, self.target_scaling, GeneratorDescription(**generator, norm=norm)
        )
        self.source_discriminator = build_discriminator(self.source_spec, 2, norm)
        self.target_discriminator = build_discriminator(self.target_spec, 2, norm)
        self.q = freeze(build_q_function(self.source_spec, ACTIONS))
        network = build_environment_model(self.source_spec, ACTIONS, filters=2, blocks=1)
        self.model = ScaledModel(network, self.source_scaling)
        for module in (
            self.correspondence,
            self.source_discriminator,
            self.target_discriminator,
            self.q,
            network,
        ):
            for weights in (
                module.parameters()
            ):  # large enough that every term moves when something in it does
                nn.init.normal_(weights, std=0.2)
        freeze(self.model)
        self.raw_source, self.raw_target = raw(self.source_spec), raw(self.target_spec)
        following = self.target_spec.frames_of(raw(self.target_spec))
        frames = self.target_spec.frames_of(self.raw_target)
        self.raw_next = self.target_spec.stack_frames(
            torch.cat([frames[:, 1:], following[:, -1:]], dim=1)
        )
        self.actions = torch.tensor([2, 0, 1])

    def compute(
        self, settings: LearnCorrSettings, statistics: Any = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        q = self.q if settings.lambda_q > 0 else None
        model = self.model if settings.lambda_m > 0 else None
        objective = GeneratorObjective(
            self.correspondence, self.source_discriminator, self.target_discriminator, q, model,
            settings, FLOAT32, statistics
        )  # fmt: skip
        following = self.raw_next if settings.lambda_m > 0 else None
        computed: tuple[Tensor, dict[str, Tensor], Tensor, Tensor] = objective(
            self.raw_source, self.raw_target, self.actions, following
        )
        return computed

    def reference(self, settings: LearnCorrSettings, statistics: Any = None) -> dict[str, Tensor]:
        """Every term as printed, whatever its λ."""
        g_t, g_s = self.correspondence.target_to_source, self.correspondence.source_to_target
        d_s, d_t = self.source_discriminator, self.target_discriminator
        s_s, s_t = (
            to_model(self.source_spec, self.raw_source),
            to_model(self.target_spec, self.raw_target),
        )
        s_next = to_model(self.target_spec, self.raw_next)
        scores = d_s(g_t(s_t)), d_t(g_s(s_s))
        if settings.gan_loss == "lsgan":
            gan = sum(((score - 1) ** 2).mean() for score in scores)
        else:
            gan = sum(-torch.log(torch.sigmoid(score)).mean() for score in scores)
        differences = [(g_t(g_s(s_s)) - s_s).abs(), (g_s(g_t(s_t)) - s_t).abs()]
        if statistics is not None:
            for number, (states, (mean, deviation)) in enumerate(
                zip((s_s, s_t), statistics, strict=True)
            ):
                surprise = (states - mean).abs() / deviation
                shares = [row / row.mean() for row in surprise]  # of each state, 1 in the mean
                differences[number] = differences[number] * (0.5 + 0.5 * torch.stack(shares))
        q_values = self.q(to_q(self.source_spec, self.raw_source))
        of_reconstructions = self.q(model_to_q(self.source_spec, g_t(g_s(s_s))))
        predicted, true = self.model.network(g_t(s_t), self.actions), g_t(s_next)
        return {
            "gan": gan,
            "cycle": differences[0].mean() + differences[1].mean(),
            "q": (of_reconstructions - q_values).abs().mean(),
            "model": (predicted - true).abs().mean(),
        }


def scaling(spec: StateSpec) -> StateScaling:
    if spec.kind == "image":
        return StateScaling(spec)
    size = spec.state_shape[0]
    return StateScaling(spec, torch.arange(1.0, size + 1), torch.arange(2.0, size + 2))


def raw(spec: StateSpec) -> Tensor:
    if spec.kind == "image":
        return torch.randint(0, 256, (3, *spec.state_shape), dtype=torch.uint8)
    return 3 * torch.randn(3, *spec.state_shape)


def to_model(spec: StateSpec, states: Tensor) -> Tensor:
    if spec.kind == "image":
        return states / 127.5 - 1
    size = spec.state_shape[0]
    return (states - torch.arange(1.0, size + 1)) / torch.arange(2.0, size + 2)


def to_q(spec: StateSpec, states: Tensor) -> Tensor:
    return states / 255 if spec.kind == "image" else states


def model_to_q(spec: StateSpec, states: Tensor) -> Tensor:
    if spec.kind == "image":
        return (states + 1) / 2
    size = spec.state_shape[0]
    return states * torch.arange(2.0, size + 2) + torch.arange(1.0, size + 1)


def settings_of(
    lambda_cyc: float, lambda_q: float, lambda_m: float, **others: Any
) -> LearnCorrSettings:
    settings = LearnCorrSettings(
        lambda_cyc=lambda_cyc, lambda_q=lambda_q, lambda_m=lambda_m, cycle_loss="printed"
    )
    return replace(settings, **others)


def total(terms: dict[str, Tensor], settings: LearnCorrSettings) -> Tensor:
    weights = {
        "gan": 1.0,
        "cycle": settings.lambda_cyc,
        "q": settings.lambda_q,
        "model": settings.lambda_m,
    }
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def gradients(loss: Tensor, network: nn.Module) -> dict[str, Tensor | None]:
    network.zero_grad()
    torch.autograd.backward(loss)
    return {
        name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()
    }


@pytest.mark.parametrize("pair", PAIRS)
class TestGenerators:
    @pytest.mark.parametrize(("lambda_cyc", "lambda_q", "lambda_m"), GRID)
    def test_every_term_and_the_sum_are_those_of_the_paper(
        self, pair: str, lambda_cyc: float, lambda_q: float, lambda_m: float
    ) -> None:
        setting, settings = Setting(pair), settings_of(lambda_cyc, lambda_q, lambda_m)
        loss, terms, generated_source, generated_target = setting.compute(settings)
        expected = setting.reference(settings)
        computed = {"gan"} | {
            n for n, w in (("cycle", lambda_cyc), ("q", lambda_q), ("model", lambda_m)) if w
        }
        assert terms.keys() == computed  # a λ of 0 costs nothing
        for name in computed:
            assert expected[name] > 1e-3
            torch.testing.assert_close(terms[name], expected[name], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(loss, total(expected, settings), rtol=1e-4, atol=1e-6)
        c = setting.correspondence
        torch.testing.assert_close(
            generated_source, c.target_to_source(to_model(setting.target_spec, setting.raw_target))
        )
        torch.testing.assert_close(
            generated_target, c.source_to_target(to_model(setting.source_spec, setting.raw_source))
        )

    def test_the_gradients_are_those_of_the_paper(self, pair: str) -> None:
        setting, settings = Setting(pair), settings_of(2.0, 3.0, 5.0)
        ours = gradients(setting.compute(settings)[0], setting.correspondence)
        expected = gradients(total(setting.reference(settings), settings), setting.correspondence)
        largest = max(
            gradient.abs().max() for gradient in expected.values() if gradient is not None
        )
        assert largest > 0
        for name, gradient in expected.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5 * float(largest))

    def test_the_log_loss_as_printed(self, pair: str) -> None:
        setting, settings = Setting(pair), settings_of(0.0, 0.0, 0.0, gan_loss="log")
        torch.testing.assert_close(
            setting.compute(settings)[0], setting.reference(settings)["gan"], rtol=1e-4, atol=1e-6
        )

    def test_the_cycle_loss_by_surprise(self, pair: str) -> None:
        setting, settings = Setting(pair), settings_of(1.0, 0.0, 0.0, cycle_loss="surprise")
        torch.manual_seed(1)
        statistics = tuple(
            ElementStatistics(torch.randn(spec.state_shape) / 4, torch.rand(spec.state_shape) + 0.1)
            for spec in (setting.source_spec, setting.target_spec)
        )
        terms = setting.compute(settings, statistics)[1]
        expected = setting.reference(settings, statistics)["cycle"]
        torch.testing.assert_close(terms["cycle"], expected, rtol=1e-4, atol=1e-6)
        assert (expected - setting.reference(settings)["cycle"]).abs() > 1e-3

    def test_the_relative_model_loss_is_about_the_newest_frame(self, pair: str) -> None:
        setting, settings = Setting(pair), settings_of(0.0, 0.0, 1.0, model_loss="relative")
        g_t, spec = setting.correspondence.target_to_source, setting.source_spec
        here, following = (
            g_t(to_model(setting.target_spec, raw))
            for raw in (setting.raw_target, setting.raw_next)
        )
        predicted = setting.model.network(here, setting.actions)
        here, following, predicted = (
            spec.frames_of(states)[:, -1] for states in (here, following, predicted)
        )
        changing = (following - here).abs() > 0.02
        expected = (predicted - following).abs()[changing].sum() / (following - here).abs()[
            changing
        ].sum()
        torch.testing.assert_close(
            setting.compute(settings)[1]["model"], expected, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("pair", ["images, each frame by itself", "vectors, mlp"])
def test_batch_norm_sees_each_mini_batch_by_itself(pair: str) -> None:
    """Real and generated states in one batch would show the networks statistics of neither."""
    settings = settings_of(1.0, 1.0, 1.0, norm="batch")
    setting = Setting(pair, "batch")
    terms = setting.compute(settings)[1]
    for name, expected in setting.reference(settings).items():
        torch.testing.assert_close(terms[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("gan_loss", ["lsgan", "log"])
def test_discriminators(pair: str, norm: Norm, gan_loss: str) -> None:
    """Eq. (8): real states towards 1, generated ones towards 0, halved."""
    setting, settings = (
        Setting(pair, norm),
        settings_of(0.0, 0.0, 0.0, norm=norm, gan_loss=gan_loss),
    )
    c, s_s = setting.correspondence, to_model(setting.source_spec, setting.raw_source)
    s_t = to_model(setting.target_spec, setting.raw_target)
    with torch.no_grad():
        generated_source, generated_target = c.target_to_source(s_t), c.source_to_target(s_s)
    objective = DiscriminatorObjective(
        c, setting.source_discriminator, setting.target_discriminator, settings, FLOAT32
    )
    loss, terms = objective(
        setting.raw_source, setting.raw_target, generated_source, generated_target
    )
    for side, real, generated in (
        ("source", s_s, generated_source),
        ("target", s_t, generated_target),
    ):
        network = getattr(setting, f"{side}_discriminator")
        scores = network(real), network(generated)
        if gan_loss == "lsgan":
            expected = 0.5 * (((scores[0] - 1) ** 2).mean() + (scores[1] ** 2).mean())
        else:
            expected = -0.5 * (
                torch.sigmoid(scores[0]).log().mean() + (1 - torch.sigmoid(scores[1])).log().mean()
            )
        torch.testing.assert_close(terms[f"{side}_discriminator"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, sum(terms.values()))
