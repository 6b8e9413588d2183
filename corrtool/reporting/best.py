"""Which of a project's correspondences plays best, by one kind of number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TypeAlias

from corrtool.reporting.evaluations import Protocol
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.key_numbers import BEST_PLAY_TEST, SCORE, key_numbers
from corrtool.runs.results import LearnCorrResult

LearntCorrespondence: TypeAlias = FinishedRun[LearnCorrResult]


def best_correspondence(
    learnt: Sequence[LearntCorrespondence], evaluations: Sequence[Evaluation]
) -> str | None:
    """The name of the one with the most fresh games' return, else play tests', else score.

    Of fresh games only those with one protocol are compared, however many they are: that of the
    most correspondences. Equals are told apart by the other numbers; then the newest is taken.
    None where no run has any such number.
    """
    fresh = _fresh_games(evaluations)
    ranked = [([_fresh(run, fresh), *_own_numbers(run)], run.created, run.name) for run in learnt]
    known = [entry for entry in ranked if max(entry[0]) > -inf]
    return max(known)[2] if known else None


def _own_numbers(run: LearntCorrespondence) -> list[float]:
    """Best play test and score, -∞ for what there is not."""
    found = {number.what: number.value for number in key_numbers("learn-corr", run.result)}
    return [found.get(what, -inf) for what in (BEST_PLAY_TEST, SCORE)]


_Played: TypeAlias = tuple[str, str | None]  # the correspondence, by name and SHA-256


def _fresh(run: LearntCorrespondence, fresh: dict[_Played, float]) -> float:
    """Mean return of fresh games through what a run made, -∞ for none."""
    return fresh.get((run.name, run.output_sha256("corr", run.name)), -inf)


def _fresh_games(evaluations: Sequence[Evaluation]) -> dict[_Played, float]:
    """The mean return of the newest fresh games through each correspondence, in one protocol."""
    by_protocol: dict[Protocol, dict[_Played, float]] = defaultdict(dict)
    for run in sorted(evaluations, key=lambda run: run.created):
        through = run.reference_to("corr")
        if through is not None and run.settings["task"] == "target":
            protocol = replace(Protocol.of(run.settings, run.task), games=0)
            by_protocol[protocol][through] = float(run.result["mean_return"])
    return max(by_protocol.values(), key=len, default={})
