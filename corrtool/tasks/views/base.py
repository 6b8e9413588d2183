"""What every view has, and what several of them check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from numpy import int64
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.states import StateSpec

Frames = NDArray[Any]
Actions = NDArray[int64]

MAX_NUMBER = 1e30  # a float32 has no more than 3e38


class View(ABC):
    """One transform of what an agent sees, or of what it does.

    What a subclass does not override stays as it is.
    """

    @classmethod
    @abstractmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        """The view that ``name:argument`` means; files are looked up in ``directory``.

        Raises:
            ValueError: the argument makes no sense.
            UsageError: a file that it names does not.
        """

    @abstractmethod
    def identity(self) -> str:
        """Everything that defines the view, for comparing tasks."""

    def spec(self, spec: StateSpec) -> StateSpec:
        """The states after the view, or :class:`UsageError` where it cannot show such states."""
        return spec

    def frames(self, frames: Frames) -> Frames:
        """A batch of frames as the agent sees it: (N, *frame_shape) before and after the view."""
        return frames

    def action_count(self, count: int) -> int:
        """The number of actions after the view, or :class:`UsageError` where it does not fit."""
        return count

    def environment_actions(self, actions: Actions) -> Actions:
        """The environment's actions (N,) for those of the agent, both counted from 0."""
        return actions


def require_kind(kind: str | tuple[str, ...], spec: StateSpec, text: str) -> None:
    """Refuse states of another kind, or of none of several. Raises :class:`UsageError`."""
    kinds = (kind,) if isinstance(kind, str) else kind
    if spec.kind not in kinds:
        raise UsageError(
            f"view {text!r} is for {' or '.join(kinds)} states, but this task has {spec.kind} "
            "states",
            "remove the view; a picture in a dictionary is shown by --observation-key",
        )


def require_permutation(order: Sequence[int], count: int, things: str, text: str) -> None:
    """Refuse an ``order`` that does not name each of 0 to ``count`` - 1 once.

    Raises :class:`UsageError`.
    """
    if sorted(order) != list(range(count)):
        raise UsageError(
            f"{text} is not a permutation of {count} {things}",
            f"name each of 0 to {count - 1} once",
        )


def whole_numbers(argument: str) -> tuple[int, ...]:
    """``2,0,1`` → (2, 0, 1). Raises :class:`ValueError`."""
    return tuple(int(part) for part in argument.split(","))


def whole_number(argument: str, least: int) -> int:
    """``3`` → 3. Raises :class:`ValueError`, also below ``least``."""
    number = int(argument)
    if number < least:
        raise ValueError
    return number


def factors_of(argument: str) -> tuple[float, ...]:
    """``-1,2.5`` → (-1.0, 2.5), none of them 0. Raises :class:`ValueError`."""
    factors = tuple(float(part) for part in argument.split(","))
    if not all(0 < abs(factor) <= MAX_NUMBER for factor in factors):
        raise ValueError
    return factors


def joined(numbers: Sequence[int]) -> str:
    """(2, 0, 1) → ``2,0,1``."""
    return ",".join(map(str, numbers))


def shortest(number: float) -> str:
    """A number as text that no other number has: 90.0 → 90, 33.3333333 as it is."""
    return repr(float(number)).removesuffix(".0")
