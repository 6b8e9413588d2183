"""Environments as other people have them.

They are registered as ``odd_environments:Name-v0``, each odd in one way.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Counting(gymnasium.Env):
    """Ten steps a game; a reward of 1 for action 0."""

    observation_space: spaces.Space[Any] = spaces.Box(-1, 20, (2,), np.float32)
    action_space = spaces.Discrete(2)
    steps_a_game: int | None = 10

    def see(self) -> Any:
        return np.array([self.time, 1], np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        over = self.steps_a_game is not None and self.time >= self.steps_a_game
        return self.see(), float(action == 0), over, False, {}


class Momentary(Counting):
    """Each game is over after its first step."""

    steps_a_game = 1


class Endless(Counting):
    """No game ends."""

    steps_a_game = None

    def see(self) -> Any:
        return np.array([self.time % 9, 1], np.float32)


class Quitting(Counting):
    """An end of the process in a step, as games do whose window was closed."""

    steps_left = 100
    ends_with: type[BaseException] = SystemExit

    def step(self, action: Any) -> Any:
        self.steps_left -= 1
        if not self.steps_left:
            raise self.ends_with
        return super().step(action)


class Interrupting(Quitting):
    """Raises what Ctrl-C raises."""

    ends_with = KeyboardInterrupt


class Panic(BaseException):
    """What simulators in Rust raise: no Exception."""


class Panicking(Quitting):
    ends_with = Panic


class Talking(Counting):
    """Prints."""

    def reset(self, **more: Any) -> Any:
        print("a new episode")
        sys.stdout.write("of mine\n")
        return super().reset(**more)


class Shouting(Counting):
    """A writer to the process's standard output past Python, as simulators in C do."""

    def reset(self, **more: Any) -> Any:
        os.write(1, b"licensed to nobody\n")
        return super().reset(**more)


class Chattering(Counting):
    """Prints from a thread, and as the process exits."""

    def __init__(self) -> None:
        threading.Thread(target=self._chatter, daemon=True).start()
        atexit.register(print, "goodbye")

    def _chatter(self) -> None:
        while True:
            print("connected")
            time.sleep(0.001)


class Unnamed(Counting):
    """Prints and raises where nothing depends on it."""

    def get_action_meanings(self) -> Any:
        raise RuntimeError("no meanings")

    def close(self) -> None:
        print("closing")
        raise RuntimeError("close fails")


class Rich(Counting):
    """A reward that float32 does not hold."""

    def step(self, action: Any) -> Any:
        self.steps = getattr(self, "steps", 0) + 1
        observation, _, *more = super().step(action)
        return observation, 1e300 if self.steps > 15 else 1.0, *more


class Alone(Counting):
    """There can be only one at a time, as of a simulator behind a port."""

    is_open = False

    def __init__(self) -> None:
        if Alone.is_open:
            raise OSError("port 5005 is taken")
        Alone.is_open = True

    def close(self) -> None:
        Alone.is_open = False


class Served(Counting):
    """The same of one that connects only when a game begins."""

    player: int | None = None

    def reset(self, **more: Any) -> Any:
        if Served.player not in (None, id(self)):
            raise OSError("port 5005 is taken")
        Served.player = id(self)
        return super().reset(**more)

    def close(self) -> None:
        if Served.player == id(self):
            Served.player = None


class Picture(Counting):
    """A picture of any layout, type and range, which is black and white by turns."""

    def __init__(
        self, shape: Any = (84, 84, 3), dtype: str = "uint8", low: float = 0, high: float = 255
    ) -> None:
        self.observation_space = self.box = spaces.Box(low, high, tuple(shape), np.dtype(dtype))

    def see(self) -> Any:
        return np.array(self.box.high if self.time % 2 else self.box.low, self.box.dtype)


class Own(spaces.Space[str]):
    """A space that only its author knows."""

    def __init__(self) -> None:
        super().__init__(dtype=str)

    def contains(self, x: Any) -> bool:
        return True


class Mission(Counting):
    observation_space = spaces.Dict(position=spaces.Box(0, 9, (2,)), mission=Own())


class Sequences(Counting):
    observation_space = spaces.Sequence(spaces.Discrete(3))


class Pair(Counting):
    """A tuple of a number and a choice."""

    observation_space = spaces.Tuple((spaces.Box(0, 20, (1,), np.float32), spaces.Discrete(3)))

    def see(self) -> Any:
        return np.array([self.time], np.float32), self.time % 3


class Configured(Counting):
    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}


class Wide(Counting):
    action_space = spaces.Discrete(3)


for _class in [
    Counting,
    Momentary,
    Endless,
    Quitting,
    Interrupting,
    Panicking,
    Talking,
    Shouting,
    Chattering,
    Unnamed,
    Rich,
    Alone,
    Served,
    Picture,
    Mission,
    Sequences,
    Pair,
    Configured,
    Wide,
]:
    _entry_point: Any = _class  # Gymnasium's own types ask for one that takes any argument
    gymnasium.register(f"{_class.__name__}-v0", _entry_point, disable_env_checker=True)
