"""The rows of ``corrtool transfer``, and what their reader should know."""

from __future__ import annotations

from typing import NotRequired, cast

from corrtool.reporting.result_lines import passed_over_note, untried_note
from corrtool.reporting.symptoms import LITTLE
from corrtool.runs.results import NO_TRANSFER_BELOW, EvaluateResult, LearnCorrResult, Returns
from corrtool.statistics import (
    MIN_DISTINCT_GAMES,
    TOO_FAR,
    clearly_better,
    comes_too_far,
    normalised,
    normalised_interval,
    random_play_differs,
)
from corrtool.workflows.pipeline import returns_of

TRANSFERRED = 0.9  # of the way from random play to the agent; less is worth an explanation


class TransferRow(Returns):
    """Fresh games of one player.

    Attributes:
        policy: ``source``, the agent on its own task, ``source_random`` there, or on the target
            ``random``, ``reuse`` or ``transfer``.
        normalised: of ``transfer``, its share of the way from random play to the agent on its own
            task: 0 is as good as random play, 1 as the agent. None where there is no such way: see
            :func:`no_way`.
        normalised_ci95: over the games; None where too few of the agent's differ, on either task.
    """

    policy: str
    normalised: NotRequired[float | None]
    normalised_ci95: NotRequired[list[float] | None]


def make_rows(played: dict[str, EvaluateResult]) -> list[TransferRow]:
    rows: list[TransferRow] = [
        cast(TransferRow, {"policy": policy, **returns_of(result)})
        for policy, result in played.items()
    ]
    by_policy = _by_policy(rows)
    random, source = by_policy["random"], by_policy["source"]
    share, bounds = None, None
    if no_way(rows) is None:
        players = (rows[-1], random, source)
        share = normalised(*(row["mean_return"] for row in players))
        if all(_distinct(row) >= MIN_DISTINCT_GAMES for row in (rows[-1], source)):
            bounds = normalised_interval(*(row["returns"] for row in players))
    rows[-1]["normalised"] = share
    rows[-1]["normalised_ci95"] = None if bounds is None else list(bounds)
    return rows


def _distinct(row: Returns) -> int:
    """How many of the games differ, as far as that is known."""
    return row.get("distinct_games", len(set(row["returns"])))


def nothing_to_transfer(source: Returns, random: Returns) -> str | None:
    """That an agent plays its own task hardly better than random play does.

    None where it plays better.
    """
    if clearly_better(source["returns"], random["returns"]):
        return None
    return (
        "the source's agent is not clearly better than random play on its own task "
        f"({source['mean_return']:.4g} and {random['mean_return']:.4g}), so there is nothing to "
        "transfer until it learns more, or --from-q names a better one"
    )


def no_way(rows: list[TransferRow]) -> str | None:
    """Why there is no way from random play to the agent of which to tell a share; else None."""
    by_policy = _by_policy(rows)
    source, source_random = by_policy["source"], by_policy["source_random"]
    nothing = nothing_to_transfer(source, source_random)
    if nothing is not None:
        return nothing
    low, random = source_random["mean_return"], by_policy["random"]["mean_return"]
    agent, transfer = source["mean_return"], rows[-1]["mean_return"]
    if random_play_differs(random, agent, low):
        return (
            f"random play has {low:.4g} on the source and {random:.4g} on the target: returns are "
            "on other scales, so no share of the way is told; compare with random play and reuse"
        )
    if comes_too_far(transfer, random, agent):
        return (
            f"{transfer:.4g} on the target is {TOO_FAR:g} times the way to {agent:.4g}, the "
            "agent's on the source, or more: returns are on other scales, so no share of the way "
            "is told"
        )
    return None


def _by_policy(rows: list[TransferRow]) -> dict[str, TransferRow]:
    return {row["policy"]: row for row in rows}


def make_notes(
    rows: list[TransferRow], learnt: LearnCorrResult, cut: list[str], no_reuse: str | None
) -> list[str]:
    """What a reader of the rows should know."""
    score = learnt.get("score")
    returns = {row["policy"]: row["returns"] for row in rows}
    notes, untried = [], untried_note(learnt)
    going_on = [stage for stage in cut if untried is None or stage != "learn-corr"]
    if going_on:  # first: what is amiss may be for want of time
        notes.append(
            f"ended early for want of time: {', '.join(going_on)}; 'corrtool transfer' with a "
            "larger --budget, or without one, goes on from there"
        )
    if has_failed(rows):
        notes.append(_failure(rows, learnt, was_cut=bool(cut)))
    nothing = no_way(rows)
    if nothing is not None:
        notes.append(nothing)
    if no_reuse is not None:
        notes.append(f"reuse is left out: {no_reuse}")
    elif not clearly_better(returns["transfer"], returns["reuse"]):
        notes.append(
            "transfer is not clearly better than reuse, which is the source's Q-function without a "
            "correspondence"
        )
    doubt = learnt.get("score_uncertain")
    if doubt is not None:
        notes.append(f"the score of the correspondence is uncertain, since {doubt}")
    elif score is not None and expects_nothing(learnt):
        notes.append(
            f"no transfer expected: the score of the correspondence is {score['value']:.2f} of 1"
        )
    passed_over = passed_over_note(learnt)
    if passed_over is not None:
        notes.append(passed_over)
    if untried is not None:
        notes.append(
            f"{untried}, and 'corrtool transfer' with a larger --budget learns it anew by itself"
        )
    if _is_doubtful(rows[-1], learnt):
        notes.append("'corrtool explain' says what may be wrong, and what to try next")
    return notes


def expects_nothing(learnt: LearnCorrResult) -> bool:
    """True if the score, of an F that it can rely on, says that nothing transfers."""
    score = learnt.get("score")
    if score is None or "score_uncertain" in learnt:
        return False
    return score["value"] < NO_TRANSFER_BELOW


def has_failed(rows: list[TransferRow]) -> bool:
    """True if transfer is hardly on the way to the agent, or may be no better than random play.

    Not where the agent is no better than random play itself.
    """
    by_policy, share = _by_policy(rows), rows[-1].get("normalised")
    if nothing_to_transfer(by_policy["source"], by_policy["source_random"]) is not None:
        return False
    little = share is not None and share < LITTLE
    through, random = (by_policy[policy]["returns"] for policy in ("transfer", "random"))
    return little or not clearly_better(through, random)


def _failure(rows: list[TransferRow], learnt: LearnCorrResult, *, was_cut: bool) -> str:
    """That it did not transfer, whatever the score is."""
    share, score = rows[-1].get("normalised"), learnt.get("score")
    by_policy = _by_policy(rows)
    note = f"through {learnt['corr']} the agent is "
    if clearly_better(by_policy["random"]["returns"], by_policy["transfer"]["returns"]):
        note += "worse than random play"
    elif share is not None and 0.0 < share < LITTLE:
        note += f"hardly better than random play, {share:.0%} of the way to its own task"
    else:
        note += "not clearly better than random play (by two standard errors of the games)"
    if score is not None and score["value"] >= TRANSFERRED:
        note += f": a score of {score['value']:.2f} does not prove that it plays"
    action_map = learnt.get("settings", {}).get("action_map", "identity")
    little = share is None or share < LITTLE
    if little and not was_cut and action_map in ("identity", "learned", "auto"):
        note += "; the tasks may share nothing, or, if you know which actions are the same, learn "
        note += "it with --action-map"
    return note


def _is_doubtful(row: TransferRow, learnt: LearnCorrResult) -> bool:
    """True if the transfer lacks something: games, or a score that would have been enough."""
    share, score = row.get("normalised"), learnt.get("score")
    plays_less = share is not None and share < TRANSFERRED
    enough = learnt.get("settings", {}).get("recipe_enough", TRANSFERRED)
    return plays_less or (score is not None and score["value"] < enough)
