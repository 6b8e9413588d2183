"""Parts of a checkpoint: objects that return their state and load it back."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np

# What a checkpoint holds of a part: tensors, arrays, numbers, text, and tables and lists of them.
State: TypeAlias = dict[str, Any]


class Resumable(Protocol):
    """A part of a loop that a checkpoint holds: a learner, batches, a random generator, counts."""

    def state(self) -> Any:
        """The state for a checkpoint, often a :data:`State`."""

    def load_state(self, state: Any) -> None:
        """The inverse of :meth:`state`; one of Python's usual errors where it does not fit."""


class Parts:
    """Several parts as one, each under its name."""

    def __init__(self, **parts: Resumable) -> None:
        self._parts = parts

    def state(self) -> State:
        """The state of each part."""
        return {name: part.state() for name, part in self._parts.items()}

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        for name, part in self._parts.items():
            part.load_state(state[name])


class RandomState:
    """The state of a random generator."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def state(self) -> State:
        """The state of its bit generator."""
        return dict(self._random.bit_generator.state)

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self._random.bit_generator.state = state
