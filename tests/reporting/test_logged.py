"""Lines of metrics as the report reads them: strictly, since anybody can seal a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corrtool.errors import ArtifactError
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.logged import LossTerms, PlayTest, TrainingGame

GAME = {"event": "game", "env_steps": 7, "return": -1.0}
TEST = {"event": "play_test", "gradient_steps": 3, "mean_return": 2}
TERMS = {"event": "progress", "gradient_steps": 3, "gan": 0.5, "q": 0.25, "learning_rate": 1e-4}
SEARCH = {"event": "spatial_search", "start_degrees": 87.0}
START = {"event": "start", "kind": "spatial", "degrees": 3.0}


def run(directory: Path, stage: str, *lines: dict[str, Any]) -> FinishedRun[Any]:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text)
    return FinishedRun(stage, "mine", directory, {})


def test_each_event_is_read_into_its_own_type(tmp_path: Path) -> None:
    dqn = run(tmp_path, "train-dqn", GAME, {"event": "play_test", "mean_return": 1.0})
    dqn.check_metrics()  # its play tests count environment steps, and are not shown
    assert dqn.games == [TrainingGame(7, -1.0)]
    learnt = run(tmp_path, "learn-corr", SEARCH, TERMS, TEST)
    learnt.check_metrics()
    assert learnt.play_tests == [PlayTest(3, 2)]
    assert learnt.losses == [LossTerms(3, {"gan": 0.5, "q": 0.25})]
    assert learnt.start_degrees == 87.0
    assert run(tmp_path, "learn-corr").start_degrees is None


def test_the_start_that_was_taken_is_told_whatever_was_searched_for_last(tmp_path: Path) -> None:
    assert run(tmp_path, "learn-corr", SEARCH, START).start_degrees == 3.0
    assert run(tmp_path, "learn-corr", START, SEARCH).start_degrees == 3.0
    for kind in ("none", "signal", "linear"):
        no_angle = {"event": "start", "kind": kind}
        assert run(tmp_path, "learn-corr", SEARCH, no_angle).start_degrees is None


@pytest.mark.parametrize(
    "line", [GAME, TEST, TERMS, SEARCH, START], ids=lambda line: str(line["event"])
)
def test_a_line_that_lacks_a_field_or_has_another_type_is_damage(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    stage = "finetune" if line is GAME else "learn-corr"
    field = [name for name in line if name != "learning_rate"][-1]
    wrong: list[dict[str, Any]] = [line | {field: "7"}]
    if line is not TERMS:  # a correspondence need not have every term
        wrong.append({name: value for name, value in line.items() if name != field})
    for damaged in wrong:
        with pytest.raises(ArtifactError, match="damaged"):
            run(tmp_path, stage, damaged).check_metrics()
