"""Where the generators of a correspondence begin: at the best of many starts, by the model loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from corrtool.correspondence.actions import LEARNED, ActionMap
from corrtool.correspondence.found_starts import AnyStart, FoundStarts
from corrtool.correspondence.generators import FramewiseGenerator, LinearGenerator, MlpGenerator
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.linear_candidates import Transitions
from corrtool.correspondence.linear_rotations import LENGTH as ROTATIONS_LENGTH
from corrtool.correspondence.linear_rotations import best_rotation
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch
from corrtool.correspondence.linear_symmetries import best_symmetry
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.reward_model import learn_rewards
from corrtool.correspondence.signal_starts import (
    SignalStart,
    candidate_signal_starts,
    gain_shift_layer,
    sampled_frames,
)
from corrtool.correspondence.spatial_starts import Start, candidate_starts
from corrtool.correspondence.start_search import ANGLE_STARTS, SignalStartSearch, StartSearch
from corrtool.correspondence.temporal_differences import target_differences
from corrtool.correspondence.tone_layer import tone_layer
from corrtool.correspondence.tones import ChannelFeatures, Tone, candidate_tones
from corrtool.environment_model.network import ScaledModel
from corrtool.runs.context import StageContext
from corrtool.runs.limits import TimeLimit
from corrtool.runs.run import Run
from corrtool.runtime.console import ProgressBar
from corrtool.runtime.ranks import Ranks
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.budget import SEARCH_SHARE
from corrtool.settings.stages import LearnCorrSettings


@dataclass(frozen=True)
class StartFinder:
    """The searches for a start that the recipes of one run make.

    Attributes:
        limit: each search has a half of what is left of it, and then the best start so far.
        found: what searches have found.
    """

    context: StageContext
    run: Run
    knowledge: Knowledge
    limit: TimeLimit
    found: FoundStarts

    def find(self, settings: LearnCorrSettings, correspondence: Correspondence) -> AnyStart | None:
        """Put both generators at the best start, where there are several.

        Returns it, or None if there were none. All ranks begin where the first one does.
        """
        model, context = self.knowledge.environment_model, self.context
        if model is None or "model" not in settings.loss_weights:
            return None
        tone = tone_layer(correspondence.target_to_source) is not None
        if isinstance(correspondence.target_to_source, LinearGenerator | MlpGenerator):
            start = self._linear_start(settings, model, correspondence)
        elif gain_shift_layer(correspondence.target_to_source) is not None:
            start = self._signal_start(settings, model, correspondence)
        elif settings.can_search_angles and (self.knowledge.same_shape or tone):
            start = self._spatial_start(settings, model, correspondence)
        else:
            return None
        if start is None:
            return None
        if isinstance(start, LinearStart):
            set_linear_start(correspondence, start)
        else:
            start.set(correspondence)
        context.console.say(f"learn-corr: starting at {start}")
        context.ranks.broadcast_weights(correspondence)
        agree_on_actions(context.ranks, correspondence)
        return start

    def _spatial_start(
        self, settings: LearnCorrSettings, model: ScaledModel, correspondence: Correspondence
    ) -> AnyStart | None:
        """The best of many angles, tones and action maps for a rotation or affine layer.

        None where there is only one.
        """
        starts = candidate_starts(
            correspondence, settings.angle_init, settings.angle_starts or ANGLE_STARTS
        )
        toned = tone_layer(correspondence.target_to_source) is not None
        tones = self._tones if toned else ()
        find_actions = settings.action_map == LEARNED
        if len(starts) == 1 and len(tones) < 2 and not find_actions:
            return None
        searched = f"{len(starts)} starts from {settings.angle_init:g}°, {len(tones)} tones"
        searched += ", frame by frame" if _reorders(correspondence) else ""
        before = self.found.get(searched)
        searched += ", actions too" if find_actions else ""
        if (known := self.found.get(searched)) is not None:
            return known
        limit = self.limit.part(SEARCH_SHARE)
        search = StartSearch(
            correspondence,
            model,
            self.knowledge.target,
            starts,
            numpy_generator(self.context.seed, "learn-corr start"),
            tones=tones,
            find_actions=find_actions,
            over=limit.over,
            but_not=before if find_actions and isinstance(before, Start) else None,
        )
        title = f"learn-corr {self.run.request.name}: the best of {len(starts)} starts"
        title += f" and {len(tones)} tones" if tones else ""
        with self._progress(title, search.length, "transitions", limit) as progress:
            start, compared = replace(search, advance=progress.advance).run()
        return self._told(searched, start, {"event": "spatial_search", **compared}, limit)

    def _signal_start(
        self, settings: LearnCorrSettings, model: ScaledModel, correspondence: Correspondence
    ) -> AnyStart | None:
        """The best of many pitches, delays and orders of channels for a gain-and-shift layer.

        None where there is only one.
        """
        if not settings.can_search_signals:
            return None
        find_actions = settings.action_map == LEARNED
        searched = f"{settings.signal_starts} pitches"
        before = self.found.get(searched)
        searched += ", actions too" if find_actions else ""
        if (known := self.found.get(searched)) is not None:
            return known
        random, c = numpy_generator(self.context.seed, "learn-corr start"), correspondence
        source = sampled_frames(self.knowledge.source, c.source_scaling, random)
        target = sampled_frames(self.knowledge.target, c.target_scaling, random)
        limit = self.limit.part(SEARCH_SHARE)
        search = SignalStartSearch(
            correspondence,
            model,
            self.knowledge.target,
            candidate_signal_starts(source, target, settings.signal_starts),
            random,
            find_actions=find_actions,
            over=limit.over,
            but_not=before if find_actions and isinstance(before, SignalStart) else None,
        )
        title = f"learn-corr {self.run.request.name}: the best of {len(search.starts)} starts"
        with self._progress(title, search.length, "transitions", limit) as progress:
            start, compared = replace(search, advance=progress.advance).run()
        return self._told(searched, start, {"event": "signal_search", **compared}, limit)

    @cached_property
    def _tones(self) -> tuple[Tone, ...]:
        """Tones that may turn the pictures of M_T into those of M_S."""
        random = numpy_generator(self.context.seed, "learn-corr tones")
        source, target = (
            ChannelFeatures.of_memory(memory, random)
            for memory in (self.knowledge.source, self.knowledge.target)
        )
        return tuple(candidate_tones(source, target))

    def _linear_start(
        self, settings: LearnCorrSettings, model: ScaledModel, correspondence: Correspondence
    ) -> AnyStart | None:
        """The best of many maps of vectors, with the map of actions if that is open.

        None where there is only one.
        """
        if settings.linear_starts == 1:
            return None
        find_actions = settings.action_map == LEARNED
        searched = f"{settings.linear_starts} maps" + (", actions too" if find_actions else "")
        if (known := self.found.get(searched)) is not None:
            return known
        source, target = self.knowledge.source, self.knowledge.target
        rows, scaling = target.dynamics_rows(), correspondence.target_scaling
        transitions = Transitions(
            scaling.raw_to_model(target.states(rows)),
            target.actions(rows),
            scaling.raw_to_model(target.states(target.next_rows(rows))),
        )
        title = f"learn-corr {self.run.request.name}: the best of {settings.linear_starts} maps"
        limit = self.limit.part(SEARCH_SHARE)
        length = LinearStartSearch.length + ROTATIONS_LENGTH
        with self._progress(title, length, "gradient steps", limit) as progress:
            search = LinearStartSearch(
                model,
                correspondence.source_scaling.raw_to_model(source.states(source.transition_rows())),
                transitions,
                scaling,
                correspondence.action_map or ActionMap.identity(model.actions),
                numpy_generator(self.context.seed, "learn-corr start"),
                progress.advance,
                find_actions=find_actions,
                over=limit.over,
            )
            start = search.best(settings.linear_starts)
            ranks, device = self.context.ranks, self.context.device
            if ranks.agreed(start.signed_permutation, device):
                progress.advance(ROTATIONS_LENGTH)
            else:
                start = best_rotation(search, start, settings.linear_starts)
        metrics = {"event": "linear_search", **start.to_json()}
        differences = None
        if (start.signed_permutation or search.near is not None) and not limit.over():
            differences = self._differences(correspondence, model)
        if differences is not None:
            start, compared = best_symmetry(search, start, differences)
            metrics |= {**start.to_json(), "symmetries": compared}
        return self._told(searched, start, metrics, limit)

    def _differences(
        self, correspondence: Correspondence, model: ScaledModel
    ) -> Callable[[LinearStart], Tensor] | None:
        """What a start gets wrong of the target's rewards, (B,) over all transitions of M_T.

        By a model of the source's, or where that explains little, by the temporal differences of
        Q_S or of a policy's critic; None without either.
        """
        knowledge, rows = self.knowledge, self.knowledge.target.transition_rows()
        rewards = learn_rewards(
            knowledge.source,
            correspondence.source_scaling,
            model.actions,
            numpy_generator(self.context.seed, "learn-corr rewards"),
        )
        if rewards is None and knowledge.source_values is None:
            return None

        def differences(start: LinearStart) -> Tensor:
            set_linear_start(correspondence, start)
            if rewards is not None:
                return rewards.errors(correspondence, knowledge.target, rows)
            return target_differences(correspondence, knowledge, rows)

        return differences

    def _progress(self, title: str, length: int, unit: str, limit: TimeLimit) -> ProgressBar:
        seconds_left = limit.seconds_left
        return self.context.console.progress(title, length, unit, seconds_left=seconds_left)

    def _told(
        self, searched: str, start: AnyStart, metrics: dict[str, Any], limit: TimeLimit
    ) -> AnyStart:
        """The start, logged and kept, and whether its search came to its end."""
        self.run.metrics.write(0, metrics)
        cut = limit.over()
        if cut:
            self.context.console.say(
                "learn-corr: the search ended early, since a half of the time that was left is over"
            )
        self.found.add(searched, start, cut=cut)
        return start


def agree_on_actions(ranks: Ranks, correspondence: Correspondence) -> None:
    """Give every rank the first one's action map."""
    action_map = correspondence.action_map
    if ranks.count > 1 and action_map is not None:
        device = next(correspondence.parameters()).device
        agreed = tuple(ranks.broadcast(action, device) for action in action_map.source_of)
        correspondence.action_map = replace(action_map, source_of=agreed)


@torch.no_grad()
def set_linear_start(correspondence: Correspondence, start: LinearStart) -> None:
    """Put G_T at a start, G_S at its (pseudo-)inverse, and the action map at the start's."""
    back = torch.linalg.pinv(start.weight)
    if start.signed_permutation:
        back *= start.weight.T != 0  # of its inverse what is not 0 is noise of the computation
    _set_map(correspondence.target_to_source, start.weight, start.bias)
    _set_map(correspondence.source_to_target, back, -back @ start.bias)
    correspondence.action_map = start.action_map


def _set_map(generator: nn.Module, weight: Tensor, bias: Tensor) -> None:
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


def _reorders(correspondence: Correspondence) -> bool:
    """True if G_T takes the frames of a state apart, and the tasks have them in other orders."""
    specs = correspondence.target_scaling.spec, correspondence.source_scaling.spec
    framewise = isinstance(correspondence.target_to_source, FramewiseGenerator)
    return framewise and specs[0].stack_order != specs[1].stack_order
