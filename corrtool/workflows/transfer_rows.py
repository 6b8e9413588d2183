"""The rows of ``corrtool transfer``, and what their reader should know."""

from __future__ import annotations

import math
from statistics import variance
from typing import NotRequired, cast

from corrtool.reporting.result_lines import passed_over_note, untried_note
from corrtool.reporting.symptoms import LITTLE
from corrtool.runs.results import NO_TRANSFER_BELOW, EvaluateResult, LearnCorrResult, Returns
from corrtool.statistics import normalised
from corrtool.workflows.pipeline import returns_of

TRANSFERRED = 0.9  # of the way from random play to the agent; less is worth an explanation


class TransferRow(Returns):
    """Fresh games of one player.

    Attributes:
        policy: ``source``, the agent on its own task, or on the target ``random``, ``reuse`` or
            ``transfer``.
        normalised: of ``transfer``, its share of the way from random play to the agent on its own
            task: 0 is as good as random play, 1 as the agent. None where the agent is not clearly
            better than random play.
    """

    policy: str
    normalised: NotRequired[float | None]


def make_rows(played: dict[str, EvaluateResult]) -> list[TransferRow]:
    rows: list[TransferRow] = [
        cast(TransferRow, {"policy": policy, **returns_of(result)})
        for policy, result in played.items()
    ]
    means = {policy: result["mean_return"] for policy, result in played.items()}
    share = normalised(means["transfer"], means["random"], means["source"])
    rows[-1]["normalised"] = share if nothing_to_transfer(*rows[:2]) is None else None
    return rows


def nothing_to_transfer(source: Returns, random: Returns) -> str | None:
    """What to do about an agent that plays its own task hardly better than random play the target.

    None where it does. A share of the way to such an agent is one of noise.
    """
    if is_clearly_better(source, random):
        return None
    return (
        "the source's agent is not clearly better than random play "
        f"({source['mean_return']:.4g} and {random['mean_return']:.4g}), so there is nothing to "
        "transfer: train it longer (train-dqn --env-steps), or name a better one with --from-q"
    )


def make_notes(
    rows: list[TransferRow], learnt: LearnCorrResult, cut: list[str], no_reuse: str | None
) -> list[str]:
    """What a reader of the rows should know."""
    score = learnt.get("score")
    means = {row["policy"]: row["mean_return"] for row in rows}
    notes = []
    if has_failed(rows):
        notes.append(_failure(rows, learnt))
    nothing = nothing_to_transfer(*rows[:2])
    if nothing is not None:
        notes.append(nothing)
    if no_reuse is not None:
        notes.append(f"reuse is left out: {no_reuse}")
    elif means["transfer"] <= means["reuse"]:
        notes.append(
            "transfer is no better than reuse, which is the source's Q-function without a "
            "correspondence"
        )
    doubt = learnt.get("score_uncertain")
    if doubt is not None:
        notes.append(f"the score of the correspondence is uncertain, since {doubt}")
    elif score is not None and score["value"] < NO_TRANSFER_BELOW:
        notes.append(
            f"no transfer expected: the score of the correspondence is {score['value']:.2f} of 1"
        )
    passed_over = passed_over_note(learnt)
    if passed_over is not None:
        notes.append(passed_over)
    untried = untried_note(learnt)
    if untried is not None:
        notes.append(f"{untried}, and so does 'corrtool transfer' with a larger --budget")
    if cut:
        notes.append(
            f"ended early for want of time: {', '.join(cut)}; 'corrtool transfer' with a larger "
            "--budget, or without one, goes on from there"
        )
    if _is_doubtful(rows[-1], learnt):
        notes.append("'corrtool explain' says what may be wrong, and what to try next")
    return notes


def has_failed(rows: list[TransferRow]) -> bool:
    """True if transfer is hardly on the way to the agent, or may be no better than random play.

    Not where nothing says how far it is: the agent is no better than random play then.
    """
    share = rows[-1].get("normalised")
    return share is not None and (share < LITTLE or not is_clearly_better(rows[-1], rows[1]))


def is_clearly_better(player: Returns, other: Returns) -> bool:
    """True if the games of a player are two standard errors better; one game has none."""
    gain = player["mean_return"] - other["mean_return"]
    games = [player["returns"], other["returns"]]
    if any(len(returns) < 2 for returns in games):
        return gain > 0
    error = math.sqrt(sum(variance(returns) / len(returns) for returns in games))
    return gain > 0 and gain >= 2 * error


def _failure(rows: list[TransferRow], learnt: LearnCorrResult) -> str:
    """That it did not transfer, whatever the score is."""
    share, score = rows[-1].get("normalised") or 0.0, learnt.get("score")
    note = f"through {learnt['corr']} the agent is "
    if share < LITTLE:
        note += f"hardly better than random play, {share:.0%} of the way to its own task"
    else:
        note += "not clearly better than random play, by less than two standard errors of the games"
    if score is not None and score["value"] >= TRANSFERRED:
        note += f": a score of {score['value']:.2f} does not prove that it plays"
    action_map = learnt.get("settings", {}).get("action_map", "identity")
    if share < LITTLE and action_map in ("identity", "learned", "auto"):
        note += "; if you know which actions are the same, learn it with --action-map"
    return note


def _is_doubtful(row: TransferRow, learnt: LearnCorrResult) -> bool:
    """True if the transfer lacks something: games, or a score that would have been enough."""
    share, score = row.get("normalised"), learnt.get("score")
    plays_less = share is not None and share < TRANSFERRED
    enough = learnt.get("settings", {}).get("recipe_enough", TRANSFERRED)
    return plays_less or (score is not None and score["value"] < enough)
