"""Playing whole games: play tests, evaluation and the policies that play."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.memory import StateStacker
from corrtool.memory.rows import Rows
from corrtool.runtime.device import to_device
from corrtool.runtime.process import threads_beside_emulators
from corrtool.state_scaling import q_input
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep
from corrtool.tasks.environments import LanesLike
from corrtool.tasks.turns import LanesInTurns

SHOW_SECONDS = 1.0


class QValues(Protocol):
    """A policy's values: raw states (n, …) → values of the actions (n, A).

    ``lanes`` (n,) are the lanes of the states, all by default.
    """

    def __call__(self, raw: Tensor, lanes: Rows | None = None) -> Tensor: ...

    @property
    def needs_all_threads(self) -> bool:
        """True where networks take longer than the emulators do."""
        ...


@dataclass(frozen=True)
class DirectQValues:
    """Q on the states as they are: raw (N, …) → (N, A)."""

    q_function: nn.Module
    spec: StateSpec
    needs_all_threads = False

    def __call__(self, raw: Tensor, lanes: Rows | None = None) -> Tensor:
        values: Tensor = self.q_function(q_input(self.q_function, self.spec, raw))
        return values


def threads_for(q_values: QValues | None) -> AbstractContextManager[None]:
    """While ``q_values`` plays, None at random: what the emulators leave of torch's threads."""
    needs_all = q_values is not None and q_values.needs_all_threads
    return threads_beside_emulators(all_threads=needs_all)


def draw_actions(
    lanes: int, actions: int, epsilon: float | NDArray[np.float64], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Random actions (N,), and which lanes (N,) take theirs: each with probability ``epsilon``."""
    return random.integers(0, actions, lanes), random.random(lanes) < epsilon


def best_actions(
    q_values: Tensor | None,
    drawn: NDArray[np.int64],
    explores: NDArray[np.bool_],
    which: Rows | slice = slice(None),
) -> NDArray[np.int64]:
    """Eq. (5): the best actions (N,), or those drawn where a lane explores or has no values.

    Args:
        q_values: (n, A), those of the lanes ``which`` (n,); None for none.
    """
    chosen = drawn.copy()
    if q_values is not None:
        best = q_values.argmax(dim=1).cpu().numpy()
        chosen[which] = np.where(explores[which], chosen[which], best)
    return chosen


def choose_actions(
    q_values: Tensor | None,
    lanes: int,
    actions: int,
    epsilon: float | NDArray[np.float64],
    random: np.random.Generator,
    which: Rows | slice = slice(None),
) -> NDArray[np.int64]:
    """ε-greedy actions (N,), eq. (5); random ones where ``q_values`` is None.

    Draws the same numbers either way.

    Args:
        q_values: (n, A), those of the lanes ``which`` (n,); the other lanes act at random.
        lanes, actions: N and A.
        epsilon: of all lanes, or of each (N,).
    """
    return best_actions(q_values, *draw_actions(lanes, actions, epsilon, random), which)


@dataclass(frozen=True)
class Game:
    """One game that was played.

    Attributes:
        game_return: the sum of its rewards, unclipped.
        env_steps: how long it was.
        ended: ``"over"`` by itself, ``"idle"`` where nothing was scored for too long, ``"limit"``
            where it took too long.
        digest: identifies what was done and what came of it: equal for two games with the same
            actions and rewards.
    """

    game_return: float
    env_steps: int
    ended: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for checkpoints."""
        return asdict(self)


@dataclass(frozen=True)
class GameLimits:
    """When a game that does not end is ended, and counts with the return that it has.

    Attributes:
        idle_frames: frames of the game, of which an Atari step has four, in which no reward came; 0
            for any number. By default five minutes of game time, as in SABER (Toromanoff et al.
            2019): an agent that never presses FIRE waits for ever.
        env_steps: for games without a time limit of their own; that of Atari games, 108,000 frames.
    """

    idle_frames: int = 18_000
    env_steps: int = 27_000


class _Wave:
    """Games side by side, one a lane, and those that wait for a lane: where each stands.

    Args:
        lanes: may be more than games; the further ones are not looked at.
        first: the first of the lanes among all that play, which a policy may remember by number.
        waiting: numbers and seeds of the games to play; each lane takes one, and one again after
            each.
    """

    def __init__(
        self,
        lanes: LanesLike,
        first: int,
        waiting: deque[tuple[int, int]],
        limits: GameLimits,
        device: torch.device,
    ) -> None:
        count = lanes.count
        self.limits, self.lanes, self._first, self._waiting = limits, lanes, first, waiting
        self.totals, self.playing = np.zeros(count), np.arange(count) < len(waiting)
        self.env_steps, self.idle_steps = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.games: dict[int, Game] = {}
        begun = [waiting.popleft() for _ in range(min(count, len(waiting)))]
        self._numbers = [number for number, _ in begun]
        self._digests = [hashlib.blake2b(digest_size=16) for _ in begun]
        self._stacker = StateStacker(lanes.spec, count, device)
        seeds = [seed for _, seed in begun] + [0] * (count - len(begun))
        self._states = self._stacker.push(lanes.reset(seeds))
        self._sent: NDArray[np.int64] | None = None

    def send(
        self,
        q_values: QValues | None,
        drawn: tuple[NDArray[np.int64], NDArray[np.bool_]],
        watch: Callable[[Tensor, NDArray[np.int64]], None] | None,
    ) -> None:
        """Choose the next action of every lane, and let the emulators begin.

        Args:
            drawn: :func:`draw_actions` of all lanes that play.
        """
        running, states = np.flatnonzero(self.playing), self._states
        seen = states if self.playing.all() else states[to_device(running, states.device)]
        values = None if q_values is None else q_values(seen, running + self._first)
        own = slice(self._first, self._first + self.lanes.count)
        self._sent = best_actions(values, drawn[0][own], drawn[1][own], running)
        if watch is not None:
            watch(seen, self._sent[running])
        self.lanes.send(self._sent)

    def receive(self) -> list[Game]:
        """What came of the actions sent, if any were; returns the games that ended with them.

        Their lanes begin games that wait.
        """
        if self._sent is None:
            return []
        actions, self._sent = self._sent, None
        step = self.lanes.receive()
        self._states = self._stacker.push(step.frames, step.episode_steps)
        ended = self._record(actions, step)
        games = [self.games[self._numbers[lane]] for lane in ended]
        self._begin_waiting(ended)
        return games

    def _record(self, actions: NDArray[np.int64], step: LaneStep) -> list[int]:
        """Add a step to the games that go on; returns the lanes of those that ended with it."""
        rewards = step.rewards.astype(np.float64)
        self.totals += np.where(self.playing, rewards, 0.0)
        self.env_steps += self.playing
        self.idle_steps = np.where(rewards != 0, 0, self.idle_steps + 1)
        for lane in np.flatnonzero(self.playing).tolist():
            self._digests[lane].update(actions[lane].tobytes() + step.rewards[lane].tobytes())
        ends = {"over": step.terminated | step.truncated}
        if self.limits.idle_frames:
            ends["idle"] = self.idle_steps * self.lanes.frames_per_step >= self.limits.idle_frames
        if not self.lanes.has_time_limit:
            ends["limit"] = self.env_steps >= self.limits.env_steps
        ended: list[int] = []
        for how, where in ends.items():
            for lane in np.flatnonzero(where & self.playing).tolist():
                self.games[self._numbers[lane]] = Game(
                    float(self.totals[lane]),
                    int(self.env_steps[lane]),
                    how,
                    self._digests[lane].hexdigest(),
                )
                self.playing[lane] = False
                ended.append(lane)
        return ended

    def _begin_waiting(self, free: list[int]) -> None:
        """Begin games that wait in the lanes that are ``free``."""
        lanes = sorted(free)[: len(self._waiting)]
        if not lanes:
            return
        begun = [self._waiting.popleft() for _ in lanes]
        frames = self.lanes.restart(lanes, [seed for _, seed in begun])
        self._states = self._stacker.restart(lanes, frames)
        for lane, (number, _) in zip(lanes, begun, strict=True):
            self._numbers[lane] = number
            self._digests[lane] = hashlib.blake2b(digest_size=16)
        self.playing[lanes] = True
        self.totals[lanes] = self.env_steps[lanes] = self.idle_steps[lanes] = 0


def _numbers(waves: list[_Wave]) -> dict[str, Any]:
    """Progress of the games, for a person who waits."""
    over = [game.game_return for wave in waves for game in wave.games.values()]
    totals = [float(total) for wave in waves for total in wave.totals[wave.playing]]
    return {
        "return so far": float(np.mean(over + totals)),
        "games running": len(totals),
        "steps": max(int(wave.env_steps.max()) for wave in waves),
    }


def play_games(
    make_lanes: Callable[[int], AbstractContextManager[LanesLike]],
    q_values: QValues | None,
    *,
    seeds: list[int],
    epsilon: float,
    random: np.random.Generator,
    device: torch.device,
    limits: GameLimits = GameLimits(),
    on_game: Callable[[Game], None] = lambda game: None,
    watch: Callable[[Tensor, NDArray[np.int64]], None] | None = None,
    poll: Callable[[], None] = lambda: None,
    show: Callable[[dict[str, Any]], None] = lambda numbers: None,
) -> list[Game]:
    """Play one game per seed, and return them all, in the order of the seeds.

    Every game that begins counts, and how many begin is fixed before, so that short games cannot
    be over-represented. ``q_values`` sees only the games that still go on. Where the lanes are
    :class:`LanesInTurns` it chooses for one half while the emulators of the other run, unless it
    takes all threads itself; the games are the same either way.

    Args:
        make_lanes: opens so many lanes, or fewer: then a lane whose game is over takes the next
            seed at once.
        q_values: who plays; None for random actions.
        limits: when a game that does not end is ended.
        on_game: called with each game as it ends.
        watch: called at every step with the raw states (n, …) of the games that go on and the
            actions (n,) chosen in them.
        poll: called at every step.
        show: called once a second or so with where the games stand.
    """
    in_turns = q_values is not None and not q_values.needs_all_threads and watch is None
    waiting = deque(enumerate(seeds))
    with make_lanes(len(seeds)) as lanes, torch.inference_mode(), threads_for(q_values):
        halves = lanes.halves if in_turns and isinstance(lanes, LanesInTurns) else [lanes]
        firsts = np.cumsum([0, *[half.count for half in halves]]).tolist()
        waves = [
            _Wave(half, first, waiting, limits, device)
            for half, first in zip(halves, firsts, strict=False)
        ]
        shown = time.monotonic()
        while any(wave.playing.any() for wave in waves):
            drawn = None
            for wave in waves:
                for game in wave.receive():
                    on_game(game)
                if wave.playing.any():
                    drawn = drawn or draw_actions(lanes.count, lanes.actions, epsilon, random)
                    wave.send(q_values, drawn, watch)
            poll()
            if time.monotonic() - shown >= SHOW_SECONDS:
                shown = time.monotonic()
                show(_numbers(waves))
    played = {number: game for wave in waves for number, game in wave.games.items()}
    return [played[number] for number in range(len(seeds))]


def returns_of(games: list[Game]) -> list[float]:
    """The return of each game."""
    return [game.game_return for game in games]


def game_counts(games: list[Game]) -> dict[str, int]:
    """Number of games that are distinct, ended idle (no score for long), or hit the limit."""
    ended = [game.ended for game in games]
    return {
        "distinct_games": count_distinct(games),
        "idle_games": ended.count("idle"),
        "cut_games": ended.count("limit"),
    }


def count_distinct(games: list[Game]) -> int:
    """Number of games that differ in actions or rewards.

    A seed changes little where nothing is random.
    """
    return len({game.digest for game in games})
