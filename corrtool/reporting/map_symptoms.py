"""Symptoms of a correspondence that are those of its map, or of the memories it was learnt from."""

from __future__ import annotations

from typing import Literal

from corrtool.project.manifests import PLAY_WORDS
from corrtool.reporting.advice import (
    another_seed,
    learn_anew,
    more_records,
    new_name,
    policy_of_agent,
)
from corrtool.reporting.explanation import Measured, ReturnsKnown
from corrtool.reporting.model_symptoms import PERSISTENCE
from corrtool.runs.results import NO_TRANSFER_BELOW
from corrtool.statistics import comparable_share

# Of the distance of a picture with nothing in it: a wrong correspondence of a game of small
# pictures, with a score of 0.85, had 1.1 of it, and chance alone 0.08. Also so many times that.
UNLIKE = 0.5
BEYOND_CHANCE = 3.0
# Of vectors, both of random play. Correspondences of CartPole, Acrobot and LunarLander through
# which the agent kept 95 % or more had at most 0.12, and 10 times what chance alone makes; wrong
# ones of a game in other units 0.20 to 0.67, 22 to 78 times (docs/why-not.md). Another pole had 1.4
# to 2.2 with a right map, since it truly moves otherwise: what plays well is not looked at.
UNLIKE_MOMENTS = 0.15
MOMENTS_BEYOND_CHANCE = 15.0
EXPLAINED = 0.5  # by the best map of the actions, of what F explains of the source
PLAYS_WELL = 0.9  # of the way from random play to the agent, as reuse that is good already


def share_of_the_way(returns: ReturnsKnown, player: Literal["reuse", "transfer"]) -> float | None:
    """How far a player is on the way from random play to the agent.

    None where that is not known, or there is no such way, as ``transfer`` says it.
    """
    mean, random, agent = returns[player], returns["random"], returns["agent"]
    if mean is None or random is None or agent is None or returns["agent_is_better"] is False:
        return None
    return comparable_share(mean, random, agent, returns["source_random"])


def play_differs(measured: Measured) -> tuple[str, str] | None:
    source, target = measured["memories"]["source"], measured["memories"]["target"]
    if source["play"] is None or target["play"] is None or source["play"] == target["play"]:
        return None
    sentence = (
        f"M_S is of {PLAY_WORDS[source['play']]} and M_T of {PLAY_WORDS[target['play']]}: the "
        "losses compare the two, and the generators must not have to turn one into the other"
    )
    policy = "random" if target["play"] == "random" else policy_of_agent(measured)
    collect = f"corrtool collect --task source --policy {policy} --name alike"
    return sentence, f"{collect} && {learn_anew(measured, '--source-memory alike --name alike')}"


def search_was_cut(measured: Measured) -> tuple[str, str] | None:
    share = share_of_the_way(measured["returns"], "transfer")
    if not measured["learnt"]["search_cut"] or (share is not None and share >= PLAYS_WELL):
        return None
    sentence = (
        "the search for its start ended for want of time, so that a better start may be there, "
        "whatever the score says"
    )
    if share is not None and share > 0.0:
        sentence += f" (it keeps {share:.0%} of the way from random play to the agent)"
    sentence += "; learn it anew without a time limit"
    learn = learn_anew(measured, f"--name {new_name(measured, 'searched')}")
    return sentence, f"{learn} && corrtool evaluate"


def looks_unlike(measured: Measured) -> tuple[str, str] | None:
    memories = measured["memories"]
    distance, nothing = memories["distance"], memories["distance_of_nothing"]
    if nothing is None or play_differs(measured) is not None:
        return None
    if distance < UNLIKE * nothing or distance < BEYOND_CHANCE * memories["distance_in_source"]:
        return None
    sentence = (
        f"the mean frames of M_S and of the translated M_T are {distance:.3f} apart, and a picture "
        f"with nothing in it is {nothing:.3f} from M_S: what is translated does not look like the "
        "source, whatever the score says; try "
    )
    if "affine-resnet" in measured["learnt"]["generators_untried"]:
        another = "corrtool learn-corr --generator affine-resnet"
        return f"{sentence}another generator, or more starts", another
    return f"{sentence}another seed, or more starts", another_seed(measured)


def states_are_unlike(measured: Measured) -> tuple[str, str] | None:
    memories = measured["memories"]
    distance, chance, most = (
        memories["distance"],
        memories["distance_in_source"],
        memories["most_unlike"],
    )
    of_random = memories["source"]["play"] == memories["target"]["play"] == "random"
    if most is None or not of_random:
        return None
    if distance < UNLIKE_MOMENTS or distance < MOMENTS_BEYOND_CHANCE * chance:
        return None
    share = share_of_the_way(measured["returns"], "transfer")
    if share is not None and share >= PLAYS_WELL:
        return None
    sentence = (
        f"both memories are of random play, yet the translated states of M_T are {distance:.2f} "
        f"from those of M_S by their moments, {distance / chance:.0f} times what chance makes: "
        f"source[{most['coordinate']}] differs most, with mean {_digits(most['source_mean'])} and "
        f"deviation {_digits(most['source_deviation'])} in M_S, translated "
        f"{_digits(most['translated_mean'])} and {_digits(most['translated_deviation'])}; units "
        "or offsets may be wrong there, or coordinates exchanged, unless the target truly moves "
        "otherwise; try another seed, or more records"
    )
    return sentence, another_seed(measured)


def _digits(value: float) -> str:
    """Three digits, without an exponent where the number is not small."""
    return f"{value:.2f}" if 0.1 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def score_is_low(measured: Measured) -> tuple[str, str] | None:
    score = measured["score"]
    if score is None or score["value"] >= NO_TRANSFER_BELOW:
        return None
    if measured["score_uncertain"] is not None:
        return None
    if score["source_model_loss"] >= PERSISTENCE:
        return None
    learnt, untried = measured["learnt"], measured["learnt"]["generators_untried"]
    sentence = f"the score is {score['value']:.2f} although F explains the source: "
    if not learnt["actions_tried"]:
        sentence += (
            "G_T has not found it; try a learned map of the actions, another generator, or more "
            "starts"
        )
        return sentence, "corrtool learn-corr --action-map learned"
    others = ["another generator"] if untried else []
    others += ["an F that has seen more", "another seed"]
    sentence += (
        "no map of the states and of the actions, which were learnt too, was found by which the "
        "target goes by F and Q_S: the tasks may share nothing; else try " + ", or ".join(others)
    )
    if untried:
        return sentence, f"corrtool learn-corr --generator {untried[0]} --action-map learned"
    return sentence, more_records(measured)


def another_map(measured: Measured) -> tuple[str, str] | None:
    actions, blindness = measured["actions"], measured["blindness"]
    if actions is None or blindness is None or not actions["best_is_better"]:
        return None
    if looks_unlike(measured) is not None:  # of translations that are wrong any map may be better
        return None
    # Where no map lets F explain the translations, they are wrong, and say nothing of actions: of
    # two tasks that share nothing it had 0.90, and another map 0.007 less.
    explained = 1.0 - blindness["translated"]["model_loss"] + actions["margin"]
    of_source = 1.0 - blindness["source"]["model_loss"]
    if explained <= max(EXPLAINED * of_source, 1.0 - PERSISTENCE):
        return None
    sentence = (
        f"F predicts better with another map of the actions: the relative model loss is "
        f"{actions['margin']:.3f} less"
    )
    return sentence, f"corrtool learn-corr --action-map '{actions['best_map']}'"
