"""A step of ``learn-corr`` (resnet, batch 1) beside the same step written down plainly.

Also what zero λ's save.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measuring import Row, alternate, per_second
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.saved import ModelDescription
from corrtool.layers import ConvFromOneChannel, ConvToOneChannel, freeze
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.precision import has_bf16_instructions
from corrtool.settings.stages import LearnCorrSettings, TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 84, 84), 4)
ACTIONS = 6
STEPS = 30
CPU = torch.device("cpu")
SETTINGS = LearnCorrSettings(generator="resnet", cycle_loss="printed", pool_size=0)
MODEL = TrainModelSettings()
FOLDED = replace(SETTINGS, folded=True)  # with it the networks of the preset `default`
FOLDED_MODEL = TrainModelSettings(architecture="folded", blocks=3)


def networks(
    settings: LearnCorrSettings = SETTINGS, model: TrainModelSettings = MODEL
) -> tuple[Correspondence, nn.Module, ScaledModel]:
    """G_S and G_T, a Q_S and an F of the default sizes."""
    torch.manual_seed(0)
    f = ModelDescription.of(model, SPEC, ACTIONS).build()
    freeze(f)
    q = freeze(build_q_function(SPEC, ACTIONS, "small"))
    generator = GeneratorDescription.of(settings, SPEC)
    return Correspondence(StateScaling(SPEC), StateScaling(SPEC), generator), q, f


def batches() -> itertools.cycle[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Raw states of both tasks with actions and next states: (1, 4, 84, 84).

    Here s and s' share three frames.
    """
    random = np.random.default_rng(0)

    def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        source, target = (
            torch.from_numpy(random.integers(0, 255, (1, 5, 84, 84), np.uint8)) for _ in range(2)
        )
        return (
            source[:, :4],
            target[:, :4],
            torch.tensor([int(random.integers(ACTIONS))]),
            target[:, 1:],
        )

    return itertools.cycle([batch() for _ in range(8)])


def learner(lambdas: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> CorrespondenceLearner:
    settings = LearnCorrSettings(
        **(
            SETTINGS.to_json()
            | dict(zip(("lambda_cyc", "lambda_q", "lambda_m"), lambdas, strict=True))
        )
    )
    return _learner(settings, MODEL)


def default_learner(precision: Literal["float32", "bf16"]) -> CorrespondenceLearner:
    """With the networks of the preset ``default``, λ (1, 1, 1)."""
    return _learner(replace(FOLDED, precision=precision), FOLDED_MODEL)


def _learner(settings: LearnCorrSettings, model: TrainModelSettings) -> CorrespondenceLearner:
    return CorrespondenceLearner(
        *networks(settings, model), settings, 10**6, np.random.default_rng(0), CPU
    )


def steps_per_second(step: Callable[..., Any]) -> float:
    data = batches()
    step(*next(data))

    def work() -> None:
        for _ in range(STEPS):
            step(*next(data))

    return per_second(STEPS, work)


def with_torchs_layers(network: nn.Module) -> nn.Module:
    """The same network of torch.nn's own layers.

    It has none of this project's convolutions of one channel.
    """
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            replacement: nn.Module | None = None
            if isinstance(layer, ConvToOneChannel | ConvFromOneChannel):
                replacement = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size[0])
                replacement.load_state_dict(layer.state_dict())
                replacement.requires_grad_(layer.weight.requires_grad)
            elif isinstance(layer, nn.GroupNorm):
                replacement = nn.InstanceNorm2d(layer.num_channels)
            if replacement is not None:
                setattr(parent, name, replacement)
    return network


def plain() -> Callable[..., Any]:
    """Equations (8) to (12) one after another, eager, in float32.

    Each network is called once for each thing it is needed for.
    """
    c, q, f = networks()
    for network in (c, q, f):
        with_torchs_layers(network)
    g_t, g_s = c.target_to_source, c.source_to_target
    d_s, d_t = (
        with_torchs_layers(build_discriminator(SPEC, SETTINGS.discriminator_filters, SETTINGS.norm))
        for _ in range(2)
    )
    generators = torch.optim.Adam(
        [*g_t.parameters(), *g_s.parameters()], SETTINGS.learning_rate, (0.5, 0.999)
    )
    discriminators = torch.optim.Adam(
        [*d_s.parameters(), *d_t.parameters()], SETTINGS.learning_rate, (0.5, 0.999)
    )

    def ones(scores: Tensor) -> Tensor:
        return (scores - 1).square().mean()

    def step(raw_source: Tensor, raw_target: Tensor, actions: Tensor, raw_next: Tensor) -> None:
        source, target, following = (
            raw.float() / 127.5 - 1 for raw in (raw_source, raw_target, raw_next)
        )
        to_source, to_target = g_t(target), g_s(source)
        back = g_t(to_target)
        loss = ones(d_s(to_source)) + ones(d_t(to_target))
        loss = loss + F.l1_loss(back, source) + F.l1_loss(g_s(to_source), target)
        loss = (
            loss
            + F.l1_loss(q((back + 1) / 2), q((source + 1) / 2))
            + F.l1_loss(f(to_source, actions), g_t(following))
        )
        generators.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        generators.step()
        wrong = sum(ones(d(real)) + d(made.detach()).square().mean() for d, real, made in
                    ((d_s, source, to_source), (d_t, target, to_target)))  # fmt: skip
        discriminators.zero_grad()
        (0.5 * wrong).backward()
        discriminators.step()

    return step


# λ, and what then is not computed: pictures through a generator, and whether F and Q_S.
ZEROS = {
    "(1,1,0)": ((1.0, 1.0, 0.0), (1, True, False)),  # G_T of the newest picture of s_{t+1}
    "(1,0,0)": ((1.0, 0.0, 0.0), (1, True, True)),
    "(0,1,0)": ((0.0, 1.0, 0.0), (5, True, False)),  # and G_S(G_T(s))
    "(0,0,0)": ((0.0, 0.0, 0.0), (9, True, True)),  # and G_T(G_S(s))
}


def measure(rounds: int) -> list[Row]:
    """Steps a second."""
    bf16 = has_bf16_instructions(CPU)
    printed, theirs, *default = alternate(
        lambda: steps_per_second(learner().update),
        lambda: steps_per_second(plain()),
        lambda: steps_per_second(default_learner("float32").update),
        *[lambda: steps_per_second(default_learner("bf16").update)] * bf16,
        rounds=rounds,
    )
    sides = [("resnet", printed, 1.6), ("folded resnet and F, float32", default[0], 2.4)]
    sides += [("folded resnet and F, bf16", default[1], 3.0)] if bf16 else []
    rows = [
        Row(
            f"learn-corr, {name}, (1,1,1), batch 1",
            "plain eager float32 step",
            "steps/s",
            ours,
            theirs,
            goal,
        )
        for name, ours, goal in sides
    ]
    some_zero = (
        lambda weights=weights: steps_per_second(learner(weights).update)
        for weights, _ in ZEROS.values()
    )
    everything, picture, model, q, *some = alternate(
        lambda: steps_per_second(learner().update), *seconds_of_passes(), *some_zero, rounds=rounds
    )
    whole = 1 / statistics.median(everything)
    for (name, (_, (pictures, no_model, no_q))), speeds in zip(ZEROS.items(), some, strict=True):
        dropped = (
            pictures * statistics.median(picture)
            + no_model * statistics.median(model)
            + no_q * statistics.median(q)
        )
        rows.append(
            Row(
                f"learn-corr, λ = {name}",
                "λ = (1,1,1)",
                "steps/s",
                speeds,
                everything,
                round(whole / (whole - dropped), 2),
            )
        )
    return rows


def seconds_of_passes() -> list[Callable[[], float]]:
    """What a picture through a generator takes, and a state through F and Q_S.

    Forward and backward.
    """
    c, q, f = networks()
    source, _, actions, _ = next(batches())
    states = (source.float() / 127.5 - 1).requires_grad_(True)

    def seconds(forward: Callable[[], Tensor]) -> float:
        return 1 / per_second(STEPS, lambda: [forward().sum().backward() for _ in range(STEPS)])  # type: ignore[no-untyped-call]

    return [
        lambda: seconds(lambda: c.target_to_source(states)) / 4,
        lambda: seconds(lambda: f(states, actions)),
        lambda: seconds(lambda: q(states)),
    ]
