"""Why a correspondence transfers or not, as the tables of the report."""

from __future__ import annotations

from corrtool.project.manifests import PLAY_WORDS
from corrtool.reporting.explanation import ActionsFound, Explanation, FBlindness, GamesOf
from corrtool.reporting.linear_map import map_table
from corrtool.reporting.table import Table

WHY_NOT = "docs/why-not.md, 'Why does it not transfer?' of corrtool's documentation"
_SHOWN_PLACES = 8  # those where most is wrong; the JSON has all
RETURNS_NOTE = (
    "Mean returns are of the games that each line names. Those of play tests flatter what they "
    "chose; 'corrtool evaluate' plays fresh ones, and then they are told here."
)
_LEAST_SHARE = 0.0005  # of all change, which is 0.0 % as it is shown: what never moves is not wrong
_SYMBOLS = {"q": "Q_S", "model": "F"}
_EACH = {"source": "of M_S", "translated": "of M_T, translated"}


def explanation_tables(explanation: Explanation) -> list[Table]:
    """The symptoms first, then what was measured."""
    tables = [_symptoms(explanation), _numbers(explanation)]
    if explanation["linear_map"] is not None:
        tables.append(map_table(explanation["linear_map"]))
    if explanation["blindness"] is not None:
        tables += [_by_action(explanation["blindness"]), _by_place(explanation["blindness"])]
    if explanation["actions"] is not None:
        tables.append(_actions(explanation["actions"]))
    return tables


def action_lines(explanation: Explanation) -> list[str]:
    """The map of the actions that plays, in words."""
    learnt = explanation["learnt"]
    actions = learnt["actions"]
    if not learnt["actions_learned"]:
        if actions == list(range(len(actions))):
            return ["the actions: each of the target is the source's of the same number"]
        return [f"the actions: those of the target are {actions} of the source, as they were given"]
    return [
        f"the actions, learnt: those of the target, from 0, are {actions} of the source; another "
        "symmetry of the task, such as left for right, may be as good by F"
    ]


def _symptoms(explanation: Explanation) -> Table:
    name = explanation["correspondence"]
    rows = [[s["name"], s["sentence"], s["command"]] for s in explanation["symptoms"]]
    note = "" if rows else f"No known symptom. What else to look at: {WHY_NOT}."
    return Table(
        f"Why {name} transfers or not", ["symptom", "what was found", "what to try"], rows, note
    )


def _numbers(explanation: Explanation) -> Table:
    """What is one number, with what it says."""
    rows = [
        [_SYMBOLS.get(use, use), "left out", f"learnt with {which}"]
        for use, which in explanation["absent"].items()
    ]
    if (losses := explanation["losses"]) is not None:
        terms = losses["terms"].items()
        ended = f"as learning ended, after {losses['gradient_steps']:,} gradient steps"
        rows += [
            [f"last {term.replace('_', ' ')} loss", f"{value:.4f}", ended] for term, value in terms
        ]
    if (score := explanation["score"]) is not None:
        value, doubt = f"{score['value']:.2f}", explanation["score_uncertain"]
        certain = ["score", value, "at best 1"]
        uncertain = ["score", "uncertain", f"{doubt}; by that F it comes to {value}"]
        rows.append(certain if doubt is None else uncertain)
        model = f"M_S itself {score['source_model_loss']:.3f}"
        rows.append(["relative model loss of the score", f"{score['model_loss']:.3f}", model])
        if score["bellman_error"] is not None and score["source_bellman_error"] is not None:
            bellman = f"M_S itself {score['source_bellman_error']:.3f}"
            rows.append(["Bellman error of the score", f"{score['bellman_error']:.3f}", bellman])
        elif (agent := explanation["agent"]) is not None and agent.get("values") == "none":
            rows.append(["Bellman error of the score", "none", "the policy has no critic"])
        rows.append(["cycle error of the score", f"{score['cycle_error']:.3f}", "mean state 1"])
    if explanation["blindness"] is None and "model" not in explanation["absent"]:
        rows.append(["F", "none", "learn-corr with --lambda-m above 0 would tell more"])
    memories = explanation["memories"]
    for use, symbol in (("source", "M_S"), ("target", "M_T")):
        memory = memories["source"] if use == "source" else memories["target"]
        play = "unknown play" if memory["play"] is None else PLAY_WORDS[memory["play"]]
        rows.append([f"records of {symbol}", f"{memory['records']}", f"{memory['name']}, {play}"])
    rows.append(
        [
            f"G_T(M_T) from M_S, by {memories['measure']}",
            f"{memories['distance']:.4f}",
            f"half of M_S from the other half {memories['distance_in_source']:.4f}",
        ]
    )
    rows += _returns(explanation)
    note = "" if all(mean is None for mean in explanation["returns"].values()) else RETURNS_NOTE
    return Table("What was measured", ["number", "value", "compare"], rows, note)


def _returns(explanation: Explanation) -> list[list[str]]:
    """Mean returns that are known, each with the games that it is of."""
    returns, memories = explanation["returns"], explanation["memories"]
    games: dict[GamesOf | None, str] = {
        "evaluate": "fresh games of 'corrtool evaluate'",
        "memory": "games of {}",
        "training": "play tests or training games of train-dqn",
        "play test": "a play test of learn-corr",
        None: "",
    }
    known = (
        (
            "random play on the target",
            returns["random"],
            games[returns["random_by"]].format(memories["target"]["name"]),
        ),
        (
            "random play on the source",
            returns["source_random"],
            games[returns["source_random_by"]].format(memories["source"]["name"]),
        ),
        ("the agent on its own task", returns["agent"], games[returns["agent_by"]]),
        ("reuse without a correspondence", returns["reuse"], games[returns["reuse_by"]]),
        ("play through the correspondence", returns["transfer"], games[returns["transfer_by"]]),
    )
    return [
        [f"mean return of {who}", f"{mean:.2f}", told]
        for who, mean, told in known
        if mean is not None
    ]


def _by_action(blindness: FBlindness) -> Table:
    rows = [
        [_EACH[use], at["where"], f"{at['model_loss']:.3f}", f"{at['share']:.1%}"]
        for use, part in (("source", blindness["source"]), ("translated", blindness["translated"]))
        for at in part["by_action"]
    ]
    note = (
        "0: F explains every change; 1: no better than the frame before. Actions of M_T are the "
        "target's."
    )
    return Table(
        "Where F is blind, by action",
        ["transitions", "action", "relative model loss", "share of all change"],
        rows,
        note,
    )


def _by_place(blindness: FBlindness) -> Table:
    rows = []
    for use, part in (("source", blindness["source"]), ("translated", blindness["translated"])):
        moving = [at for at in part["by_place"] if at["share"] >= _LEAST_SHARE]
        worst = sorted(moving, key=lambda at: -at["model_loss"] * at["share"])
        rows += [
            [_EACH[use], at["where"], f"{at['model_loss']:.3f}", f"{at['share']:.1%}"]
            for at in worst[:_SHOWN_PLACES]
        ]
    return Table(
        "Where F is blind, by place",
        ["transitions", "place", "relative model loss", "share of all change"],
        rows,
        f"The {_SHOWN_PLACES} places of either memory where most change is unexplained.",
    )


def _actions(actions: ActionsFound) -> Table:
    rows = [
        [str(target), str(used), str(best), *(f"{loss:.3f}" for loss in losses)]
        for target, (used, best, losses) in enumerate(
            zip(
                actions["map_in_use"],
                actions["best_map"],
                actions["relative_model_losses"],
                strict=True,
            )
        )
    ]
    beyond = "beyond" if actions["best_is_better"] else "within"
    note = (
        f"On {actions['transitions']} transitions. The best map has a relative model loss that is "
        f"{actions['margin']:.4f} less than that in use, {beyond} the noise."
    )
    count = len(actions["relative_model_losses"][0])
    columns = ["target action", "source action in use", "best", *(f"as {k}" for k in range(count))]
    return Table("The action matrix", columns, rows, note)
