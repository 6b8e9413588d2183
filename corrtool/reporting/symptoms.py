"""Symptoms of a correspondence that does not transfer, and what to try next, as one table.

Each rule has a threshold with its reason, and says one sentence and one command. They are told in
the order of the pipeline: what is wrong with F or with the memories makes all that follows wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corrtool.reporting.advice import (
    another_seed,
    learn_anew,
    more_of_target,
    more_records,
    new_name,
)
from corrtool.reporting.explanation import (
    Measured,
    ReturnsKnown,
    Symptom,
)
from corrtool.reporting.map_symptoms import (
    BEYOND_CHANCE,
    MOMENTS_BEYOND_CHANCE,
    PLAYS_WELL,
    UNLIKE,
    UNLIKE_MOMENTS,
    another_map,
    looks_unlike,
    play_differs,
    score_is_low,
    search_was_cut,
    share_of_the_way,
    states_are_unlike,
)
from corrtool.reporting.model_symptoms import PERSISTENCE, f_is_blind, f_is_useless, f_was_cut
from corrtool.runs.results import NO_TRANSFER_BELOW

# Of least squares, where a discriminator that cannot tell has 0.25.
WON_DISCRIMINATOR_LOSS = 0.02
FEW_FILTERS = 4
# The scores of a target of CartPole and of one of Acrobot that an agent plays as well as its own
# task were 0.96 and 1.00, and 0.00 of two correspondences of CartPole that had learnt too little:
# this is about the middle.
HIGH_SCORE = 0.5
LITTLE = 0.2  # of the way from random play to the agent
# Share of the way from random play to the agent. Sticky actions alone cost the agent of Pong 6 % of
# it (docs/results.md): what is missing here is hardly worth a correspondence.
REUSE_IS_GOOD = 0.9


@dataclass(frozen=True)
class Rule:
    """One symptom.

    Attributes:
        find: the sentence and the command where the symptom is there, else None.
        look_at, attempt: the number to look at and what to try, in words for the documentation.
    """

    name: str
    look_at: str
    attempt: str
    find: Callable[[Measured], tuple[str, str] | None]


def symptoms(measured: Measured) -> list[Symptom]:
    """The symptoms that the measurements show, in the order of :data:`RULES`."""
    found: list[Symptom] = []
    for rule in RULES:
        told = rule.find(measured)
        if told is not None:
            found.append({"name": rule.name, "sentence": told[0], "command": told[1]})
    return found


def _reuse_is_good(measured: Measured) -> tuple[str, str] | None:
    share = share_of_the_way(measured["returns"], "reuse")
    if share is None or share < REUSE_IS_GOOD:
        return None
    sentence = (
        f"Q_S without a correspondence is {share:.0%} of the way from random play to the agent: "
        "there is nothing to gain"
    )
    return sentence, "corrtool evaluate --no-corr"


def _agent_learnt_nothing(measured: Measured) -> tuple[str, str] | None:
    agent, random = measured["returns"]["agent"], measured["returns"]["source_random"]
    known, is_better = measured["agent"], measured["returns"]["agent_is_better"]
    if known is None or agent is None or random is None:
        return None
    if agent > random if is_better is None else is_better:
        return None
    sentence = (
        f"the agent {known['name']} has a mean return of {agent:.1f} on its own task and random "
        f"play {random:.1f}, so it is not clearly better: there is nothing to transfer until it "
        "learns more"
    )
    return sentence, known["longer"] or "corrtool train-dqn"  # of what was imported another agent


def _inputs_have_changed(measured: Measured) -> tuple[str, str] | None:
    if not measured["absent"]:
        return None
    which = " and ".join(measured["absent"].values())
    sentence = (
        f"it was learnt with {which}: it may not fit what is here, and what that told of it is "
        "left out or of before; learn one with what is here"
    )
    return sentence, learn_anew(measured, f"--name {new_name(measured, 'anew')}")


def _discriminators_won(measured: Measured) -> tuple[str, str] | None:
    losses = measured["losses"]
    if losses is None or not discriminators_have_won(losses["terms"], losses["least_squares"]):
        return None
    filters = measured["learnt"]["discriminator_filters"]
    sentence = (
        f"both discriminators have won (losses of at most {WON_DISCRIMINATOR_LOSS}, undecided is "
        "0.25): they show the generators no way; use "
    )
    if filters is None or filters > FEW_FILTERS:
        name = new_name(measured, "fewer-filters")
        fewer = learn_anew(measured, f"--discriminator-filters {FEW_FILTERS} --name {name}")
        return (
            f"{sentence}fewer filters or more records",
            f"{fewer} && corrtool evaluate --corr {name}",
        )
    return f"{sentence}more records", more_of_target(measured)


def discriminators_have_won(terms: dict[str, float], least_squares: bool) -> bool:
    """True if neither discriminator is in doubt, so that the generators can learn nothing more."""
    names = ("source_discriminator", "target_discriminator")
    known = [terms[name] for name in names if name in terms]
    return least_squares and len(known) == 2 and max(known) <= WON_DISCRIMINATOR_LOSS


def _plays_little(returns: ReturnsKnown) -> bool:
    """True if transfer is hardly on the way from random play to the agent."""
    share = share_of_the_way(returns, "transfer")
    return share is not None and share < LITTLE


def _games_of(returns: ReturnsKnown) -> str:
    """Which games of transfer are known, in words."""
    return "fresh games" if returns["transfer_by"] == "evaluate" else "a play test"


def _score_without_return(measured: Measured) -> tuple[str, str] | None:
    score, returns = measured["score"], measured["returns"]
    transfer, reuse, random = returns["transfer"], returns["reuse"], returns["random"]
    if score is None or transfer is None or (reuse is None and random is None):
        return None
    if measured["score_uncertain"] is not None or _agent_learnt_nothing(measured) is not None:
        return None
    no_gain = (reuse is not None and transfer <= reuse) or _plays_little(returns)
    if score["value"] < HIGH_SCORE or not no_gain or _reuse_is_good(measured) is not None:
        return None
    others = {"reuse": reuse, "random play": random, "the agent on its own task": returns["agent"]}
    beside = ", ".join(f"{who} {mean:.1f}" for who, mean in others.items() if mean is not None)
    sentence = (
        f"the score is {score['value']:.2f}, but {_games_of(returns)} through the "
        f"correspondence came to {transfer:.1f} ({beside}): it may be another symmetry of the "
        "task, such as a part of the state seen in a mirror, or Q_S depends on what F and M_S do "
        "not show; try another --seed, or collect more records, let an agent play them, and learn "
        "F and the correspondence anew"
    )
    return sentence, more_records(measured)


def _given_actions_in_doubt(measured: Measured) -> tuple[str, str] | None:
    given = measured["learnt"]["actions_given"]
    share = share_of_the_way(measured["returns"], "transfer")
    if given is None or share is None or share >= PLAYS_WELL:
        return None
    others = (_agent_learnt_nothing, another_map, score_is_low)
    if any(told(measured) is not None for told in others):
        return None
    sentence = (
        f"by {_games_of(measured['returns'])} it keeps {share:.0%} of the way from random play to "
        f"the agent; that the target's actions are {given} of the source was given, not learnt: "
        "with wrong ones G_T learns another symmetry of the task, which the losses need not see; "
        "compare with a map that is learnt"
    )
    return sentence, "corrtool learn-corr --action-map learned && corrtool evaluate"


def _keeps_a_part(measured: Measured) -> tuple[str, str] | None:
    """Between what is hardly better than random play and what plays well."""
    score, returns = measured["score"], measured["returns"]
    share = share_of_the_way(returns, "transfer")
    if share is None or not LITTLE <= share < PLAYS_WELL:
        return None
    others = (
        _agent_learnt_nothing,
        _reuse_is_good,
        score_is_low,
        _score_without_return,
        _given_actions_in_doubt,
        search_was_cut,
    )
    if any(told(measured) is not None for told in others):
        return None
    value = ""
    if score is not None and measured["score_uncertain"] is None:
        value = f", which the score of {score['value']:.2f} does not see"
    part = "a unit, a shift or one coordinate"
    if measured["memories"]["measure"] == "mean frames":
        part = (
            "the colour or the place of a thing that is small or rare (see the translated frames)"
        )
    sentence = (
        f"by {_games_of(returns)} it keeps {share:.0%} of the way from random play to the agent"
        f"{value}: a part of the map may be wrong that seldom matters to F, such as {part}, or the "
        "target is harder to play; nothing here says which; try another seed, or more records, and "
        "compare them by 'corrtool evaluate'"
    )
    if states_are_unlike(measured) is not None:  # which has another seed for its command
        return sentence, more_records(measured)
    return sentence, another_seed(measured)


RULES = (
    Rule(
        "reuse is good already",
        f"`returns`: reuse at {REUSE_IS_GOOD:.0%} or more of the way from random play to the agent",
        "nothing to gain: play Q_S without a correspondence",
        _reuse_is_good,
    ),
    Rule(
        "the agent has learnt nothing",
        "`returns`: `agent`, on its own task, not better than `source_random` by two standard "
        "errors of fresh games",
        "a longer training: more `--env-steps` for `train-dqn`",
        _agent_learnt_nothing,
    ),
    Rule(
        "its inputs have changed",
        "`absent`: what it was learnt with that is gone, damaged or another by now",
        "`learn-corr` anew, with what is here",
        _inputs_have_changed,
    ),
    Rule(
        "F was cut short",
        "`blindness`: `cut`, a time limit ended its training",
        "`train-model` without `--max-minutes`, then `learn-corr` anew",
        f_was_cut,
    ),
    Rule(
        "F is blind",
        f"`blindness`: relative model loss on M_S of {PERSISTENCE} or more, where 1 is persistence",
        "more `--gradient-steps` or other memories for `train-model`",
        f_is_blind,
    ),
    Rule(
        "F is no better than persistence",
        "`blindness`: `useless`, on the records that its training held out",
        "more `--gradient-steps` or other memories for `train-model`",
        f_is_useless,
    ),
    Rule(
        "the search for a start was cut short",
        f"`learnt`: `search_cut`. Not told where play is {PLAYS_WELL:.0%} or more of the way",
        "`learn-corr` anew, without `--max-minutes`",
        search_was_cut,
    ),
    Rule(
        "M_S and M_T are of different play",
        "`memories`: `play` of both",
        "`collect` one of the other's kind",
        play_differs,
    ),
    Rule(
        "the discriminators have won",
        f"`losses`: both discriminators at {WON_DISCRIMINATOR_LOSS} or less, where undecided is "
        "0.25",
        "fewer `--discriminator-filters`, or more records",
        _discriminators_won,
    ),
    Rule(
        "translations do not look like the source",
        f"`memories`: `distance` of mean frames at {UNLIKE} or more of `distance_of_nothing`, and "
        f"{BEYOND_CHANCE:g} times `distance_in_source`",
        "another `--generator`, another `--seed`, more starts",
        looks_unlike,
    ),
    Rule(
        "translated states are unlike the source's",
        f"`memories`: `distance` of moments at {UNLIKE_MOMENTS} or more, and "
        f"{MOMENTS_BEYOND_CHANCE:g} times `distance_in_source`, both of random play; `most_unlike` "
        f"is where. Not told where play is {PLAYS_WELL:.0%} or more of the way",
        "another `--seed`, more records; the units and the order of the target's coordinates",
        states_are_unlike,
    ),
    Rule(
        "another map of the actions is better",
        "`actions`: `best_is_better`, a margin of more than twice the sampling noise, with which F "
        "explains half as much as of M_S",
        "`--action-map` with the best map",
        another_map,
    ),
    Rule(
        "the score is low though F is good",
        f"`score`: a value below {NO_TRANSFER_BELOW}",
        "`--action-map learned`, another `--generator`, more starts; where those were tried, more "
        "records for F and another `--seed`: the tasks may share nothing",
        score_is_low,
    ),
    Rule(
        "no gain though the score is high",
        f"`score` of {HIGH_SCORE} or more, and `returns`: transfer no better than reuse, or less "
        f"than {LITTLE:.0%} of the way from random play to the agent",
        "--action-map with the actions that you know to be the same; another seed, for another "
        "symmetry may have been found; more records, and an agent's memory, for Q_S may depend on "
        "what F and M_S do not show",
        _score_without_return,
    ),
    Rule(
        "the actions that were given are in doubt",
        f"`learnt`: `actions_given`, and `returns`: transfer at less than {PLAYS_WELL:.0%} of the "
        "way from random play to the agent",
        "`--action-map learned`, and compare",
        _given_actions_in_doubt,
    ),
    Rule(
        "it keeps a part of the way",
        f"`returns`: transfer at {LITTLE:.0%} to {PLAYS_WELL:.0%} of the way from random play to "
        "the agent, and none of those above that are about the search, the score, reuse or given "
        "actions",
        "another `--seed`, more records; compare them by `evaluate`, for the score does not see it",
        _keeps_a_part,
    ),
)
