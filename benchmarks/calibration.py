"""`python -m benchmarks.calibration DIR [NAME …] [--seeds N …]`: does the score know the games?

Takes the projects that `corrtool reproduce suite -p DIR` has left. In each it learns further
correspondences in ways that go right, go wrong or go slowly: no search for a start, a few degrees
off, a network instead of a linear map, all losses, the identity for permuted actions. While they
learn they are scored and play, checkpoint by checkpoint. `--fit` prints how well scores rank
returns, and how well one half of the games ranks the other, which bounds that. `--plot FILE` draws
them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import corrtool
from corrtool.experiments.pairs import Pair, choose_pairs
from corrtool.project.artifacts import find_artifacts
from corrtool.reporting.suite import RANDOM, SOURCE, Played
from corrtool.runs.results import Score
from corrtool.workflows.suites.projects import Suite

GAMES = 20
CHECKPOINTS = 8
_LINEAR = ("--generator", "linear", "--linear-starts", "1")
_MODEL_ONLY = ("--lambda-cyc", "0", "--lambda-q", "0", "--lambda-m", "100")
_ALL = ("--lambda-cyc", "1", "--lambda-q", "1", "--lambda-m", "1")
_NO_SEARCH = ("--angle-starts", "1")
_RELATIVE = ("--model-loss", "relative", "--spatial-learning-rate", "1e-4")
_AFFINE = ("--generator", "affine", *_RELATIVE)
_GAIN_SHIFT = ("--generator", "gain-shift", *_RELATIVE, "--signal-starts")
_PICTURES: dict[str, tuple[str, ...]] = {
    "affine, no search": (*_AFFINE, *_NO_SEARCH),
    "resnet, all losses": ("--generator", "resnet", *_ALL),
}
WAYS: dict[str, dict[str, tuple[str, ...]]] = {  # to learn; by the settings_kind of the states
    "signal": {
        "gain-shift, no search": (*_GAIN_SHIFT, "1"),
        "gain-shift, 4 starts": (*_GAIN_SHIFT, "4"),
        "resnet, all losses": ("--generator", "resnet", *_ALL),
    },
    "vector": {
        "linear, one start": (*_LINEAR, *_MODEL_ONLY),
        "linear, one start, slowly": (*_LINEAR, *_MODEL_ONLY, "--learning-rate", "1e-4"),
        "linear, all losses": (*_LINEAR, *_ALL),
        "mlp": ("--generator", "mlp", *_MODEL_ONLY),
    },
    "grid": _PICTURES,
    "image": _PICTURES,
}
GRADIENT_STEPS = {"signal": 240, "vector": 800, "grid": 160, "image": 160}


@dataclass(frozen=True)
class Trial:
    """A correspondence that was scored and played.

    Attributes:
        way: how it was learnt.
        returns: of its games, each as a share of the way from random play to the source's agent.
    """

    pair: str
    seed: int
    way: str
    gradient_steps: int
    returns: tuple[float, ...]
    score: Score

    @property
    def normalised(self) -> float:
        """The mean return."""
        return float(np.mean(self.returns))


# What the number of a score may be made of, each in [0, 1].
def _share(score: Score) -> float:
    return score["model_share"]


def _ratio(score: Score) -> float:
    """The least loss there could be, by the loss: tells 0.01 from 0.02, where shares are 1."""
    if score["model_share"] == 0:
        return 0.0
    return min(1.0, score["source_model_loss"] / max(1e-9, score["model_loss"]))


def _bellman(score: Score) -> float:
    share = score["bellman_share"]
    return 1.0 if share is None else share


EXPONENTS = (0.0, 0.25, 0.5, 1.0, 2.0)
Formula = tuple[float, float, float]  # exponents of the share, the ratio and the Bellman share


def value(score: Score, formula: Formula) -> float:
    """A number in [0, 1]: a product of powers."""
    parts = (_share(score), _ratio(score), _bellman(score))
    return float(np.prod([part**e for part, e in zip(parts, formula, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("directory", type=Path, help="that of the suite")
    parser.add_argument("names", nargs="*", help="pairs, or sources; all that are there by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="which seeds")
    parser.add_argument("--fit", action="store_true", help="print what fits, and play nothing")
    parser.add_argument("--plot", type=Path, help="draw scores and returns, and play nothing")
    asked = parser.parse_args()
    record = asked.directory / "calibration.jsonl"
    if asked.fit:
        print("\n".join(fit(read_trials(record))))
    if asked.plot:
        plot(read_trials(record), asked.plot)
    if asked.fit or asked.plot:
        return
    suite = Suite(asked.directory)
    for seed, pair in product(asked.seeds, choose_pairs(asked.names)):
        played = suite.played_here(pair, seed)
        if played is None or pair.control or not {SOURCE, RANDOM} <= played["means"].keys():
            continue
        # An agent no better than random play has nothing that could be kept.
        if played["means"][SOURCE] > played["means"][RANDOM]:
            learn_all(suite.project(pair, seed), pair, played, record)


def learn_all(project: Path, pair: Pair, played: Played, record: Path) -> None:
    """Learn, score and play what is missing of a pair's trials."""
    seed = played["seed"]
    done = {(t.pair, t.seed, t.way) for t in read_trials(record)}
    kind = states_kind(project)
    steps = GRADIENT_STEPS[kind]
    for number, (way, flags) in enumerate(ways(kind, pair.views).items()):
        if (pair.name, seed, way) in done:
            continue
        learnt = corrtool(
            *("learn-corr", "-p", project, "--seed", seed, "--name", f"trial-{number}"),
            *("--recipe", "none", "--action-map", "identity", "--overwrite", *flags),
            *("--gradient-steps", steps, "--eval-every", steps // CHECKPOINTS),
            *("--eval-games", GAMES),
        )
        trials = checkpoints(project / "runs" / "learn-corr" / learnt["name"], played, way)
        with record.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(trial)) + "\n" for trial in trials)
        for trial in trials:
            print(pair.name, seed, way, trial.gradient_steps, round(trial.normalised, 2),
                  round(trial.score["value"], 2), flush=True)  # fmt: skip


def checkpoints(run: Path, before: Played, way: str) -> list[Trial]:
    """What a run of learn-corr was each time that it was scored and played."""
    played: dict[int, list[float]] = {}
    scored: dict[int, Score] = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event.get("event") == "play_test":
            played[event["gradient_steps"]] = event["returns"]
        elif event.get("event") == "score":
            scored[event["gradient_steps"]] = {name: event[name] for name in Score.__annotations__}  # type: ignore[assignment]
    random = before["means"][RANDOM]
    span = before["means"][SOURCE] - random
    return [
        Trial(
            *(before["pair"], before["seed"], way, step),
            tuple((one - random) / span for one in returns),
            scored[step],
        )
        for step, returns in played.items()
        if step in scored
    ]


def states_kind(project: Path) -> str:
    """The kind of states that a project's tasks have, by its memories."""
    return find_artifacts(project, "memory")[0].states.settings_kind


def ways(kind: str, views: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The flags of each way to learn a pair whose target has these views."""
    flags = dict(WAYS[kind])
    if "affine, no search" in flags and (right := right_degrees(views)) is not None:
        for off in (10, 25):
            near = ("--angle-init", f"{right + off:g}")
            flags[f"affine, {off}° off"] = (*_AFFINE, *_NO_SEARCH, *near)
    return flags


def right_degrees(views: Sequence[str]) -> float | None:
    """The angle of G_T that undoes the views; None where no angle does without a mirror image."""
    parts = [view.partition(":") for view in views]
    if any(name == "flip" for name, _, _ in parts):
        return None
    return -sum(float(degrees) for name, _, degrees in parts if name == "rotate")


def read_trials(record: Path) -> list[Trial]:
    """The trials that were written, none where there is no file."""
    return [Trial(**line) for line in read_lines(record)]


def read_lines(record: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON, none where there is no file."""
    if not record.exists():
        return []
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 0, of equal values their mean."""
    array = np.asarray(values, dtype=np.float64)
    return np.array([(array < v).sum() + ((array == v).sum() - 1) / 2 for v in array])


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of both is constant."""
    x, y = ranks(first), ranks(second)
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _correlation(trials: Sequence[Trial], formula: Formula) -> float:
    values = [value(trial.score, formula) for trial in trials]
    return spearman(values, [trial.normalised for trial in trials])


def formulas() -> Iterator[Formula]:
    """Those that are tried."""
    yield from ((a, b, c) for a, b, c in product(EXPONENTS, repeat=3) if a or b or c)


def best_formula(trials: Sequence[Trial]) -> Formula:
    """The one that ranks so many trials best."""
    return max(formulas(), key=lambda formula: _correlation(trials, formula))


def fit(trials: list[Trial]) -> list[str]:
    """Lines that say how scores rank returns.

    The number that a score has was fitted to none of these trials. Formulas are fitted to those of
    all other sources: pairs of one source share its agent and its F.
    """
    lines = []
    for source in sorted({source_of(trial) for trial in trials}):
        others = [trial for trial in trials if source_of(trial) != source]
        left_out = [trial for trial in trials if source_of(trial) == source]
        stored = _stored_correlation(left_out)
        line = f"{source}: {len(left_out)} trials, {stored:.2f} by their scores"
        if others:
            formula = best_formula(others)
            line += f", {_correlation(left_out, formula):.2f} by {formula}, which fits the others"
        lines.append(line)
    lines.append(f"all {len(trials)} by their scores: {_stored_correlation(trials):.3f}")
    halves = ([float(np.mean(t.returns[part::2])) for t in trials] for part in (0, 1))
    r = max(0.0, spearman(*halves))
    most = float(np.sqrt(2 * r / (1 + r)))  # Spearman and Brown: of the mean of both halves
    lines.append(
        f"one half of the games by the other: {r:.3f}; so no score can do more than {most:.3f}"
    )
    return lines


def source_of(trial: Trial) -> str:
    """The name of its pair's source."""
    return trial.pair.partition("/")[0]


def _stored_correlation(trials: Sequence[Trial]) -> float:
    return spearman([t.score["value"] for t in trials], [t.normalised for t in trials])


def plot(trials: list[Trial], file: Path) -> None:
    """Draw every trial: its stored score, and what it kept."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.5, 4.5), layout="constrained")
    for source in sorted(set(map(source_of, trials))):
        of = [trial for trial in trials if source_of(trial) == source]
        axes.scatter(
            [trial.score["value"] for trial in of],
            [np.clip(trial.normalised, -0.5, 1.2) for trial in of],
            label=source,
            s=14,
        )
    axes.set_xlabel("score, without playing")
    axes.set_ylabel("share of the way from random to the agent")
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=140)


if __name__ == "__main__":
    main()
