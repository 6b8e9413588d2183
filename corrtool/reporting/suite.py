"""What came of the suite: each pair's returns, and the methods beside each other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.directory import PROJECT_FILE, Project
from corrtool.reporting.suite_statistics import (
    interquartile_mean_over_tasks,
    probability_of_improvement,
    stratified_bootstrap_interval,
)
from corrtool.reporting.suite_steps import Steps, steps_to
from corrtool.runs.overview import evaluations
from corrtool.runs.records import finished_run, run_directory
from corrtool.runs.results import EvaluateResult
from corrtool.statistics import clearly_better, normalised

SOURCE, RANDOM, REUSE = "source", "random", "reuse"
SOURCE_RANDOM = "source_random"  # of the source's own task
PREFIX = "suite-"  # of the names of what the suite makes beside `transfer`
OURS = "ours"
ENOUGH = 0.95  # of the way from random play to the agent
LITTLE_LESS = 0.05  # by which a pair may be below its reuse


class Played(TypedDict):
    """A pair with one seed.

    Attributes:
        means: mean returns of fresh games, by who plays: ``source`` on its own task, ``random``
            play, ``reuse`` without a correspondence, and the methods.
        score: of the correspondence of ``ours``.
        no_agent: there, and true, where the agent is not clearly better than random play: a share
            of the way to it is one of noise.
        steps: there where ``ours`` came 0.95 of the way: how many it took, and its agent.
    """

    pair: str
    seed: int
    means: dict[str, float]
    score: float | None
    no_agent: NotRequired[bool]
    steps: NotRequired[Steps]


class MethodSummary(TypedDict):
    """A method over all pairs that it was played on.

    Attributes:
        interquartile_mean: over pairs, of the mean over seeds of the normalised return.
        ci95: of that, by a bootstrap stratified by pair; its width is of the seeds alone.
        enough: pairs that come 0.95 of the way, or further.
        ours_better: how likely ours is better, on the pairs of both; None of ours itself.
    """

    method: str
    pairs: int
    games_of_seeds: int
    interquartile_mean: float
    ci95: list[float]
    enough: int
    ours_better: float | None


@dataclass
class PairResult:
    """A pair with all of its seeds.

    Attributes:
        difference: how the target differs, in words.
        control: whether its tasks share nothing.
        same_task: whether the target is the source's task, seen otherwise: then learning it from
            nothing is what the agent did.
    """

    name: str
    difference: str
    control: bool
    played: list[Played] = field(default_factory=list)
    same_task: bool = False

    @property
    def seeds(self) -> int:
        """How many were played; one that two machines have played in part counts once."""
        return len({one["seed"] for one in self.played})

    def shares(self, player: str) -> list[float]:
        """The normalised returns of the seeds that have one."""
        found = []
        for one in self.played:
            means = one["means"]
            if {player, RANDOM, SOURCE} <= means.keys() and not one.get("no_agent"):
                share = normalised(means[player], means[RANDOM], means[SOURCE])
                found += [] if share is None else [share]
        return found

    def shares_of_steps(self) -> list[float]:
        """Environment steps to 0.95 of the way through a correspondence, by those from nothing.

        Of the seeds that have both.
        """
        steps = [one["steps"] for one in self.played if "steps" in one and self.same_task]
        return [one["target"] / one["source"] for one in steps]

    def mean(self, player: str) -> float | None:
        """The mean return over the seeds that have one."""
        found = [one["means"][player] for one in self.played if player in one["means"]]
        return float(np.mean(found)) if found else None


def read_played(root: Path, pair: str, seed: int) -> Played | None:
    """What was played in the project of a pair with one seed; None where there is none yet."""
    if not (root / PROJECT_FILE).exists():
        return None
    played: Played = {"pair": pair, "seed": seed, "means": {}, "score": None}
    returns, corr = dict[str, list[float]](), ""
    for games in evaluations(Project(root)):
        if games["settings"].get("repeat_action_probability") is None:
            player = player_of(games)
            played["means"][player], returns[player] = games["mean_return"], games["returns"]
            if player == OURS:
                corr = str(games["corr"])
                played["score"] = _score(root, corr)
    random = returns.get(SOURCE_RANDOM, returns.get(RANDOM))
    if random and SOURCE in returns and not clearly_better(returns[SOURCE], random):
        played["no_agent"] = True
    elif {OURS, RANDOM, SOURCE} <= played["means"].keys():
        means = played["means"]
        enough = means[RANDOM] + ENOUGH * (means[SOURCE] - means[RANDOM])
        steps = steps_to(enough, root, corr) if means[OURS] >= enough else None
        if steps is not None:
            played["steps"] = steps
    return played


def read_numbers(path: Path) -> tuple[str, list[Played]]:
    """The preset of a suite, and what it has played, from the numbers that it wrote.

    Raises :class:`UsageError` for another file.
    """
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        played: list[Played] = []
        for one in numbers["played"]:
            means = {str(who): float(mean) for who, mean in one["means"].items()}
            score = None if one["score"] is None else float(one["score"])
            known: Played = {
                "pair": str(one["pair"]), "seed": int(one["seed"]), "means": means, "score": score
            }  # fmt: skip
            if one.get("no_agent") is True:
                known["no_agent"] = True
            if "steps" in one:
                target, source = one["steps"]["target"], one["steps"]["source"]
                known["steps"] = {"target": int(target), "source": int(source)}
            played.append(known)
        return str(numbers["preset"]), played
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} has no numbers of a suite ({type(error).__name__})",
            "name a suite.json that 'corrtool reproduce suite' has written",
        ) from None


def without_players(played: Played, players: Iterable[str]) -> Played | None:
    """What others played, with the agent and random play beside them; None where nobody is left."""
    yardsticks = {SOURCE, RANDOM, SOURCE_RANDOM}
    means = {
        who: mean
        for who, mean in played["means"].items()
        if who in yardsticks or who not in players
    }
    if means.keys() <= yardsticks:
        return None
    rest: Played = {**played, "means": means}
    if OURS not in means:  # whose they are
        rest["score"] = None
        rest.pop("steps", None)
    return rest


def player_of(games: EvaluateResult) -> str:
    """Who played, as :class:`Played` calls it."""
    q, corr = games["q"] or "", games["corr"]
    if games["policy"] == "random":
        return RANDOM if games["task"] != SOURCE else SOURCE_RANDOM
    if games["task"] == SOURCE:
        return SOURCE
    if corr is None:
        return q.removeprefix(PREFIX) if q.startswith(PREFIX) else REUSE
    return corr.removeprefix(PREFIX) if corr.startswith(PREFIX) else OURS


def _score(root: Path, corr: str) -> float | None:
    with contextlib.suppress(ArtifactError):
        finished = finished_run(run_directory(root, "learn-corr", corr))
        result: Any = {} if finished is None else finished[1]["result"]
        score = result.get("score")
        return None if score is None else float(score["value"])
    return None


def summaries(results: Sequence[PairResult], methods: Sequence[str]) -> list[MethodSummary]:
    """Each of the methods that was played, over the pairs that share something."""
    shares = {
        method: {r.name: r.shares(method) for r in results if not r.control and r.shares(method)}
        for method in methods
    }
    ours, found = shares.get(OURS, {}), list[MethodSummary]()
    for method, by_pair in shares.items():
        if not by_pair:
            continue
        scores, both = list(by_pair.values()), [name for name in by_pair if name in ours]
        better = None
        if method != OURS and both:
            theirs = [by_pair[name] for name in both]
            better = probability_of_improvement([ours[name] for name in both], theirs)
        found.append(
            {
                "method": method,
                "pairs": len(scores),
                "games_of_seeds": sum(map(len, scores)),
                "interquartile_mean": interquartile_mean_over_tasks(scores),
                "ci95": list(stratified_bootstrap_interval(scores)),
                "enough": sum(float(np.mean(score)) >= ENOUGH for score in scores),
                "ours_better": better,
            }
        )
    return found


def below_reuse(results: Sequence[PairResult]) -> list[str]:
    """The pairs on which ours is clearly below playing without a correspondence."""
    return [
        result.name
        for result in results
        if not result.control
        and (ours := result.shares(OURS))
        and (reuse := result.shares(REUSE))
        and float(np.mean(ours)) < float(np.mean(reuse)) - LITTLE_LESS
    ]
