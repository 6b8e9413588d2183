"""Symptoms of a correspondence that are those of F, and the commands that learn it anew."""

from __future__ import annotations

from corrtool.reporting.advice import learn_anew, new_name
from corrtool.reporting.explanation import FBlindness, Measured

# Relative model loss of F on M_S: 1 is persistence. Over samples of 128 transitions of Pong it has
# a standard deviation of 0.006, so this is eight of them below.
PERSISTENCE = 0.95


def is_blind(blindness: FBlindness) -> bool:
    """True if F explains next to nothing of the source itself."""
    return blindness["source"]["model_loss"] >= PERSISTENCE


def f_was_cut(measured: Measured) -> tuple[str, str] | None:
    blindness = measured["blindness"]
    if blindness is None or not blindness["cut"]:
        return None
    sentence = (
        "the training of F was cut short by its time limit, so that no score by it is certain; its "
        "own command without a time limit goes on, and the correspondence is then learnt anew"
    )
    return sentence, f"corrtool train-model --name {blindness['model']}"


def f_is_useless(measured: Measured) -> tuple[str, str] | None:
    blindness = measured["blindness"]
    if blindness is None or not blindness["useless"] or is_blind(blindness):
        return None
    sentence = (
        "F predicted held-out records no better than persistence, so that no score by it is "
        "certain; let it learn longer, or from other memories"
    )
    return sentence, longer_model(blindness, measured)


def f_is_blind(measured: Measured) -> tuple[str, str] | None:
    blindness = measured["blindness"]
    if blindness is None or not is_blind(blindness):
        return None
    sentence = (
        f"F is no better than persistence on M_S: its relative model loss is "
        f"{blindness['source']['model_loss']:.2f}, and 1 is persistence; let it learn longer, or "
        "from other memories"
    )
    return sentence, longer_model(blindness, measured)


def longer_model(blindness: FBlindness, measured: Measured) -> str:
    """The commands that train an F for longer and learn with it, under another name."""
    steps = blindness["gradient_steps"]
    more = "MORE" if steps is None else str(4 * steps)
    name = new_name(measured, "longer")
    train = f"corrtool train-model --gradient-steps {more} --name {name}"
    return f"{train} && {learn_anew(measured, f'--model {name} --name {name}')}"
