"""Rows of players without a correspondence, and how far one comes between them."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from corrtool.reporting.agents import AgentKey, Agents, about_import
from corrtool.reporting.cells import OWN_TASK, RANDOM_PLAY, REUSE, SOURCE_RANDOM_PLAY, Cell
from corrtool.reporting.evaluations import Protocol
from corrtool.reporting.finished import Evaluation
from corrtool.reporting.rows import Row, evaluation_rows
from corrtool.runs.results import LearnCorrResult
from corrtool.statistics import clearly_better, comparable_share


def baseline_rows(
    on_source: list[Evaluation], zero_shot: list[Evaluation], agents: Agents, own_q: str | None
) -> dict[str, list[Row]]:
    """Rows of the agent on its own task, of random play and of direct reuse, where played."""
    by_q = [
        [run for run in runs if run.settings["policy"] == "q" and run.parent("corr") is None]
        for runs in (on_source, zero_shot)
    ]
    at_random = [
        [run for run in runs if run.settings["policy"] == "random"]
        for runs in (on_source, zero_shot)
    ]
    played = {
        OWN_TASK: by_q[0],
        SOURCE_RANDOM_PLAY: at_random[0],
        RANDOM_PLAY: at_random[1],
        REUSE: by_q[1],
    }
    return {
        name: evaluation_rows(
            [runs],
            [None],
            lambda i, e: "" if e.parent("q") is None else other_q(agents, e, own_q),
        )
        for name, runs in played.items()
        if runs
    }


def other_q(agents: Agents, evaluation: Evaluation, own: str | None) -> str:
    """The Q-function that played, if it was not the ``own`` one."""
    if evaluation.parent("q") == own:
        return ""
    played = evaluation.reference_to("q")
    return f"with Q {'unknown' if played is None else agents.called(played)}"


def baseline_name(agents: Agents, baseline: str, row: Row) -> str:
    """Who plays in a row of a baseline: an agent that was imported by its name, and from where."""
    played = _agent_of(row)
    if played is None:
        return baseline
    imported, name = agents.imported(played), agents.called(played)
    if imported is None:
        named = f"{baseline}, {row.deviation}" if row.deviation else baseline
        return named if row.deviation else _with_earlier(agents, named, played)
    if baseline == OWN_TASK or imported.manifest.get("role") == "target":
        return f"{name} ({about_import(imported)}) on its own task"
    return f"{name} reused without correspondence"


def correspondence_name(agents: Agents, cell: Cell[LearnCorrResult], row: Row) -> str:
    """Through what is played in a row: the correspondence's name, how it was learnt, with what Q.

    The Q-function is said where it is another than the correspondence's own, or no longer there.
    """
    name = f"{cell.called}: {cell.how or cell.label}"
    if row.deviation:
        return f"{name}, {row.deviation}"
    return _with_earlier(agents, name, _agent_of(row) or cell.runs[0].reference_to("q"))


def _with_earlier(agents: Agents, name: str, agent: AgentKey | None) -> str:
    """The name, and the agent if another has its name by now."""
    is_earlier = agent is not None and agents.is_earlier(agent)
    return f"{name}, with Q {agents.called(agent)}" if agent and is_earlier else name


def _agent_of(row: Row) -> AgentKey | None:
    """The Q-function of the games of a row."""
    found = (run.reference_to("q") for run in (*row.plain, *row.sticky) if run is not None)
    return next(found, None)


def share_of_the_way(row: Row, baselines: dict[str, list[Row]]) -> float | None:
    """Where a row is between random play and its agent on its own task, as ``transfer`` says it.

    Each seed beside the baselines of that seed, where there are some, else beside the mean of all.
    By games without sticky actions, and only where all three were played with one protocol: None
    otherwise, and where the agent is not clearly better than random play, or returns seem to be on
    other scales.
    """
    played = [run for run in row.plain if run is not None]
    if row.protocol is None or not played:
        return None
    at_random = replace(row.protocol, epsilon=None)
    random = _with(baselines.get(RANDOM_PLAY, []), at_random)
    source_random = _with(baselines.get(SOURCE_RANDOM_PLAY, []), at_random)
    agents = _with(baselines.get(OWN_TASK, []), row.protocol)
    shares = []
    for run in played:
        least = _returns([other for other in random if other.task == run.task], run.seed)
        own = _returns([one for one in agents if one.parent("q") == run.parent("q")], run.seed)
        if least and own:
            on_source = _returns(source_random, run.seed)
            shares.append(_share(run.result["mean_return"], least, own, on_source))
    found = [share for share in shares if share is not None]
    return sum(found) / len(found) if len(found) == len(played) else None


def _share(
    through: float, random: list[float], own: list[float], on_source: list[float]
) -> float | None:
    """The share by the returns of both, and of random play on the source if there are any."""
    if not on_source:
        return comparable_share(through, fmean(random), fmean(own), None)
    if not clearly_better(own, on_source):
        return None
    return comparable_share(through, fmean(random), fmean(own), fmean(on_source))


def _returns(evaluations: list[Evaluation], seed: int) -> list[float]:
    """The returns of those of a seed, or of all where there are none."""
    found = [run for run in evaluations if run.seed == seed] or evaluations
    return [one for run in found for one in run.result["returns"]]


def _with(rows: list[Row], protocol: Protocol) -> list[Evaluation]:
    """Evaluations of ``rows`` with a protocol, in their order."""
    found = (row.plain[0] for row in rows if row.protocol == protocol)
    return [run for run in found if run is not None]
