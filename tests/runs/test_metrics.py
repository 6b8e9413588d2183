"""Metrics of a run that was killed, as TensorBoard's own reader sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corrtool.runs.metrics import MetricsLog, read_metrics

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def steps_in_tensorboard(directory: Path) -> list[int]:
    reader = event_accumulator.EventAccumulator(str(directory / "events"))
    reader.Reload()
    return [event.step for event in reader.Scalars("loss")]


def write(log: MetricsLog, steps: range) -> None:
    for step in steps:
        log.write(step, {"loss": 1.0 / step})


def test_what_came_after_the_checkpoint_is_shown_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, tensorboard=True)
    write(log, range(1, 5))
    saved = log.sync()
    write(log, range(5, 9))  # lost with the process
    log.close()
    log = MetricsLog(tmp_path, saved, tensorboard=True)
    write(log, range(5, 7))
    log.close()
    assert steps_in_tensorboard(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 6


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    for _ in range(2):
        log = MetricsLog(tmp_path, tensorboard=True)
        write(log, range(1, 4))
        log.close()
    assert steps_in_tensorboard(tmp_path) == [1, 2, 3]


def test_a_checkpoint_that_does_not_tell_its_step_goes_on(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    write(log, range(1, 3))
    saved = log.sync()
    log.close()
    del saved["step"]  # as earlier versions wrote it
    log = MetricsLog(tmp_path, saved, tensorboard=True)
    write(log, range(3, 5))
    log.close()
    assert steps_in_tensorboard(tmp_path) == [3, 4]
