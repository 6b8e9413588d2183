"""The start of a generator's spatial layer, or of its gain-and-shift layer: the best of many.

The model loss is flat but near the right angle, so the search looks all around. The printed loss
(11) has a basin some ten degrees wide, 0° is a ridge of it, and descent goes either way; the paper
needed 39,000 steps. Starts are compared by the relative model loss: on Pong turned by 37°, whose
corners are black, F is so noisy that the printed one is least 70° from the answer. The relative one
is sharper: on Pong turned by 94° it is 0.58 within a degree of the answer, and 0.66 to 0.72 three
degrees from it. Where F sees the game upside down it is 0.60: less than at the answer missed by two
degrees. So an affine layer's best start of either hand is first turned to where it fits best, and
the two are compared then, on more transitions: on Pong turned by 85° they differ by 0.013, with a
standard deviation of 0.006 over samples of 128.

Where tones or a map of the actions are open as well, these are compared first, at right angles
only: every angle with every tone would take as many times as long. Starts of signals bring channels
and gains of their own; the best is retuned where one of pictures is turned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from corrtool.correspondence.action_matrix import ActionMatrix, batch_matrix
from corrtool.correspondence.losses import relative_model_loss
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.signal_starts import SignalStart
from corrtool.correspondence.spatial_starts import Start
from corrtool.correspondence.tones import Tone
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import Rows

ANGLE_STARTS = 120  # three degrees apart: one of them is within 1.5 degrees of the answer
FIRST_TRANSITIONS = 16  # of the target, on which all starts are compared
FINALISTS = 8  # those with the least loss, compared once more on other transitions
FINAL_TRANSITIONS = 64
TURNED_TRANSITIONS = 512  # on which those near the best are compared
BATCH = 128  # transitions at a time, which bounds the memory
COARSE_ANGLES = 4  # of each hand, at which tones and maps of the actions are compared
COARSE_TRANSITIONS = 32
KEPT_TONES = 2  # which are compared at all angles, the second only
NEAR = 1.1  # if its loss is at most so many times that of the best: it costs as much again

S = TypeVar("S", Start, SignalStart)


@torch.no_grad()
def model_loss_by_start(
    correspondence: Correspondence,
    environment_model: ScaledModel,
    raw_states: Tensor,
    actions: Tensor,
    raw_next_states: Tensor,
    starts: Sequence[Start | SignalStart],
) -> list[float]:
    """The relative model loss of each start on transitions (B, …) of the target task, raw.

    It is that of the spatial and the tone layer alone, as if the rest of a generator did nothing.
    The states of both tasks must have one shape but for the channels, which a tone may change.
    """
    scaling, spec = correspondence.target_scaling, correspondence.source_scaling.spec
    states, next_states = scaling.raw_to_model(raw_states), scaling.raw_to_model(raw_next_states)
    losses = []
    for start in starts:
        layer = start.layers(correspondence).to(states.device)
        translated = layer(states)
        predicted_next = environment_model(
            translated, _source_actions(correspondence, start, actions)
        )
        newest = (
            spec.frames_of(states)[:, -1]
            for states in (predicted_next, translated, layer(next_states))
        )
        losses.append(relative_model_loss(*newest).item())
    return losses


def _source_actions(
    correspondence: Correspondence, start: Start | SignalStart, actions: Tensor
) -> Tensor:
    """Target actions (B,) → source actions (B,), by the start's own map if it has one."""
    if start.action_map is None:
        return correspondence.source_actions(actions)
    return torch.tensor(start.action_map.source_of, device=actions.device)[actions]


@dataclass
class _Comparison:
    """The comparison of starts.

    ``advance`` is called with the number of transitions that are done, of which there are ``done``.
    Once it is ``over``, what is left to compare has an infinite loss.
    """

    correspondence: Correspondence
    environment_model: ScaledModel
    target: ReplayMemory
    advance: Callable[[int], None]
    over: Callable[[], bool]
    done: int = 0

    def _count(self, transitions: int) -> None:
        self.done += transitions
        self.advance(transitions)

    def losses(self, rows: Rows, starts: Sequence[S]) -> list[float]:
        """The mean model loss of each start on the transitions at ``rows``."""
        batches = np.array_split(rows, -(-len(rows) // BATCH))
        return [
            inf if self.over() else float(np.mean([self._loss(batch, start) for batch in batches]))
            for start in starts
        ]

    def _loss(self, rows: Rows, start: Start | SignalStart) -> float:
        target = self.target
        (loss,) = model_loss_by_start(
            self.correspondence,
            self.environment_model,
            target.states(rows),
            target.actions(rows),
            target.states(target.next_rows(rows)),
            [start],
        )
        self._count(len(rows))
        return loss

    def mapped(self, rows: Rows, starts: Sequence[S]) -> tuple[list[S], list[float]]:
        """Each start with its best map of the actions, and the model loss with that."""
        maps, losses = list[S](), list[float]()
        for start in starts:
            if self.over():
                maps.append(start)
                losses.append(inf)
                continue
            batches = np.array_split(rows, -(-len(rows) // BATCH))
            matrix = ActionMatrix.joined([self._matrix(batch, start) for batch in batches])
            maps.append(replace(start, action_map=matrix.best_map()))
            losses.append(matrix.loss(matrix.best_map()))
        return maps, losses

    @torch.no_grad()
    def _matrix(self, rows: Rows, start: Start | SignalStart) -> ActionMatrix:
        correspondence, target = self.correspondence, self.target
        layer = start.layers(correspondence).to(target.device)
        here, following = (
            layer(correspondence.target_scaling.raw_to_model(target.states(at)))
            for at in (rows, target.next_rows(rows))
        )
        known, model = correspondence.action_map, self.environment_model
        count = model.actions if known is None else known.target_count
        self._count(len(rows) * model.actions)
        spec = correspondence.source_scaling.spec
        return batch_matrix(model, spec, here, following, target.actions(rows), count)


@dataclass(frozen=True)
class _Search(ABC, Generic[S]):
    """The search for a start among many.

    Attributes:
        starts: angles, of either hand, or pitches and delays.
        tones: of which each may go with each start; none where there is no tone layer.
        find_actions: whether the map of the actions is to be found as well.
        advance: called with so many more of the :meth:`length`.
        over: whether the time is over, asked before each comparison: the search then ends with the
            best start so far.
        but_not: what was found with the actions as they are. In a task with a symmetry another
            start, with other actions, explains as much, and only games tell: so that is preferred.
    """

    correspondence: Correspondence
    environment_model: ScaledModel
    target: ReplayMemory
    starts: Sequence[S]
    random: np.random.Generator
    advance: Callable[[int], None] = lambda transitions: None
    tones: tuple[Tone, ...] = ()
    find_actions: bool = False
    over: Callable[[], bool] = lambda: False
    but_not: S | None = None

    @property
    def length(self) -> int:
        """The most transitions that it looks at, counted once for each start and source action."""
        available = len(self.target.dynamics_rows())
        mapped = self.environment_model.actions if self.find_actions else 1
        count = len(self.starts) * min(max(1, len(self.tones)), KEPT_TONES)
        coarse = len(self._coarse_starts()) * min(COARSE_TRANSITIONS, available) * mapped
        first = count * min(FIRST_TRANSITIONS, available)
        final = min(FINALISTS, count) * min(FINAL_TRANSITIONS, available) * mapped
        near = len(self.starts[0].nearby(self.starts)) * min(TURNED_TRANSITIONS, available)
        return coarse + first + final + near

    def run(self) -> tuple[S, dict[str, Any]]:
        """Set the generators to the start with the least loss on random transitions of M_T.

        Returns that start and, for the metrics, all that was compared.
        """
        comparison = _Comparison(
            self.correspondence, self.environment_model, self.target, self.advance, self.over
        )
        starts, compared = self._with_appearance(comparison)
        rows = self._sample(FIRST_TRANSITIONS + FINAL_TRANSITIONS)
        first = comparison.losses(rows[:FIRST_TRANSITIONS], starts)
        finalists = [starts[index] for index in np.argsort(first)[:FINALISTS]]
        last_rows = rows[-FINAL_TRANSITIONS:]
        if self.find_actions:
            finalists, final = comparison.mapped(last_rows, finalists)
        else:
            final = comparison.losses(last_rows, finalists)
        left, left_losses = self._others(finalists, final)
        best = left[int(np.argmin(left_losses))]
        turned, turned_losses = self._turned(comparison, left, left_losses)
        if turned:
            best = turned[int(np.argmin(turned_losses))]
        self.advance(self.length - comparison.done)  # there may have been less to compare
        best.set(self.correspondence)
        if compared:
            compared |= {
                "start_tone": None if best.tone is None else best.tone.to_json(),
                "start_action_map": None
                if best.action_map is None
                else list(best.action_map.source_of),
            }
        return best, {
            **best.columns("", starts),
            "model_losses": _known(first),
            **best.columns("finalist_", finalists),
            "finalist_model_losses": _known(final),
            **best.columns("turned_", turned),
            "turned_model_losses": turned_losses,
            **best.to_json(),
            **compared,
        }

    def _others(self, starts: list[S], losses: list[float]) -> tuple[list[S], list[float]]:
        """Those that are not the known one, with their losses, if one of them is near the best."""
        if self.but_not is None:
            return starts, losses
        others = [index for index, one in enumerate(starts) if not one.resembles(self.but_not)]
        least = min((losses[index] for index in others), default=inf)
        if least == inf or least > NEAR * min(losses):
            return starts, losses
        return [starts[index] for index in others], [losses[index] for index in others]

    def _sample(self, count: int) -> Rows:
        rows = self.target.dynamics_rows()
        return self.random.choice(rows, size=min(count, len(rows)), replace=False)

    @abstractmethod
    def _coarse_starts(self) -> list[S]:
        """Those on which tones and maps of the actions are compared; none where these are known."""

    @abstractmethod
    def _with_appearance(self, comparison: _Comparison) -> tuple[list[S], dict[str, Any]]:
        """All starts with tones, and with the map of the actions that goes best.

        And what of these was compared.
        """

    def _turned(
        self, comparison: _Comparison, finalists: list[S], final: list[float]
    ) -> tuple[list[S], list[float]]:
        """What is near the best finalists, as their kind has it, and the losses.

        None where the time was over before all of them were compared.
        """
        worst_first = sorted(zip(final, finalists, strict=True), key=lambda pair: -pair[0])
        turned = finalists[0].nearby([start for _, start in worst_first])
        if not turned:
            return [], []
        losses = comparison.losses(self._sample(TURNED_TRANSITIONS), turned)
        return ([], []) if inf in losses else (turned, losses)


@dataclass(frozen=True)
class StartSearch(_Search[Start]):
    """The search of spatial layers: a few angles say with which tones and map all are tried."""

    def _coarse_starts(self) -> list[Start]:
        """A few angles of each hand, with each tone; none where only angles are open."""
        if not self.find_actions and len(self.tones) < 2:
            return []
        coarse = []
        for mirrored in (False, True):
            angles = [start for start in self.starts if start.mirrored == mirrored]
            coarse += angles[:: max(1, len(angles) // COARSE_ANGLES)][:COARSE_ANGLES]
        return [replace(start, tone=tone) for tone in self.tones or (None,) for start in coarse]

    def _with_appearance(self, comparison: _Comparison) -> tuple[list[Start], dict[str, Any]]:
        """All starts with each of the best tones, and with the map of the actions that goes best.

        And what of these was compared.
        """
        coarse = self._coarse_starts()
        if not coarse:
            (tone,) = self.tones or (None,)
            return [replace(start, tone=tone) for start in self.starts], {}
        rows = self._sample(COARSE_TRANSITIONS)
        if self.find_actions:
            coarse, losses = comparison.mapped(rows, coarse)
        else:
            losses = comparison.losses(rows, coarse)
        best: dict[Tone | None, tuple[float, Start]] = {}
        for loss, start in zip(losses, coarse, strict=True):
            if start.tone not in best or loss < best[start.tone][0]:
                best[start.tone] = loss, start
        kept = sorted(best.values(), key=lambda pair: pair[0])[:KEPT_TONES]
        starts = [
            replace(start, tone=winner.tone, action_map=winner.action_map)
            for loss, winner in kept
            if loss <= NEAR * kept[0][0]
            for start in self.starts
        ]
        return starts, {
            "tones": [str(tone) for tone in self.tones],
            "tone_model_losses": _known([best[tone][0] for tone in self.tones]),
        }


@dataclass(frozen=True)
class SignalStartSearch(_Search[SignalStart]):
    """The search of gain-and-shift layers, whose starts each find their own map of the actions.

    At a wrong pitch no map explains anything, so that a few starts could not say which.
    """

    def _coarse_starts(self) -> list[SignalStart]:
        return list(self.starts) if self.find_actions else []

    def _with_appearance(self, comparison: _Comparison) -> tuple[list[SignalStart], dict[str, Any]]:
        coarse = self._coarse_starts()
        if not coarse:
            return list(self.starts), {}
        return comparison.mapped(self._sample(COARSE_TRANSITIONS), coarse)[0], {}


def _known(losses: list[float]) -> list[float | None]:
    """The losses as the metrics hold them: None of what the time did not allow to compare."""
    return [None if loss == inf else loss for loss in losses]
