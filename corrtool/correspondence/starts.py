"""Where the generators of a correspondence begin: at the best of many starts, by the model loss."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from corrtool.correspondence.actions import LEARNED, ActionMap
from corrtool.correspondence.generators import LinearGenerator, MlpGenerator
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.linear_starts import LinearStart, LinearStartSearch, Transitions
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.signal_starts import (
    candidate_signal_starts,
    gain_shift_layer,
    sampled_frames,
)
from corrtool.correspondence.spatial_starts import candidate_starts
from corrtool.correspondence.start_search import ANGLE_STARTS, SignalStartSearch, StartSearch
from corrtool.correspondence.tone_layer import tone_layer
from corrtool.correspondence.tones import ChannelFeatures, Tone, candidate_tones
from corrtool.environment_model.network import ScaledModel
from corrtool.runs.context import StageContext
from corrtool.runs.run import Run
from corrtool.runtime.ranks import Ranks
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import LearnCorrSettings


def find_start(
    context: StageContext,
    run: Run,
    settings: LearnCorrSettings,
    knowledge: Knowledge,
    correspondence: Correspondence,
) -> bool:
    """Put both generators at the best start, where there are several.

    Returns whether there were. All ranks begin where the first one does.
    """
    model = knowledge.environment_model
    if model is None or "model" not in settings.loss_weights:
        return False
    if isinstance(correspondence.target_to_source, LinearGenerator | MlpGenerator):
        found = _find_linear_start(context, run, settings, knowledge, model, correspondence)
    elif gain_shift_layer(correspondence.target_to_source) is not None:
        found = _find_signal_start(context, run, settings, knowledge, model, correspondence)
    elif settings.can_search_angles and (knowledge.same_shape or _has_tone(correspondence)):
        found = _find_spatial_start(context, run, settings, knowledge, model, correspondence)
    else:
        return False
    if found:
        context.ranks.broadcast_weights(correspondence)
        agree_on_actions(context.ranks, correspondence)
    return found


def agree_on_actions(ranks: Ranks, correspondence: Correspondence) -> None:
    """Give every rank the first one's action map."""
    action_map = correspondence.action_map
    if ranks.count > 1 and action_map is not None:
        device = next(correspondence.parameters()).device
        agreed = tuple(ranks.broadcast(action, device) for action in action_map.source_of)
        correspondence.action_map = replace(action_map, source_of=agreed)


def _find_spatial_start(
    context: StageContext,
    run: Run,
    settings: LearnCorrSettings,
    knowledge: Knowledge,
    model: ScaledModel,
    correspondence: Correspondence,
) -> bool:
    """The best of many angles, tones and action maps for a rotation or affine layer."""
    starts = candidate_starts(
        correspondence, settings.angle_init, settings.angle_starts or ANGLE_STARTS
    )
    tones = _tones(context, knowledge) if _has_tone(correspondence) else ()
    find_actions = settings.action_map == LEARNED
    if len(starts) == 1 and len(tones) < 2 and not find_actions:
        return False
    search = StartSearch(
        correspondence,
        model,
        knowledge.target,
        starts,
        numpy_generator(context.seed, "learn-corr start"),
        tones=tones,
        find_actions=find_actions,
    )
    title = f"learn-corr {run.request.name}: the best of {len(starts)} starts"
    title += f" and {len(tones)} tones" if tones else ""
    with context.console.progress(title, search.length, "transitions") as progress:
        start, compared = replace(search, advance=progress.advance).run()
    run.metrics.write(0, {"event": "spatial_search", **compared})
    context.console.say(f"learn-corr: starting at {start}")
    return True


def _find_signal_start(
    context: StageContext,
    run: Run,
    settings: LearnCorrSettings,
    knowledge: Knowledge,
    model: ScaledModel,
    correspondence: Correspondence,
) -> bool:
    """The best of many pitches, delays and orders of channels for a gain-and-shift layer."""
    if not settings.can_search_signals:
        return False
    random, c = numpy_generator(context.seed, "learn-corr start"), correspondence
    source = sampled_frames(knowledge.source, c.source_scaling, random)
    target = sampled_frames(knowledge.target, c.target_scaling, random)
    search = SignalStartSearch(
        correspondence,
        model,
        knowledge.target,
        candidate_signal_starts(source, target, settings.signal_starts),
        random,
        find_actions=settings.action_map == LEARNED,
    )
    title = f"learn-corr {run.request.name}: the best of {len(search.starts)} starts"
    with context.console.progress(title, search.length, "transitions") as progress:
        start, compared = replace(search, advance=progress.advance).run()
    run.metrics.write(0, {"event": "signal_search", **compared})
    context.console.say(f"learn-corr: starting at {start}")
    return True


def _has_tone(correspondence: Correspondence) -> bool:
    return tone_layer(correspondence.target_to_source) is not None


def _tones(context: StageContext, knowledge: Knowledge) -> tuple[Tone, ...]:
    """Tones that may turn the pictures of M_T into those of M_S."""
    random = numpy_generator(context.seed, "learn-corr tones")
    source, target = (
        ChannelFeatures.of_memory(memory, random) for memory in (knowledge.source, knowledge.target)
    )
    return tuple(candidate_tones(source, target))


def _find_linear_start(
    context: StageContext,
    run: Run,
    settings: LearnCorrSettings,
    knowledge: Knowledge,
    model: ScaledModel,
    correspondence: Correspondence,
) -> bool:
    """The best of many maps for a generator of vectors, with the map of actions if that is open."""
    if settings.linear_starts == 1:
        return False
    source, target = knowledge.source, knowledge.target
    rows, scaling = target.dynamics_rows(), correspondence.target_scaling
    transitions = Transitions(
        scaling.raw_to_model(target.states(rows)),
        target.actions(rows),
        scaling.raw_to_model(target.states(target.next_rows(rows))),
    )
    title = f"learn-corr {run.request.name}: the best of {settings.linear_starts} maps"
    with context.console.progress(title, LinearStartSearch.length, "gradient steps") as progress:
        start = LinearStartSearch(
            model,
            correspondence.source_scaling.raw_to_model(source.states(source.transition_rows())),
            transitions,
            correspondence.action_map or ActionMap.identity(model.actions),
            numpy_generator(context.seed, "learn-corr start"),
            progress.advance,
            find_actions=settings.action_map == LEARNED,
        ).best(settings.linear_starts)
    set_linear_start(correspondence, start)
    run.metrics.write(0, {"event": "linear_search", **start.to_json()})
    context.console.say(f"learn-corr: starting at {start}")
    return True


@torch.no_grad()
def set_linear_start(correspondence: Correspondence, start: LinearStart) -> None:
    """Put G_T at a start, G_S at its (pseudo-)inverse, and the action map at the start's."""
    back = torch.linalg.pinv(start.weight)
    _set_map(correspondence.target_to_source, start.weight, start.bias)
    _set_map(correspondence.source_to_target, back, -back @ start.bias)
    correspondence.action_map = start.action_map


def _set_map(generator: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Make a generator of vectors the map s ↦ W s + b, from which an mlp may learn to differ."""
    if isinstance(generator, LinearGenerator):
        generator.layer.weight.copy_(weight)
        generator.layer.bias.copy_(bias)
        return
    assert isinstance(generator, MlpGenerator)
    last = generator.layers[-1]
    assert isinstance(last, nn.Linear)
    generator.skip.weight.copy_(weight)
    last.weight.zero_()
    last.bias.copy_(bias)
