"""Commands that a symptom advises, none of which its run has followed already."""

from __future__ import annotations

from corrtool.reporting.explanation import Measured

_MORE_RECORDS = 50_000  # of an agent's play, five times what is kept of its training
_LAST = "-last"  # end of the name of the last correspondence of a training


def learn_anew(measured: Measured, inputs: str) -> str:
    """Learn one of the same agent from other inputs: ``transfer`` takes what is there for done."""
    q = "" if measured["agent"] is None else f" --q {measured['agent']['name']}"
    actions = measured["learnt"]["actions_given"]
    given = "" if actions is None else f" --action-map '{actions}'"
    return f"corrtool learn-corr{q}{given} {inputs}"


def new_name(measured: Measured, stem: str) -> str:
    """``stem``, or ``stem-2`` where advice with that name was followed already, and so on."""
    times = _followed(measured, stem)
    return stem if times == 0 else f"{stem}-{times + 1}"


def policy_of_agent(measured: Measured) -> str:
    """The setting ``--policy`` with which the agent plays; with a gap where Q_S is gone."""
    agent = measured["agent"]
    return "q:NAME" if agent is None else f"q:{agent['name']}"


def more_records(measured: Measured) -> str:
    """Collect more of the agent's play, learn F from it and the correspondence, and play.

    Four times as many where that was followed already.
    """
    name, records = new_name(measured, "more"), _MORE_RECORDS * 4 ** _followed(measured, "more")
    policy = policy_of_agent(measured)
    collect = f"corrtool collect --task source --policy {policy} --records {records} --name {name}"
    train = f"corrtool train-model --memory {name} --name {name}"
    learn = learn_anew(measured, f"--model {name} --name {name}")
    return f"{collect} && {train} && {learn} && corrtool evaluate --corr {name}"


def more_of_target(measured: Measured) -> str:
    """Collect four times as many records of the target, and learn from them."""
    name, records = new_name(measured, "more"), 4 * measured["memories"]["target"]["records"]
    collect = f"corrtool collect --records {records} --name {name}"
    return f"{collect} && {learn_anew(measured, f'--target-memory {name} --name {name}')}"


def another_seed(measured: Measured) -> str:
    """Learn with the next seed, and play fresh games through what comes of it, the newest."""
    learn = learn_anew(measured, f"--seed {measured['learnt']['seed'] + 1}")
    return f"{learn} && corrtool evaluate"


def _followed(measured: Measured, stem: str) -> int:
    """How often advice with names of ``stem`` was followed: the number that one of them has."""
    named = [measured["correspondence"].removesuffix(_LAST)]
    named += [found.split(" ")[-1] for found in measured["inputs"].values()]
    numbers = [0]
    for name in named:
        rest = name.removeprefix(f"{stem}-")
        numbers += [1] if name == stem else [int(rest)] if rest != name and rest.isdigit() else []
    return max(numbers)
