"""Playing whole games: play tests, evaluation and the policies that play."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.correspondence import Correspondence, PlayTranslator
from corrtool.memory import StateStacker
from corrtool.memory.rows import Rows
from corrtool.runtime import to_device
from corrtool.states import StateSpec, raw_to_q
from corrtool.tasks import LaneStep

MAX_LANES = 32  # games played side by side; a wave waits for its longest game


class QValues(Protocol):
    """Who plays: raw states (n, …) → values of the actions (n, A). ``lanes`` (n,) says of which lanes the states are, all by default."""

    def __call__(self, raw: Tensor, lanes: Rows | None = None) -> Tensor: ...


class LanesLike(Protocol):
    """What plays: :class:`corrtool.tasks.Lanes`, or the same seen through a correspondence."""

    spec: StateSpec
    actions: int
    count: int

    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...
    def reset(self, seeds: list[int]) -> NDArray[Any]: ...
    def send(self, actions: NDArray[np.int64]) -> None: ...
    def receive(self) -> LaneStep: ...


def direct_q_values(q_function: nn.Module, spec: StateSpec) -> QValues:
    """Q on the states as they are: raw (N, …) → (N, A)."""
    return lambda raw, lanes=None: q_function(raw_to_q(spec, raw))


def transferred_q_values(q_function: nn.Module, correspondence: Correspondence) -> QValues:
    """Eq. (6): Q_S on the translated states, raw target states (N, …) → (N, A). For the states of games as they go on."""
    translate = PlayTranslator(correspondence)
    return lambda raw, lanes=None: q_function(correspondence.source_scaling.model_to_q(translate(raw, lanes)))


class KeptLanes:
    """Makes lanes once for each number of them and keeps them open for the games that follow, since opening an Atari game takes a
    tenth of a second for each lane. They are to be reset with seeds, which is as good as new. Use as a context manager."""

    def __init__(self, make_lanes: Callable[[int], LanesLike]) -> None:
        self._make_lanes = make_lanes
        self._lanes: dict[int, LanesLike] = {}
        self._open = ExitStack()

    def __enter__(self) -> KeptLanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, count: int) -> AbstractContextManager[LanesLike]:
        """``count`` lanes, which stay open."""
        if count not in self._lanes:
            self._lanes[count] = self._open.enter_context(self._make_lanes(count))
        return nullcontext(self._lanes[count])


def choose_actions(
    q_values: Tensor | None,
    lanes: int,
    actions: int,
    epsilon: float,
    random: np.random.Generator,
    of_lanes: Rows | slice = slice(None),
) -> NDArray[np.int64]:
    """ε-greedy actions (N,), eq. (5); random ones where ``q_values`` is None. Draws the same numbers either way.

    Args:
        q_values: (n, A), those of the lanes ``of_lanes`` (n,); the other lanes act at random.
        lanes, actions: N and A.
    """
    chosen = random.integers(0, actions, lanes)
    explore = random.random(lanes) < epsilon
    if q_values is not None:
        best = q_values.argmax(dim=1).cpu().numpy()
        chosen[of_lanes] = np.where(explore[of_lanes], chosen[of_lanes], best)
    return chosen


def play_games(
    make_lanes: Callable[[int], AbstractContextManager[LanesLike]],
    q_values: QValues | None,
    *,
    seeds: list[int],
    epsilon: float,
    random: np.random.Generator,
    device: torch.device,
    on_game: Callable[[float], None] = lambda game_return: None,
    watch: Callable[[Tensor, NDArray[np.int64]], None] | None = None,
    poll: Callable[[], None] = lambda: None,
) -> list[float]:
    """Plays one game per seed and returns every return, unclipped, in the order of the seeds.

    Each game has its own lane and seed, and a lane's further games are not looked at: which games count is fixed before
    they begin, so that short games cannot be over-represented. ``q_values`` sees only the games that still go on.

    Args:
        make_lanes: opens so many lanes.
        q_values: who plays; None for random actions.
        on_game: called with each return as its game ends.
        watch: called at every step with the raw states (n, …) of the games that go on and the actions (n,) chosen in them.
        poll: called at every step.
    """
    returns: list[float] = []
    for start in range(0, len(seeds), MAX_LANES):
        wave = seeds[start : start + MAX_LANES]
        with make_lanes(len(wave)) as lanes, torch.inference_mode():
            stacker = StateStacker(lanes.spec, len(wave), device)
            states = stacker.push(lanes.reset(wave))
            totals, playing = np.zeros(len(wave)), np.ones(len(wave), bool)
            while playing.any():
                going_on = np.flatnonzero(playing)
                seen = states if playing.all() else states[to_device(going_on, device)]
                values = None if q_values is None else q_values(seen, going_on)
                actions = choose_actions(values, len(wave), lanes.actions, epsilon, random, going_on)
                if watch is not None:
                    watch(seen, actions[going_on])
                lanes.send(actions)
                step = lanes.receive()
                totals += np.where(playing, step.rewards.astype(np.float64), 0.0)
                ended = playing & (step.terminated | step.truncated)
                for lane in np.flatnonzero(ended):
                    on_game(float(totals[lane]))
                playing &= ~ended
                states = stacker.push(step.frames, step.episode_steps)
                poll()
        returns.extend(float(total) for total in totals)
    return returns
