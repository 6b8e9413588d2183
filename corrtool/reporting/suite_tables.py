"""The tables of a suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corrtool.reporting.suite import ENOUGH, OURS, RANDOM, REUSE, SOURCE, MethodSummary, PairResult
from corrtool.reporting.table import Table
from corrtool.statistics import student_t_interval

_COUNTED = (f"{ENOUGH:g} or more", "ours is better")


def pairs_table(results: Sequence[PairResult], methods: Sequence[str]) -> Table:
    """A row for each pair that shares something."""
    columns = ["pair", "target", "seeds", "source", "random", REUSE, *methods, "steps", "score"]
    rows = []
    for result in results:
        if result.control or not result.played:
            continue
        scores = [one["score"] for one in result.played if one["score"] is not None]
        rows.append(
            [
                result.name,
                result.difference,
                str(result.seeds),
                *(_number(result.mean(player)) for player in (SOURCE, RANDOM)),
                *(_share(result, player) for player in (REUSE, *methods)),
                _mean(result.shares_of_steps(), result.seeds),
                f"{np.mean(scores):.2f}" if scores else "–",
            ]
        )
    return Table(
        "Pairs",
        columns,
        rows,
        "Source and random: mean returns. The others: the share of the way from random play to the "
        "agent on its own task, the mean over seeds with 95 % by Student's t, and n where not all "
        "seeds were played. –: not played, not to be had (another number of coordinates), or an "
        "agent that is not clearly better than random play. Steps: environment steps of the target "
        "from which ours learnt, where it came 0.95 of the way, by those after which its agent had "
        "come as far, as it learnt from nothing the task that the target is seen otherwise: by the "
        "first play test of so much, which is not known of an agent that comes with corrtool, or "
        "that had it in its first test. Play tests are counted on neither side.",
    )


def returns_table(results: Sequence[PairResult], methods: Sequence[str]) -> Table:
    """The mean returns of each pair that shares something."""
    players = (SOURCE, RANDOM, REUSE, *methods)
    rows = [
        [result.name, *(_number(result.mean(player)) for player in players)]
        for result in results
        if result.played and not result.control
    ]
    note = "Means over seeds of the mean returns of fresh games; source is on its own task."
    return Table("Returns", ["pair", *players], rows, note)


def controls_table(results: Sequence[PairResult]) -> Table:
    """A row for each pair that shares nothing."""
    rows = [
        [
            result.name,
            result.difference,
            str(result.seeds),
            _number(result.mean(RANDOM)),
            _number(result.mean(OURS)),
            "; ".join("–" if p["score"] is None else f"{p['score']:.2f}" for p in result.played),
        ]
        for result in results
        if result.control and result.played
    ]
    note = "Returns on the target; there is nothing to find, and scores near 0 say so."
    return Table("Controls", ["pair", "target", "seeds", "random", OURS, "scores"], rows, note)


def methods_table(found: Sequence[MethodSummary]) -> Table:
    """A row for each method."""
    rows = [
        [
            s["method"],
            str(s["pairs"]),
            str(s["games_of_seeds"]),
            f"{s['interquartile_mean']:.2f} [{s['ci95'][0]:.2f}, {s['ci95'][1]:.2f}]",
            f"{s['enough']} of {s['pairs']}",
            "" if s["ours_better"] is None else f"{s['ours_better']:.2f}",
        ]
        for s in found
    ]
    return Table(
        "Methods",
        [*("method", "pairs", "seeds in all", "interquartile mean"), *_COUNTED],
        rows,
        "Interquartile mean over pairs of the mean over seeds, 95 % by a bootstrap over seeds "
        "stratified by pair; ours is better: the probability of improvement (Agarwal et al. 2021).",
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(result: PairResult, player: str) -> str:
    """The mean, its interval, and how many seeds where not all were played."""
    shares = result.shares(player)
    if not shares:
        return "–"
    bounds = student_t_interval(shares)
    interval = "" if bounds is None else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    return f"{np.mean(shares):.2f}{interval}{_few(shares, result.seeds)}"


def _mean(values: Sequence[float], seeds: int) -> str:
    return f"{np.mean(values):.2f}{_few(values, seeds)}" if values else "–"


def _few(values: Sequence[float], seeds: int) -> str:
    """Of how many seeds, where it is not all of them."""
    return "" if len(values) == seeds else f", n = {len(values)}"
