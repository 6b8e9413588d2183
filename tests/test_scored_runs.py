"""Scores of finished runs beside what they kept: benchmarks/scored_runs.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import scored_runs
from benchmarks.scored_runs import ScoredRun, in_units_of, method_of, oracle, summary
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.project.artifacts import Artifact
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,))


def scaling(mean: float, deviation: float) -> StateScaling:
    return StateScaling(SPEC, torch.full((2,), mean), torch.full((2,), deviation))


def test_other_units_change_no_raw_state() -> None:
    generator = GeneratorDescription.of(LearnCorrSettings(generator="linear"), SPEC)
    c = Correspondence(scaling(1.0, 2.0), scaling(0.0, 1.0), generator)
    raw, source = torch.tensor([[3.0, -1.0]]), torch.tensor([[0.5, 4.0]])
    before = c.source_scaling.model_to_raw(c.translate(raw))
    back = c.source_to_target(c.source_scaling.raw_to_model(source))
    changed = in_units_of(c, scaling(-3.0, 0.5))
    torch.testing.assert_close(changed.source_scaling.model_to_raw(changed.translate(raw)), before)
    torch.testing.assert_close(
        changed.source_to_target(changed.source_scaling.raw_to_model(source)), back
    )


@pytest.mark.parametrize(
    ("name", "selection", "method"),
    [("auto-seed3", "best", "ours"), ("suite-paper-seed1", "best", "paper"),
     ("suite-gan", "best", "gan"), ("auto-last", "last", None), ("trial-2", "best", None)],
)  # fmt: skip
def test_whose_correspondence_it_is(name: str, selection: str, method: str | None) -> None:
    artifact: Any = Artifact.__new__(Artifact)
    object.__setattr__(artifact, "name", name)
    object.__setattr__(artifact, "manifest", {"selection": selection})
    assert method_of(artifact) == method


def test_the_summary_counts_what_was_kept_in_each_band() -> None:
    runs = [
        ScoredRun("a/x", 0, "ours", 1.0, 1.004),
        ScoredRun("a/x", 1, "ours", 0.9, 1.0),
        ScoredRun("a/x", 0, "gan", 0.0, -0.1),
        ScoredRun("a/y", 0, "paper", 0.6, 0.5),
    ]
    # By scores the ranks are 3, 2, 0, 1, and so they are by shares; rounded, 2.5 twice.
    assert summary(runs) == [
        "4 runs: Spearman's rank correlation 1.00",
        "with both to the hundredth, shares above 1 as 1: 0.95",
        "of the means over the seeds of a pair and method: 1.00",
        "0.9 to 1.0: 2 runs, 2 kept 0.95 or more, 1.00 to 1.00",
        "0.5 to 0.9: 1 runs, 0 kept 0.95 or more, 0.50 to 0.50",
        "0.0 to 0.2: 1 runs, 0 kept 0.95 or more, -0.10 to -0.10",
    ]


@pytest.mark.parametrize(("games", "found"), [([2.0] * 9, "1.00"), ([-40.0, 44.0], None)])
def test_an_oracle_knows_all_but_chance(
    monkeypatch: pytest.MonkeyPatch, games: list[float], found: str | None
) -> None:
    """Of random play that has 0 and an agent that has 4: a half by any draw of equal games."""
    played = {"random": [0.0], "source": [4.0], "ours": games, "gan": [1.0], "paper": [3.0]}
    monkeypatch.setattr(scored_runs, "_games", lambda project: played)
    suite: Any = SimpleNamespace(project=lambda pair, seed: Path("p"))
    pair: Any = SimpleNamespace(name="a/x")
    runs = [
        ScoredRun("a/x", 0, "ours", 0.9, 0.5),
        ScoredRun("a/x", 0, "gan", 0.0, 0.25),
        ScoredRun("a/x", 0, "paper", 0.6, 0.75),
    ]
    told = oracle(suite, [pair], runs)
    assert told.startswith("an oracle that knows all but the chance of games: ")
    assert (told[-4:] == "1.00") is (found == "1.00")
