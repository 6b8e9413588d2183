"""``train-dqn --extend``: a finished training goes on.

It is what it was until the longer one is whole.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import files_of, run_in_process

from corrtool.files.sealed import read_sealed_json
from corrtool.memory import ReplayMemory, read_rows
from corrtool.project.artifacts import read_artifact
from corrtool.project.memory_files import check_memory
from corrtool.project.weights import load_weights
from corrtool.q_learning.progress import StartingPoint
from corrtool.runs.limits import TimeLimit
from corrtool.runs.loop import Loop
from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")
TRAIN = ("train-dqn", *TINY, "--eval-every", 0)


def run_of(lab: Path) -> Path:
    return lab / "runs" / "train-dqn" / "source-dqn"


def record_of(lab: Path) -> dict[str, Any]:
    return read_sealed_json(run_of(lab) / "run.json")


@pytest.fixture
def trained(cartpole: Callable[..., Path]) -> Path:
    lab = cartpole()
    assert run_in_process(*TRAIN, "-p", lab, "--env-steps", 600) == 0
    return lab


def test_one_that_was_interrupted_is_not_thrown_away_for_another_length(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advance, longer = Loop.advance, (*TRAIN, "-p", trained, "--extend", "--env-steps")

    def interrupt(loop: Loop, count: int, *rest: Any) -> None:
        advance(loop, count, *rest)
        if loop.done >= 1_000:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Loop, "advance", interrupt)
    assert run_in_process(*longer, 1_500) == 143
    monkeypatch.undo()
    left = files_of(run_of(trained))
    capsys.readouterr()
    assert run_in_process(*longer, 1_600) == 2
    said = capsys.readouterr().err
    assert "on its way to 1,500 env steps" in said and "env-steps was 1500, now 1600" in said
    assert files_of(run_of(trained)) == left
    assert run_in_process(*longer, 1_500) == 0
    assert record_of(trained)["result"]["env_steps"] >= 1_500
    assert run_in_process(*longer, 1_600) == 0


def test_it_goes_on_with_weights_memory_counters_and_metrics(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, lines = record_of(trained), read_metrics(run_of(trained) / "metrics.jsonl")
    weights = load_weights(read_artifact(trained, "q", "source-dqn"))
    path = read_artifact(trained, "memory", "source-dqn").path
    rows = read_rows(path, check_memory(path))
    apply_to, begun = StartingPoint.apply_to, []

    def spy(self: StartingPoint, run: Any, learner: Any, memory: ReplayMemory) -> None:
        apply_to(self, run, learner, memory)
        for network in (learner.q_function, learner.target, learner.ema):
            assert all(
                bool((value == weights[name]).all()) for name, value in network.state_dict().items()
            )
        held = memory.slot_range(0, memory.slots_written)
        assert (held.frames == rows.frames).all() and held.records == rows.records == 400
        last = held.fields["valid"][-2 * rows.lanes : -rows.lanes]
        ended = held.fields["terminated"] | held.fields["truncated"]
        assert last.any() and ended[-2 * rows.lanes : -rows.lanes][last].all()
        begun.append(
            (
                self.progress.env_steps,
                self.progress.games,
                learner.gradient_steps,
                self.progress.mean_return,
            )
        )

    monkeypatch.setattr(StartingPoint, "apply_to", spy)
    longer = (*TRAIN, "-p", trained, "--env-steps", 1_500, "--extend")
    assert run_in_process(*longer) == 0
    result = before["result"]
    ((*counters, mean_return),) = begun
    assert counters == [result[name] for name in ("env_steps", "games", "gradient_steps")]
    assert mean_return == pytest.approx(result["mean_return_20"])
    after = record_of(trained)
    made = {artifact["kind"]: artifact["sha256"] for artifact in before["artifacts"]}
    assert after["options"] == {"extended_from": {"env_steps": result["env_steps"], **made}}
    assert after["result"]["env_steps"] >= 1_500 and after["result"]["games"] > result["games"]
    # (1,500 - 200) / 20: an update for every 20 steps from the 200th on, none of them made up for.
    due = (after["result"]["env_steps"] - 200) // 20
    assert after["result"]["gradient_steps"] in (due - 1, due)  # none after the last steps
    assert after["artifacts"] != before["artifacts"]
    longer_lines = read_metrics(run_of(trained) / "metrics.jsonl")
    assert longer_lines[: len(lines)] == lines and len(longer_lines) > len(lines)
    games = [line["game"] for line in longer_lines if line["event"] == "game"]
    assert games == list(range(1, after["result"]["games"] + 1))
    (progress,) = [line for line in longer_lines[len(lines) :] if line["event"] == "progress"]
    assert progress["epsilon"] == 0.001  # of 1,500 steps the last two fifths are played greedily
    monkeypatch.undo()
    files = files_of(trained)
    capsys.readouterr()
    assert run_in_process(*longer) == 0  # it is done already
    assert files_of(trained) == files
    assert (
        run_in_process(*TRAIN, "-p", trained, "--env-steps", 2_000, "--extend") == 0
    )  # and once more
    assert (
        record_of(trained)["options"]["extended_from"]["env_steps"] == after["result"]["env_steps"]
    )
    assert run_in_process("verify", "-p", trained) == 0


def test_it_can_be_interrupted_and_keeps_the_shorter_one_until_it_ends(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(run_of(trained))
    longer = (*TRAIN, "--env-steps", 1_500, "--extend")
    advance = Loop.advance

    def interrupted(loop: Loop, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        advance(loop, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", interrupted)
        assert run_in_process(*longer, "-p", trained) == 143
    assert files_of(run_of(trained).with_name(".source-dqn.replaced")) == before
    capsys.readouterr()
    assert run_in_process(*longer, "-p", trained, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["begun"]
    assert run_in_process(*longer, "-p", trained) == 0
    after = record_of(trained)
    assert after["resumptions"] == 1 and after["result"]["env_steps"] >= 1_500
    assert (
        after["options"]["extended_from"]["env_steps"]
        == json.loads(before["run.json"])["result"]["env_steps"]
    )
    assert not run_of(trained).with_name(".source-dqn.replaced").exists()


def test_a_longer_one_that_was_cut_short_goes_on(trained: Path) -> None:
    longer = (*TRAIN, "-p", trained, "--env-steps", 3_000, "--extend")
    short = (*TRAIN, "-p", trained, "--env-steps", 600, "--max-minutes", 30, "--name", "limited")
    assert run_in_process(*short) == 0
    limited = (*longer, "--name", "limited", "--max-minutes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimeLimit, "over", lambda self: True)
        assert run_in_process(*limited, 30) == 0
    run = run_of(trained).with_name("limited")
    cut = read_sealed_json(run / "run.json")
    assert cut["result"]["cut"] and cut["result"]["env_steps"] < 3_000
    assert run_in_process(*limited, 60) == 0
    record = read_sealed_json(run / "run.json")
    assert record["result"]["env_steps"] >= 3_000 and record["options"] == cut["options"]


def test_one_that_had_a_time_limit_is_extended_without_one(trained: Path) -> None:
    named = (*TRAIN, "-p", trained, "--name", "had-a-limit")
    assert run_in_process(*named, "--env-steps", 600, "--max-minutes", 30) == 0
    assert run_in_process(*named, "--env-steps", 800, "--extend") == 0
    record = read_sealed_json(run_of(trained).with_name("had-a-limit") / "run.json")
    assert record["result"]["env_steps"] >= 800


def test_what_fails_at_once_leaves_the_finished_run(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(trained)
    monkeypatch.setattr(StartingPoint, "apply_to", lambda *_: 1 / 0)
    assert run_in_process(*TRAIN, "-p", trained, "--env-steps", 1_500, "--extend") == 1
    assert files_of(trained) == before


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--env-steps", 300), "give a larger --env-steps"),
        (("--env-steps", 900, "--double-q"), "double-q was False, now True"),
        (("--env-steps", 900, "--seed", 1, "--name", "source-dqn"), "seed was 0, now 1"),
        (("--env-steps", 900, "--name", "other"), "no finished train-dqn 'other'"),
        (("--env-steps", 900, "--overwrite"), "contradict each other"),
    ],
)
def test_what_cannot_be_extended_is_said(
    trained: Path, flags: tuple[Any, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(trained)
    assert run_in_process(*TRAIN, "-p", trained, "--extend", *flags) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert files_of(trained) == before


def test_artifacts_that_are_no_longer_those_of_the_run_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_in_process("train-dqn", *TINY, "-p", trained, "--env-steps", 700, "--name", "other")
        == 0
    )
    q = trained / "weights" / "q"
    (q / "other.safetensors").replace(q / "source-dqn.safetensors")
    assert run_in_process(*TRAIN, "-p", trained, "--env-steps", 900, "--extend") == 3
    assert "no longer what was to be extended" in capsys.readouterr().err
    assert record_of(trained)["state"] == "finished"
