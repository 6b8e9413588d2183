"""The result of each stage as lines for the person who ran it."""

from __future__ import annotations

from corrtool.runs.results import (
    NO_TRANSFER_BELOW,
    CollectResult,
    Cut,
    EvaluateResult,
    FinetuneResult,
    LearnCorrResult,
    TrainDqnResult,
    TrainModelResult,
)
from corrtool.settings.recipes import ACTIONS_LEARNED, CLEARLY_BETTER

GOOD_SCORE = 0.9  # from which on a correspondence that plays as reuse does is no failure


def train_dqn(result: TrainDqnResult) -> list[str]:
    """The end of the training, and what was kept."""
    lines = [_learning_line(result), f"memory {result['memory']}: {result['records']:,} records"]
    if (random := result.get("random_memory")) is not None:
        lines.append(
            f"memory {random}: {result['settings']['random_records']:,} records of random play"
        )
    return lines


def _learning_line(result: TrainDqnResult | FinetuneResult) -> str:
    """One line on how a DQN ended."""
    mean = result["mean_return_20"]
    line = f"Q-function {result['q']}: {result['env_steps']:,} env steps, {result['games']:,} games"
    line += (
        "" if mean is None else f", mean return {mean:.2f} over the last {min(20, result['games'])}"
    )
    best = result["best_mean_return"]
    line += "" if best is None else f"; the best of its play tests, {best:.2f}, is kept"
    return line + _cut(result)


def _cut(result: Cut) -> str:
    """The end of a line on what was learnt, where ``--max-minutes`` ended it."""
    if not result.get("cut"):
        return ""
    return "; its time was over before it was through, and with a larger limit it goes on"


def collect(result: CollectResult) -> list[str]:
    """The memory, and its size."""
    per_record = result["bytes"] / result["records"]
    return [
        f"memory {result['memory']}: {result['records']:,} records, {per_record:.0f} bytes each on "
        "disk"
    ]


def train_model(result: TrainModelResult) -> list[str]:
    """The error on held-out records, beside that of nothing moving."""
    errors = result["validation"]
    lines = [
        f"environment model {result['model']}: {result['gradient_steps']:,} gradient steps"
        f"{_cut(result)}; mean absolute error on {errors['records']:,} held-out records:",
        f"  over everything       {errors['l1']:.5f}   persistence {errors['l1_persistence']:.5f}",
        f"  over what changes     {errors['l1_changing']:.5f}   persistence "
        f"{errors['l1_changing_persistence']:.5f}"
        f"   ({errors['changing_share']:.2%} of the state)",
    ]
    if (
        errors["l1_newest"] != errors["l1_changing"]
    ):  # states of several frames, of which only the newest is news
        lines.append(
            f"  what changes, newest  {errors['l1_newest']:.5f}   persistence "
            f"{errors['l1_newest_persistence']:.5f}"
        )
    for use, apart in result.get("validation_by_memory", {}).items():
        lines.append(
            f"  in the {use.replace('_', ' ')} alone: what changes {apart['l1_newest']:.5f}   "
            f"persistence {apart['l1_newest_persistence']:.5f}"
        )
    return lines


def learn_corr(result: LearnCorrResult) -> list[str]:
    """What chose the correspondence, compared with reuse, and its score."""
    line = f"correspondence {result['corr']}: {result['gradient_steps']:,} gradient steps"
    line += _cut(result)
    if result.get("settled") and result["gradient_steps"]:
        patience = result["settings"]["recipe_patience"]
        line += f"; it ended early, since {patience} scores in a row were hardly higher than before"
    best, reuse = result["best_mean_return"], result.get("reuse_mean_return")
    if best is not None or result.get("score") is not None:
        by = "the best score" if best is None else f"a play test of {best:.2f}"
        line += f"; kept is that of step {result['best_gradient_steps']:,}, of {by}"
    if result["angle_degrees"] is not None:
        kept = result["best_angle_degrees"]
        angle = round(result["angle_degrees"] if kept is None else kept, 2) + 0.0  # never -0.00
        line += f"; its angle is {angle:.2f}°"
        line += ", mirrored" if result.get("mirrored") else ""
    if (learnt := result.get("action_map")) is not None:
        line += f"; target actions are {learnt} of the source"
        line += ": all one, so nobody can choose" if len(set(learnt)) == 1 < len(learnt) else ""
    more = [*_score_lines(result), *_untried_lines(result)]
    if best is None:
        return [line, "no games chose it; 'corrtool evaluate' plays some", *more]
    score = result.get("score")
    like_reuse = reuse is not None and (best <= reuse or result.get("like_reuse", False))
    if like_reuse and score and score["value"] >= GOOD_SCORE:
        return [
            line,
            f"reuse, without a correspondence, plays as well (mean {reuse:.2f}): the target may "
            "need none, or the agent has learnt nothing",
            *more,
        ]
    if like_reuse:
        return [
            line,
            f"no transfer expected: not clearly better than reuse (mean {reuse:.2f}), which is the "
            "source's Q-function without a correspondence: try "
            f"{_other_maps(result)}more --gradient-steps, another --generator, a better "
            "environment model, or another --seed",
            *more,
        ]
    if reuse is not None:
        line += f"; reuse, without a correspondence, has {reuse:.2f}"
    return [
        line,
        "the games of play tests chose it, so judge it by fresh ones, which 'corrtool evaluate' "
        "plays, and 'corrtool transfer' next",
        *more,
    ]


def _other_maps(result: LearnCorrResult) -> str:
    """What to try first where only the identity map of actions and one generator were looked at."""
    settings, tried = result.get("settings", {}), ""
    if settings.get("action_map") == "identity":
        tried += "--action-map learned, "
    if settings.get("recipe") == "none":
        tried += "--recipe auto, "
    return tried


def _untried_lines(result: LearnCorrResult) -> list[str]:
    """What was left out for want of time, and the command that looks at it; none for nothing."""
    notes = (passed_over_note(result), untried_note(result))
    return [note for note in notes if note is not None]


_NOT_ENOUGH = "no recipe was good enough by both score and games"


def passed_over_note(result: LearnCorrResult) -> str | None:
    """Which recipes had a higher score than the one that was taken; None where none had.

    Games chose it: the others played no better than random play, or worse than their rival.
    """
    scores, taken = result.get("recipe_scores", {}), result.get("recipe", "")
    higher = [
        f"{name} ({score:.2f})"
        for name, score in scores.items()
        if score > scores.get(taken, score) + CLEARLY_BETTER
    ]
    if not higher:
        return None
    return (
        f"games decided for {taken}, of score {scores[taken]:.2f}, against what had a higher "
        f"score: {', '.join(higher)}"
    )


def untried_note(result: LearnCorrResult) -> str | None:
    """What was left out for want of time, recipes or starts, and what does it; None for nothing.

    First the map of the actions, where no map but the identity was looked at.
    """
    untried = result.get("recipe_untried", [])
    if not untried and not result.get("search_cut"):
        return None
    if not untried:
        return (
            "the search for a start ended for want of time: its own command with --overwrite and "
            "more time looks further"
        )
    only_identity = not any(ACTIONS_LEARNED in name for name in result["recipe_scores"])
    if only_identity and any(ACTIONS_LEARNED in name for name in untried):
        left_out, option = "a map of the actions", "--action-map learned"
    else:
        left_out, option = "the rest of the recipes", "--overwrite"
    return (
        f"{_NOT_ENOUGH}, and {left_out} was not looked at for want of time "
        f"({'; '.join(untried)}): its own command with {option} and more time does"
    )


def _score_lines(result: LearnCorrResult) -> list[str]:
    """The score in words; none where there is none."""
    score = result.get("score")
    if score is None:
        return []
    value, doubt = score["value"], result.get("score_uncertain")
    if doubt is not None:
        return [f"score uncertain, since {doubt}; by that F it comes to {value:.2f} of 1"]
    line = (
        f"score {value:.2f} of 1: the environment model explains "
        f"{score['model_share']:.0%} as much of the translated target as of the source"
    )
    if score["bellman_share"] is not None:
        who = "policy's critic" if "agent_values" in result else "Q-function"
        line += f", and the {who} fits it {score['bellman_share']:.0%} as well"
    elif result.get("agent_values") == "none":
        line += "; the policy has no critic, so its values are no part of it"
    if value >= NO_TRANSFER_BELOW:
        return [line]
    best, reuse = result["best_mean_return"], result.get("reuse_mean_return")
    line += "; by it no transfer expected"
    if best is not None and reuse is not None and best > reuse:
        line += f", though its play test, {best:.2f}, beat that of reuse, {reuse:.2f}"
    return [line]


def evaluate(result: EvaluateResult) -> list[str]:
    """The mean return with its interval, and every game."""
    from corrtool.reporting.evaluations import (
        format_bounds,
        format_counts,
        format_mean,
        interval_of,
    )
    from corrtool.statistics import MIN_DISTINCT_GAMES

    interval, sticky = interval_of(result), result["repeat_action_probability"]
    who = result["q"] or "random play"
    who += "" if result["corr"] is None else f" through {result['corr']}"
    where = result["environment"] + (f" with sticky actions {sticky:g}" if sticky else "")
    ends = {
        "ended idle, with no reward for too long": result["idle_games"],
        "cut off, after too many steps": result["cut_games"],
    }
    return [
        f"{who} on {where}: mean return {format_mean(interval)}, "
        f"95% interval {format_bounds(interval)} over {format_counts(interval)}"
        + (
            ""
            if interval.bounds
            else f" (too few for an interval: it takes {MIN_DISTINCT_GAMES} distinct ones)"
        ),
        *(f"{count} of them {how}" for how, count in ends.items() if count),
        "returns: " + " ".join(f"{round(value, 6) + 0.0:g}" for value in result["returns"]),
        *(
            [f"video of a game that ended {result['video_return']:g}: {result['video']}"]
            if "video" in result
            else []
        ),
    ]


def finetune(result: FinetuneResult) -> list[str]:
    """The end of the training, and the next step."""
    return [
        _learning_line(result),
        f"'corrtool evaluate --q {result['q']}' plays fresh games with it",
    ]
