"""Games through a correspondence: states are translated as they come, for the source agent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.correspondence.generators import FramewiseGenerator
from corrtool.correspondence.model import Correspondence
from corrtool.memory import StateStacker
from corrtool.runtime.device import to_device
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep
from corrtool.tasks.environments import LanesLike


class PlayTranslator:
    """A translator of the states of games as they go on.

    It says what :meth:`Correspondence.translate` says, with less work. All frames of a state but
    the newest were in the state before. A generator that translates each frame by itself only has
    the newest left to do, but for a game that has just begun.
    """

    def __init__(self, correspondence: Correspondence) -> None:
        self._correspondence = correspondence
        self._raw: Tensor | None = (
            None  # the last frames of every game, (N, K, *frame_shape), and their translations
        )
        self._translated: Tensor | None = None

    def __call__(self, raw_target_states: Tensor, games: NDArray[np.int64] | None = None) -> Tensor:
        """Raw target states (n, …), one of each game, → source states in the model range.

        Args:
            games: (n,) which of the first call's games these are, ascending; None for all of them.
        """
        c = self._correspondence
        generator, target, source = c.target_to_source, c.target_scaling, c.source_scaling
        if not isinstance(generator, FramewiseGenerator):
            return c.translate(raw_target_states)
        raw = target.spec.frames_of(raw_target_states)
        if (
            self._raw is None
            or self._translated is None
            or (games is None and len(raw) != len(self._raw))
        ):
            self._raw, self._translated = (
                raw.clone(),
                source.spec.frames_of(c.translate(raw_target_states)),
            )
            return source.spec.stack_frames(self._translated)
        which = (
            torch.arange(len(raw), device=raw.device)
            if games is None
            else to_device(games, raw.device)
        )
        before, translated_before = self._raw[which], self._translated[which]
        follows = (raw[:, :-1] == before[:, 1:]).flatten(1).all(dim=1)
        newest, whole = generator.sequences(
            [target.raw_to_model(raw[follows][:, -1:]), target.raw_to_model(raw[~follows])]
        )
        translated = torch.cat([translated_before[:, 1:], translated_before[:, :1]], dim=1)
        translated[follows, -1:], translated[~follows] = newest, whole
        self._raw = self._raw.index_copy(0, which, raw)
        self._translated = self._translated.index_copy(0, which, translated)
        return source.spec.stack_frames(translated)


class TranslatedLanes:
    """The target task as the source agent sees it: each frame is the translated state G_T(s_T).

    The correspondence is fixed, so each state is translated once, when it is seen, and learning
    from the memory needs no generator. Images are rounded to 256 levels, as frames are.
    """

    def __init__(
        self, lanes: LanesLike, correspondence: Correspondence, device: torch.device
    ) -> None:
        self._lanes, self._scaling = lanes, correspondence.source_scaling
        self._translate_states = PlayTranslator(correspondence)
        self._stacker = StateStacker(lanes.spec, lanes.count, device)
        source = correspondence.source_scaling.spec
        self.spec = StateSpec(source.kind, source.state_shape)
        self.actions, self.count = lanes.actions, lanes.count
        self.frames_per_step, self.has_time_limit = lanes.frames_per_step, lanes.has_time_limit
        self.reward_threshold = lanes.reward_threshold

    def __enter__(self) -> TranslatedLanes:
        self._lanes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._lanes.__exit__()

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        """As :meth:`Lanes.reset`, translated."""
        return self._translate(self._stacker.push(self._lanes.reset(seeds)))

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        """As :meth:`Lanes.restart`, translated."""
        states = self._stacker.restart(lanes, self._lanes.restart(lanes, seeds))
        return self._translate(states[lanes], np.asarray(lanes))

    def send(self, actions: NDArray[np.int64]) -> None:
        """As :meth:`Lanes.send`: these are the target's actions, as those of its Q-function."""
        self._lanes.send(actions)

    def receive(self) -> LaneStep:
        """As :meth:`Lanes.receive`, translated."""
        step = self._lanes.receive()
        states = self._stacker.push(step.frames, step.episode_steps)
        return replace(step, frames=self._translate(states))

    @torch.inference_mode()
    def _translate(self, states: Tensor, lanes: NDArray[np.int64] | None = None) -> NDArray[Any]:
        translated = self._translate_states(states, lanes)
        return self._scaling.model_to_raw(translated).cpu().numpy()


class TransferredQValues:
    """Eq. (6): Q_T(s, a) = Q_S(G_T(s), m(a)), raw target states (N, …) → (N, A_T).

    For the states of games as they go on.

    Args:
        actions_of: the task whose actions ``q_function`` values. Those of the target, of one that
            was finetuned there, need no map.

    Attributes:
        needs_all_threads: as in :class:`QValues`; a warp alone takes less than the emulators.
    """

    def __init__(
        self,
        q_function: nn.Module,
        correspondence: Correspondence,
        actions_of: Literal["source", "target"] = "source",
    ) -> None:
        self._q_function, self._correspondence = q_function, correspondence
        self._translate, self._actions_of = PlayTranslator(correspondence), actions_of
        layers = correspondence.target_to_source.modules()
        self.needs_all_threads = any(isinstance(layer, nn.Conv2d) for layer in layers)

    def __call__(self, raw: Tensor, lanes: NDArray[np.int64] | None = None) -> Tensor:
        correspondence = self._correspondence
        source_states = correspondence.source_scaling.model_to_q(self._translate(raw, lanes))
        values: Tensor = self._q_function(source_states)
        return correspondence.target_values(values) if self._actions_of == "source" else values
