"""What ``learn-corr`` asks of its inputs, settings and processes before it begins."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.portfolio import Candidate
from corrtool.errors import ArtifactError, UsageError
from corrtool.layers import Norm
from corrtool.project.artifacts import Artifact
from corrtool.q_learning.saved import QDescription
from corrtool.runs.context import StageContext
from corrtool.runtime.remembering import remembered
from corrtool.settings.stages import LearnCorrSettings
from corrtool.stages.inputs import action_map_of
from corrtool.state_scaling import StateScaling
from corrtool.states import IMAGE, StateSpec


def check_fit(inputs: dict[str, Artifact]) -> None:
    """Raise :class:`ArtifactError` unless M_S, Q_S and F have the same states."""
    states = inputs["source_memory"].manifest["states"]
    if "q" in inputs and QDescription.from_manifest(inputs["q"]).states.to_json() != states:
        raise ArtifactError(
            f"{inputs['q']} and {inputs['source_memory']} have different states",
            "name fitting ones",
        )
    if "model" in inputs and inputs["model"].manifest.get("network", {}).get("states") != states:
        raise ArtifactError(
            f"{inputs['model']} and {inputs['source_memory']} have different states",
            "name fitting ones",
        )


def with_auto_q_loss(settings: LearnCorrSettings, agent: Artifact | None) -> LearnCorrSettings:
    """The settings, in which the Q loss of the agent's own outputs is 'auto', however it was said.

    Args:
        agent: Q_S, or a policy in its place; None for a Q-function that is yet to be learnt.

    Raises:
        UsageError: the agent has no such outputs.
    """
    if settings.q_loss == "auto" or not settings.may_need("q"):
        return settings
    described = None if agent is None else QDescription.from_manifest(agent)
    is_policy = described is not None and described.is_policy
    has_critic = described is not None and described.has_critic
    if settings.q_loss == ("logits" if is_policy else "q"):
        return replace(settings, q_loss="auto")
    who = "the agent" if agent is None else str(agent)
    if settings.q_loss == "logits":
        raise UsageError(
            f"--q-loss is logits, but {who} has none: it has Q-values",
            "use --q-loss q or --q-loss value",
        )
    if settings.q_loss == "q":
        raise UsageError(
            f"--q-loss is q, but {who} is a policy, whose logits are no Q-values",
            "use --q-loss logits" + (" or --q-loss value" if has_critic else ""),
        )
    if is_policy and not has_critic:
        raise UsageError(
            f"--q-loss is value, but {who} is a policy without a critic", "use --q-loss logits"
        )
    return settings


def fitting_candidates(
    context: StageContext, inputs: dict[str, Artifact], settings: LearnCorrSettings
) -> tuple[Candidate, ...]:
    """What the settings mean for these inputs: one candidate, or those of several recipes that fit.

    Raises:
        UsageError: none fits the states and the processes; the message is about the first.
        ArtifactError: the tasks have different actions, and the settings no map of them.
    """
    states = inputs["source_memory"].states
    source_actions, target_actions = (
        inputs[f"{role}_memory"].manifest["actions"] for role in ("source", "target")
    )
    tried = settings.candidates(states.settings_kind, same_actions=source_actions == target_actions)
    fitting, problems = list[Candidate](), list[UsageError]()
    for name, own in tried.items():
        action_map = action_map_of(own.action_map, source_actions, target_actions)
        own = replace(own, tone=own.has_tone(states.kind))
        candidate = Candidate(name, own, GeneratorDescription.of(own, states), action_map)
        try:
            check_networks(inputs, candidate.generator, own)
            check_ranks(context, inputs, own)
        except UsageError as error:
            problems.append(error)
        else:
            fitting.append(candidate)
    if not fitting:
        raise problems[0]
    return tuple(fitting)


def check_networks(
    inputs: dict[str, Artifact], generator: GeneratorDescription, settings: LearnCorrSettings
) -> None:
    """Check that generators and discriminators of this kind go with the states.

    Raises :class:`UsageError`.
    """
    specs = _state_specs(inputs)
    if (settings.angle_starts or 1) > 1 and not settings.tone and not _same_shape(inputs):
        raise UsageError(
            f"--angle-starts is {settings.angle_starts}, but the tasks' states have different "
            "shapes",
            "use --angle-starts 1, or give both tasks one stack of frames",
        )
    filters, norm = settings.discriminator_filters, settings.norm
    remembered(
        ("networks", *specs, generator, filters, norm),
        functools.partial(_build_networks, specs, generator, filters, norm),
    )


def _build_networks(
    specs: list[StateSpec], generator: GeneratorDescription, filters: int, norm: Norm
) -> None:
    """Build them where they take no memory. Raises :class:`UsageError` where that cannot be."""
    try:
        with torch.device("meta"):
            Correspondence(StateScaling(specs[0]), StateScaling(specs[1]), generator)
            for spec in specs:
                build_discriminator(spec, filters, norm)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_ranks(
    context: StageContext, inputs: dict[str, Artifact], settings: LearnCorrSettings
) -> None:
    """Raise :class:`UsageError` unless torchrun's processes can share the mini-batches."""
    if context.ranks.count == 1:
        return
    context.ranks.check_batch(settings.batch_size)
    if settings.norm == "batch" and _state_specs(inputs)[0].kind == IMAGE:
        raise UsageError(
            "--norm batch looks at a whole mini-batch, which several processes split",
            "use --norm instance",
        )
    if settings.model_loss == "relative" and "model" in settings.loss_weights:
        raise UsageError(
            "--model-loss relative is a share of a whole mini-batch, which several processes split",
            "use --model-loss printed",
        )


def _state_specs(inputs: dict[str, Artifact]) -> list[StateSpec]:
    return [inputs[f"{role}_memory"].states for role in ("source", "target")]


def _same_shape(inputs: dict[str, Artifact]) -> bool:
    source, target = _state_specs(inputs)
    return source.state_shape == target.state_shape
