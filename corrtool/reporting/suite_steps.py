"""Environment steps until a task is played nearly as well as by its agent.

Through a correspondence, and from nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypedDict

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import read_artifact
from corrtool.runs.metrics import metrics_path, read_metrics
from corrtool.runs.records import finished_run, run_directory


class Steps(TypedDict):
    """Environment steps.

    Attributes:
        target: those of the target's memory, from which a correspondence was learnt. Its play
            tests are not counted.
        source: those after which the source's agent, as it learnt from nothing, first had enough
            in a play test; these are not counted either.
    """

    target: int
    source: int


def steps_to(enough: float, root: Path, corr: str) -> Steps | None:
    """Of a correspondence and its agent in the project at ``root``.

    None where nothing is known: the agent comes from elsewhere, or has ``enough``, a mean return,
    in no play test, or in the first one already, which may come late.
    """
    with contextlib.suppress(ArtifactError, KeyError, TypeError):
        learnt = finished_run(run_directory(root, "learn-corr", corr))
        if learnt is None:
            return None
        parents = learnt[1]["parents"]
        memory = read_artifact(root, "memory", parents["target_memory"]["name"])
        agent = finished_run(run_directory(root, "train-dqn", parents["q"]["name"]))
        lines = [] if agent is None else read_metrics(metrics_path(agent[0]))
        tests = [line for line in lines if line["event"] == "play_test"]
        good = [line["env_steps"] for line in tests if line["mean_return"] >= enough]
        if good and good[0] != tests[0]["env_steps"]:
            return {"target": int(memory.manifest["records"]), "source": int(good[0])}
    return None
