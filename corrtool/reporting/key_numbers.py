"""The numbers of a run by which the cells of a sweep are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeyNumber:
    """A number of a run.

    Attributes:
        what: in words.
        less_is_better: for errors.
    """

    what: str
    value: float
    less_is_better: bool = False


FRESH_GAMES = "mean return of fresh games"
BEST_PLAY_TEST = "best play test"
SCORE = "score"


def key_numbers(stage: str, result: Mapping[str, Any]) -> list[KeyNumber]:
    """The numbers of a finished run by which it is compared with others, the best to have first.

    Of an evaluation the mean return; of a correspondence its best play test, and its score; of a
    DQN the last training games; of F its error on held-out records.
    """
    found = _BY_STAGE[stage](result) if stage in _BY_STAGE else []
    return [number for number in found if number is not None]


def _evaluate(result: Mapping[str, Any]) -> list[KeyNumber | None]:
    return [_number(FRESH_GAMES, result.get("mean_return"))]


def _learn_corr(result: Mapping[str, Any]) -> list[KeyNumber | None]:
    score = result.get("score")
    return [
        _number(BEST_PLAY_TEST, result.get("best_mean_return")),
        _number(SCORE, score.get("value") if isinstance(score, dict) else None),
    ]


def _dqn(result: Mapping[str, Any]) -> list[KeyNumber | None]:
    return [_number("mean return of the last 20 training games", result.get("mean_return_20"))]


def _train_model(result: Mapping[str, Any]) -> list[KeyNumber | None]:
    errors = result.get("validation")
    error = errors.get("l1_newest", errors.get("l1_changing")) if isinstance(errors, dict) else None
    return [_number("error of F on what changes", error, less_is_better=True)]


def _number(what: str, value: Any, *, less_is_better: bool = False) -> KeyNumber | None:
    """None where ``value`` is no number: there was none, or somebody else sealed the record."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return KeyNumber(what, float(value), less_is_better)


_BY_STAGE: dict[str, Callable[[Mapping[str, Any]], list[KeyNumber | None]]] = {
    "evaluate": _evaluate,
    "learn-corr": _learn_corr,
    "train-dqn": _dqn,
    "finetune": _dqn,
    "train-model": _train_model,
}
