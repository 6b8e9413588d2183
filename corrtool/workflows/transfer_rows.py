"""The rows of ``corrtool transfer``, and what their reader should know."""

from __future__ import annotations

from typing import NotRequired, cast

from corrtool.reporting.result_lines import passed_over_note, untried_note
from corrtool.runs.results import NO_TRANSFER_BELOW, EvaluateResult, LearnCorrResult, Returns
from corrtool.workflows.pipeline import returns_of

TRANSFERRED = 0.9  # of the way from random play to the agent; less is worth an explanation


class TransferRow(Returns):
    """Fresh games of one player.

    Attributes:
        policy: ``source``, the agent on its own task, or on the target ``random``, ``reuse`` or
            ``transfer``.
        normalised: of ``transfer``, its share of the way from random play to the agent on its own
            task: 0 is as good as random play, 1 as the agent. None where the agent is no better.
    """

    policy: str
    normalised: NotRequired[float | None]


def normalised(transfer: float, random: float, source: float) -> float | None:
    """(R − R_random) / (R_source − R_random); None for an agent no better than random play."""
    return None if source <= random else (transfer - random) / (source - random)


def make_rows(played: dict[str, EvaluateResult]) -> list[TransferRow]:
    rows: list[TransferRow] = [
        cast(TransferRow, {"policy": policy, **returns_of(result)})
        for policy, result in played.items()
    ]
    means = {policy: result["mean_return"] for policy, result in played.items()}
    rows[-1]["normalised"] = normalised(means["transfer"], means["random"], means["source"])
    return rows


def make_notes(
    rows: list[TransferRow], learnt: LearnCorrResult, cut: list[str], no_reuse: str | None
) -> list[str]:
    """What a reader of the rows should know."""
    score = learnt.get("score")
    means = {row["policy"]: row["mean_return"] for row in rows}
    notes = []
    if means["source"] <= means["random"]:
        notes.append(
            "the source's agent is no better than random play, so there is nothing to transfer: "
            "train it longer, or name a better one with --from-q"
        )
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


def _is_doubtful(row: TransferRow, learnt: LearnCorrResult) -> bool:
    """True if the transfer lacks something: games, or a score that would have been enough."""
    share, score = row.get("normalised"), learnt.get("score")
    plays_less = share is not None and share < TRANSFERRED
    enough = learnt.get("settings", {}).get("recipe_enough", TRANSFERRED)
    return plays_less or (score is not None and score["value"] < enough)
