"""`python -m benchmarks.scored_runs DIR [NAME …]`: does the score know what runs kept?

Takes the projects that `corrtool reproduce suite -p DIR` has left: the correspondences of all
methods, those that were learnt without F as well, are scored with the project's F on random play,
and compared with the share of the way from random play to the source's agent that their 30 games
came. Nothing is learnt or played. What was scored is kept in `DIR/scored.jsonl`. Beside it stands
what an oracle would have that knows every share but for the chance of 30 games.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.calibration import read_lines, spearman
from corrtool.correspondence.actions import AUTO
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.saved import load_correspondence
from corrtool.correspondence.score import Scorer
from corrtool.correspondence.scores import scored_transitions
from corrtool.environment_model.saved import held_out_loss, load_model
from corrtool.experiments.pairs import Pair, choose_pairs
from corrtool.memory import ReplayMemory, read_rows
from corrtool.project.artifacts import Artifact, find_artifacts
from corrtool.project.directory import Project
from corrtool.project.memory_files import check_memory
from corrtool.q_learning.saved import RewardsLearnt, load_q_function
from corrtool.reporting.suite import OURS, PREFIX, RANDOM, SOURCE, Played, player_of
from corrtool.runs.overview import evaluations
from corrtool.state_scaling import StateScaling
from corrtool.workflows.suites.projects import Suite

CPU = torch.device("cpu")
REDRAWN = 50  # times the games of all runs
BANDS = ((0.9, 1.0), (0.5, 0.9), (0.2, 0.5), (0.0, 0.2))
SEEDS = range(5)


@dataclass(frozen=True)
class ScoredRun:
    """A finished run: its score, and its share of the way from random play to the agent."""

    pair: str
    seed: int
    method: str
    score: float
    share: float


class Then(nn.Module):
    """A generator with a change of units before or after it."""

    def __init__(
        self, first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self._both = first, second

    def forward(self, states: Tensor) -> Tensor:
        first, second = self._both
        return second(first(states))


def in_units_of(c: Correspondence, scaling: StateScaling) -> Correspondence:
    """The same with source states in the model range of ``scaling``, that of an F."""
    own = c.source_scaling
    c.target_to_source = Then(
        c.target_to_source, lambda states: scaling.raw_to_model(own.model_to_raw(states))
    )
    c.source_to_target = Then(
        lambda states: own.raw_to_model(scaling.model_to_raw(states)), c.source_to_target
    )
    c.source_scaling = scaling
    return c


def score(project: Path, artifact: Artifact) -> float:
    """The score of a correspondence by the F of its project, on random play."""
    models = {model.name: model for model in find_artifacts(project, "model")}
    memories = {memory.name: memory for memory in find_artifacts(project, "memory")}
    agents = {agent.name: agent for agent in find_artifacts(project, "q")}
    parents = {use: parent["name"] for use, parent in artifact.manifest["parents"].items()}
    played = [name for name in memories if name.startswith("source") and name.endswith("random")]
    source = memories[parents["source_memory"] if not played else played[0]]
    f = models[parents["model"]] if "model" in parents else next(iter(models.values()))
    q = agents[parents["q"]] if "q" in parents else list(agents.values())[-1]  # the oldest
    model = load_model(f, CPU).eval()
    c = in_units_of(load_correspondence(artifact, CPU), model.scaling).eval()
    knowledge = Knowledge(
        _memory(source),
        _memory(memories[parents["target_memory"]]),
        load_q_function(q, CPU),
        model,
        RewardsLearnt.from_manifest(q),
        held_out_loss(f, source),
    )
    scorer = Scorer(knowledge, np.random.default_rng(0), scored_transitions(knowledge))
    return scorer.score(c)["value"]


def _memory(artifact: Artifact) -> ReplayMemory:
    manifest = check_memory(artifact.path)
    return ReplayMemory.from_rows(read_rows(artifact.path, manifest, lambda rows: None), CPU)


def method_of(artifact: Artifact) -> str | None:
    """Whose correspondence it is.

    None of the last one of a training, which nobody plays, and of :mod:`benchmarks.calibration`'s.
    """
    name = artifact.name
    if artifact.manifest.get("selection") == "last":
        return None
    if name.startswith(PREFIX):
        return name.removeprefix(PREFIX).partition("-")[0]
    return OURS if name.startswith(AUTO) else None


def missing(
    suite: Suite, pairs: list[Pair], known: list[ScoredRun]
) -> Iterator[tuple[Path, Played, str, Artifact]]:
    """The runs that were played and not scored yet."""
    scored = {(run.pair, run.seed, run.method) for run in known}
    for pair, seed in product(pairs, SEEDS):
        played = suite.played_here(pair, seed)
        if played is None or pair.control or not {SOURCE, RANDOM} <= played["means"].keys():
            continue
        if played["means"][SOURCE] <= played["means"][RANDOM]:
            continue  # nothing could be kept
        project = suite.project(pair, seed)
        for artifact in find_artifacts(project, "corr"):
            method = method_of(artifact)
            if method in played["means"] and (pair.name, seed, method) not in scored:
                yield project, played, method, artifact


def summary(runs: list[ScoredRun]) -> list[str]:
    """How scores rank shares, and what was kept in each band of scores."""
    scores, shares = np.array([run.score for run in runs]), np.array([run.share for run in runs])
    exact, near = (
        spearman(list(by), list(of))
        for by, of in ((scores, shares), (scores.round(2), np.minimum(shares, 1.0).round(2)))
    )
    lines = [
        f"{len(runs)} runs: Spearman's rank correlation {exact:.2f}",
        f"with both to the hundredth, shares above 1 as 1: {near:.2f}",
        f"of the means over the seeds of a pair and method: {_of_means(runs):.2f}",
    ]
    for low, high in BANDS:
        kept = shares[(scores >= low) & ((scores < high) | (high == 1.0))]
        if len(kept):
            enough = int((kept >= 0.95).sum())
            least, most = kept.min(), kept.max()
            lines.append(
                f"{low} to {high}: {len(kept)} runs, {enough} kept 0.95 or more, "
                f"{least:.2f} to {most:.2f}"
            )
    return lines


def _of_means(runs: list[ScoredRun]) -> float:
    """Spearman's rank correlation of the mean score and share of each pair and method."""
    by_cell: dict[tuple[str, str], list[ScoredRun]] = {}
    for run in runs:
        by_cell.setdefault((run.pair, run.method), []).append(run)
    cells = by_cell.values()
    return spearman(
        [float(np.mean([run.score for run in cell])) for cell in cells],
        [float(np.mean([run.share for run in cell])) for cell in cells],
    )


def oracle(suite: Suite, pairs: list[Pair], runs: list[ScoredRun]) -> str:
    """How other games of the same players rank the shares: no score can know chance.

    The games of the agent, of random play and of each run are drawn again from those played.
    """
    named = {pair.name: pair for pair in pairs}
    games = {
        key: _games(suite.project(named[key[0]], key[1]))
        for key in {(run.pair, run.seed) for run in runs}
    }
    random, shares = np.random.default_rng(0), [run.share for run in runs]
    found = []
    for _ in range(REDRAWN):
        again = []
        for run in runs:
            played = games[run.pair, run.seed]
            low, high, mean = (
                float(random.choice(played[who], len(played[who])).mean())
                for who in (RANDOM, SOURCE, run.method)
            )
            again.append((mean - low) / (high - low) if high > low else 0.0)
        found.append(spearman(again, shares))
    return f"an oracle that knows all but the chance of games: {np.mean(found):.2f}"


def _games(project: Path) -> dict[str, list[float]]:
    """The returns of every player's games, as the suite calls the players."""
    return {
        player_of(games): games["returns"]
        for games in evaluations(Project(project))
        if games["settings"].get("repeat_action_probability") is None
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scored_runs", description=__doc__)
    parser.add_argument("directory", type=Path, help="that of the suite")
    parser.add_argument("names", nargs="*", help="pairs, or sources; all that are there by default")
    asked = parser.parse_args()
    record = asked.directory / "scored.jsonl"
    runs = [ScoredRun(**line) for line in read_lines(record)]
    suite = Suite(asked.directory)
    for project, played, method, artifact in missing(suite, choose_pairs(asked.names), runs):
        low, high = (played["means"][who] for who in (RANDOM, SOURCE))
        share = (played["means"][method] - low) / (high - low)
        run = ScoredRun(played["pair"], played["seed"], method, score(project, artifact), share)
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(run)) + "\n")
        print(run, flush=True)
        runs.append(run)
    print("\n".join([*summary(runs), oracle(suite, choose_pairs([]), runs)]))


if __name__ == "__main__":
    main()
