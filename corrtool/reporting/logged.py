"""Lines of a run's ``metrics.jsonl``, as far as the report shows them.

Each ``from_json`` raises KeyError or TypeError where a line lacks a field or has another type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
TERMS = ("gan", "cycle", "q", "model", "source_discriminator", "target_discriminator")


@dataclass(frozen=True)
class TrainingGame:
    """A training game, which ended after so many environment steps of all games."""

    env_steps: int
    game_return: float

    @classmethod
    def from_json(cls, line: Line) -> TrainingGame:
        """From a line with the event ``game`` of ``train-dqn`` or ``finetune``."""
        return cls(int(_number(line["env_steps"])), _number(line["return"]))


@dataclass(frozen=True)
class PlayTest:
    """A play test of a correspondence after so many gradient steps."""

    gradient_steps: int
    mean_return: float

    @classmethod
    def from_json(cls, line: Line) -> PlayTest:
        """From a line with the event ``play_test`` of ``learn-corr``."""
        return cls(int(_number(line["gradient_steps"])), _number(line["mean_return"]))


@dataclass(frozen=True)
class LossTerms:
    """The terms of a correspondence's loss, unweighted: those of :data:`TERMS` that it has."""

    gradient_steps: int
    terms: dict[str, float]

    @classmethod
    def from_json(cls, line: Line) -> LossTerms:
        """From a line with the event ``progress`` of ``learn-corr``."""
        terms = {term: _number(line[term]) for term in TERMS if term in line}
        return cls(int(_number(line["gradient_steps"])), terms)


def start_degrees(line: Line) -> float | None:
    """The angle where learning began, from a line with the event ``start``; None for no angle."""
    return _number(line["degrees"]) if line["kind"] == "spatial" else None


def found_degrees(line: Line) -> float:
    """The angle that a search found, from a line with the event ``spatial_search``."""
    return _number(line["start_degrees"])


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value
