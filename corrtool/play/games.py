"""Playing whole games: play tests, evaluation and the policies that play."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.errors import CorrtoolError, UsageError
from corrtool.memory import StateStacker
from corrtool.memory.rows import Rows
from corrtool.runtime.device import to_device
from corrtool.runtime.process import threads_beside_emulators
from corrtool.runtime.signals import default_signal_handling
from corrtool.state_scaling import q_input
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep
from corrtool.tasks.environments import LanesLike

MAX_LANES = 32  # games played side by side; a wave waits for its longest game
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


class LanePool:
    """A pool of lanes that are opened once for each number of them, and stay open for later games.

    Opening an Atari game takes a tenth of a second for each lane. They are to be reset with seeds,
    which is as good as new. Use as a context manager.

    Of some simulators there can be only one at a time: where several cannot be opened one is, and
    games are played one by one.

    Args:
        make_lanes: opens so many lanes.
        most: lanes at a time.
    """

    def __init__(self, make_lanes: Callable[[int], LanesLike], most: int = MAX_LANES) -> None:
        self._make_lanes, self._most = make_lanes, most
        self._lanes: dict[int, LanesLike] = {}
        self._borrowed: LanesLike | None = None
        self._open = ExitStack()

    def __enter__(self) -> LanePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, count: int) -> AbstractContextManager[LanesLike]:
        """``count`` lanes, or as many as can be, which stay open.

        Raises :class:`UsageError` where there can be none.
        """
        if self._borrowed is not None:
            return nullcontext(self._borrowed)
        count = min(count, self._most)
        if count not in self._lanes:
            try:
                self._lanes[count] = self._open.enter_context(self._make_lanes(count))
            except UsageError:
                if count == 1:
                    raise
                self._most = 1
                return self(1)
        return nullcontext(self._lanes[count])

    def preopened(self, count: int) -> AbstractContextManager[object]:
        """Open ``count`` lanes before they are needed, while there is nothing to lose.

        Making many takes seconds outside of Python.
        """
        if count:
            with default_signal_handling():
                self(count)
        return nullcontext()

    def open_or_borrow(self, lanes: LanesLike) -> bool:
        """Find out whether another lane can be open beside ``lanes``, each with a game begun.

        Some simulators say only then that their place is taken. If none can, games are played on
        these, and this returns True.
        """
        lanes.reset([0] * lanes.count)
        try:
            with self(1) as own:
                own.reset([0])
        except CorrtoolError:
            self._lanes.clear()
            self._open.close()
            self._borrowed = lanes
        return self._borrowed is not None


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
    chosen = random.integers(0, actions, lanes)
    explore = random.random(lanes) < epsilon
    if q_values is not None:
        best = q_values.argmax(dim=1).cpu().numpy()
        chosen[which] = np.where(explore[which], chosen[which], best)
    return chosen


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


@dataclass
class _Wave:
    """Games side by side, one a lane: what of each is known so far."""

    limits: GameLimits
    lanes: LanesLike
    count: int  # of games; further lanes are not looked at

    def __post_init__(self) -> None:
        count = self.lanes.count
        self.totals, self.playing = np.zeros(count), np.arange(count) < self.count
        self.env_steps, self.idle_steps = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.games: list[Game | None] = [None] * count
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(count)]

    def record(self, actions: NDArray[np.int64], step: LaneStep) -> list[Game]:
        """One step of every lane; returns the games that ended with it."""
        rewards = step.rewards.astype(np.float64)
        self.totals += np.where(self.playing, rewards, 0.0)
        self.env_steps += self.playing
        self.idle_steps = np.where(rewards != 0, 0, self.idle_steps + 1)
        for lane in np.flatnonzero(self.playing):
            self._digests[lane].update(actions[lane].tobytes() + step.rewards[lane].tobytes())
        ends = {"over": step.terminated | step.truncated}
        if self.limits.idle_frames:
            ends["idle"] = self.idle_steps * self.lanes.frames_per_step >= self.limits.idle_frames
        if not self.lanes.has_time_limit:
            ends["limit"] = self.env_steps >= self.limits.env_steps
        ended = []
        for how, where in ends.items():
            for lane in np.flatnonzero(where & self.playing):
                game = Game(
                    float(self.totals[lane]),
                    int(self.env_steps[lane]),
                    how,
                    self._digests[lane].hexdigest(),
                )
                self.games[lane] = game
                self.playing[lane] = False
                ended.append(game)
        return ended

    def numbers(self) -> dict[str, Any]:
        """Progress of the games, for a person who waits."""
        return {
            "return so far": float(self.totals[: self.count].mean()),
            "games running": int(self.playing.sum()),
            "steps": int(self.env_steps.max()),
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

    Each game has its own lane and seed, and a lane's further games are not looked at: which games
    count is fixed before they begin, so that short games cannot be over-represented. ``q_values``
    sees only the games that still go on.

    Args:
        make_lanes: opens so many lanes, or fewer: then what is left is played after them.
        q_values: who plays; None for random actions.
        limits: when a game that does not end is ended.
        on_game: called with each game as it ends.
        watch: called at every step with the raw states (n, …) of the games that go on and the
            actions (n,) chosen in them.
        poll: called at every step.
        show: called once a second or so with where the games stand.
    """
    games: list[Game] = []
    while len(games) < len(seeds):
        remaining = seeds[len(games) :]
        with make_lanes(len(remaining)) as lanes, torch.inference_mode(), threads_for(q_values):
            wave, shown = _Wave(limits, lanes, min(len(remaining), lanes.count)), time.monotonic()
            stacker = StateStacker(lanes.spec, lanes.count, device)
            states = stacker.push(
                lanes.reset([*remaining, *[remaining[0]] * lanes.count][: lanes.count])
            )
            while wave.playing.any():
                running = np.flatnonzero(wave.playing)
                seen = states if wave.playing.all() else states[to_device(running, device)]
                values = None if q_values is None else q_values(seen, running)
                actions = choose_actions(
                    values, lanes.count, lanes.actions, epsilon, random, running
                )
                if watch is not None:
                    watch(seen, actions[running])
                lanes.send(actions)
                step = lanes.receive()
                for game in wave.record(actions, step):
                    on_game(game)
                states = stacker.push(step.frames, step.episode_steps)
                poll()
                if time.monotonic() - shown >= SHOW_SECONDS:
                    shown = time.monotonic()
                    show(wave.numbers())
        games += [game for game in wave.games if game is not None]
    return games


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
