"""Symptoms of a correspondence that does not transfer, and what to try next, as one table.

Each rule has a threshold with its reason, and says one sentence and one command. They are told in
the order of the pipeline: what is wrong with F or with the memories makes all that follows wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corrtool.project.manifests import PLAY_WORDS
from corrtool.reporting.explanation import Measured, ReturnsKnown, Symptom
from corrtool.runs.results import NO_TRANSFER_BELOW

# Relative model loss of F on M_S: 1 is persistence. Over samples of 128 transitions of Pong it has
# a standard deviation of 0.006, so this is eight of them below.
PERSISTENCE = 0.95
# Of least squares, where a discriminator that cannot tell has 0.25.
WON_DISCRIMINATOR_LOSS = 0.02
# The scores of a target of CartPole and of one of Acrobot that an agent plays as well as its own
# task were 0.96 and 1.00, and 0.00 of two correspondences of CartPole that had learnt too little:
# this is about the middle.
HIGH_SCORE = 0.5
# Share of the way from random play to the agent. Sticky actions alone cost the agent of Pong 6 % of
# it (README): what is missing here is hardly worth a correspondence.
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


def reuse_share(returns: ReturnsKnown) -> float | None:
    """How far reuse is on the way from random play to the agent; None where that is not known."""
    random, agent, reuse = returns["random"], returns["agent"], returns["reuse"]
    if random is None or agent is None or reuse is None or agent <= random:
        return None
    return (reuse - random) / (agent - random)


def _reuse_is_good(measured: Measured) -> tuple[str, str] | None:
    share = reuse_share(measured["returns"])
    if share is None or share < REUSE_IS_GOOD:
        return None
    sentence = (
        f"Q_S without a correspondence is {share:.0%} of the way from random play to the agent: "
        "there is nothing to gain"
    )
    return sentence, "corrtool evaluate --no-corr"


def _is_blind(measured: Measured) -> bool:
    """True if F explains next to nothing of the source itself; False where there is no F."""
    blindness = measured["blindness"]
    return blindness is not None and blindness["source"]["model_loss"] >= PERSISTENCE


def _f_is_blind(measured: Measured) -> tuple[str, str] | None:
    blindness = measured["blindness"]
    if blindness is None or not _is_blind(measured):
        return None
    sentence = (
        f"F is no better than persistence on M_S: its relative model loss is "
        f"{blindness['source']['model_loss']:.2f}, and 1 is persistence; let it learn longer, or "
        "from other memories"
    )
    steps = blindness["gradient_steps"]
    more = "MORE" if steps is None else str(4 * steps)
    return sentence, f"corrtool train-model --gradient-steps {more} --name longer"


def _play_differs(measured: Measured) -> tuple[str, str] | None:
    source, target = measured["memories"]["source"], measured["memories"]["target"]
    if source["play"] is None or target["play"] is None or source["play"] == target["play"]:
        return None
    sentence = (
        f"M_S is of {PLAY_WORDS[source['play']]} and M_T of {PLAY_WORDS[target['play']]}: the "
        "losses compare the two, and the generators must not have to turn one into the other"
    )
    policy = "random" if target["play"] == "random" else "q:NAME"
    return sentence, f"corrtool collect --task source --policy {policy}"


def _discriminators_won(measured: Measured) -> tuple[str, str] | None:
    losses = measured["losses"]
    if losses is None or not discriminators_have_won(losses["terms"], losses["least_squares"]):
        return None
    sentence = (
        f"both discriminators have won (losses of at most {WON_DISCRIMINATOR_LOSS}, undecided is "
        "0.25): they show the generators no way; use fewer filters or more records"
    )
    return sentence, "corrtool learn-corr --discriminator-filters 4"


def discriminators_have_won(terms: dict[str, float], least_squares: bool) -> bool:
    """True if neither discriminator is in doubt, so that the generators can learn nothing more."""
    names = ("source_discriminator", "target_discriminator")
    known = [terms[name] for name in names if name in terms]
    return least_squares and len(known) == 2 and max(known) <= WON_DISCRIMINATOR_LOSS


def _score_is_low(measured: Measured) -> tuple[str, str] | None:
    score = measured["score"]
    if score is None or score["value"] >= NO_TRANSFER_BELOW or _is_blind(measured):
        return None
    if score["source_model_loss"] >= PERSISTENCE:
        return None
    sentence = (
        f"the score is {score['value']:.2f} although F explains the source: G_T has not found it; "
        "try another generator, more starts, or a learned map of the actions"
    )
    return sentence, "corrtool learn-corr --action-map learned"


def _another_map(measured: Measured) -> tuple[str, str] | None:
    actions, blindness = measured["actions"], measured["blindness"]
    if actions is None or blindness is None or not actions["best_is_better"]:
        return None
    # Where no map lets F explain the translations, they are wrong, and say nothing of actions.
    if blindness["translated"]["model_loss"] - actions["margin"] >= PERSISTENCE:
        return None
    sentence = (
        f"F predicts better with another map of the actions: the relative model loss is "
        f"{actions['margin']:.3f} less"
    )
    return sentence, f"corrtool learn-corr --action-map '{actions['best_map']}'"


def _score_without_return(measured: Measured) -> tuple[str, str] | None:
    score, returns = measured["score"], measured["returns"]
    transfer, reuse = returns["transfer"], returns["reuse"]
    if score is None or transfer is None or reuse is None:
        return None
    if score["value"] < HIGH_SCORE or transfer > reuse or _reuse_is_good(measured) is not None:
        return None
    sentence = (
        f"the score is {score['value']:.2f}, but a play test through the correspondence came to "
        f"{transfer:.1f} and reuse to {reuse:.1f}: Q_S depends on what F and M_S do not show; "
        "collect more records, and let an agent play them"
    )
    return sentence, "corrtool collect --task source --policy q:NAME --records 50000"


RULES = (
    Rule(
        "reuse is good already",
        f"`returns`: reuse at {REUSE_IS_GOOD:.0%} or more of the way from random play to the agent",
        "nothing to gain: play Q_S without a correspondence",
        _reuse_is_good,
    ),
    Rule(
        "F is blind",
        f"`blindness`: relative model loss on M_S of {PERSISTENCE} or more, where 1 is persistence",
        "more `--gradient-steps` or other memories for `train-model`",
        _f_is_blind,
    ),
    Rule(
        "M_S and M_T are of different play",
        "`memories`: `play` of both",
        "`collect` one of the other's kind",
        _play_differs,
    ),
    Rule(
        "the discriminators have won",
        f"`losses`: both discriminators at {WON_DISCRIMINATOR_LOSS} or less, where undecided is "
        "0.25",
        "fewer `--discriminator-filters`, or more records",
        _discriminators_won,
    ),
    Rule(
        "another map of the actions is better",
        "`actions`: `best_is_better`, a margin of more than twice the sampling noise, with which F "
        "explains something",
        "`--action-map` with the best map",
        _another_map,
    ),
    Rule(
        "the score is low though F is good",
        f"`score`: a value below {NO_TRANSFER_BELOW}",
        "another `--generator`, more starts, `--action-map learned`",
        _score_is_low,
    ),
    Rule(
        "no gain though the score is high",
        f"`score` of {HIGH_SCORE} or more, and `returns`: transfer no better than reuse",
        "more records, and an agent's memory: Q_S depends on what F and M_S do not show",
        _score_without_return,
    ),
)
