"""Whole pipelines on real environments.

They are Pong by the example script, and vectors and one-hot states stage by stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import SmokeRun
from safetensors import safe_open
from support.commands import run_in_process

from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


def test_the_smoke_script_plays_real_pong_through_every_stage(smoke_run: SmokeRun) -> None:
    assert smoke_run.outcome.code == 0, smoke_run.outcome.err
    evaluation = next(
        json.loads(line) for line in smoke_run.outcome.out.splitlines() if line.startswith("{")
    )
    assert {
        "task",
        "policy",
        "q",
        "corr",
        "games",
        "returns",
        "mean_return",
        "ci95",
        "seed",
    } <= evaluation.keys()
    assert evaluation["task"] == "target" and evaluation["corr"] == "resnet-cyc1-q1-m1"
    assert len(evaluation["returns"]) == evaluation["games"] == 2
    assert all(-21 <= value <= 21 for value in evaluation["returns"])
    assert "8 of 8 artifacts are whole" in smoke_run.outcome.out


def test_artifacts_can_be_read_without_corrtool(pong_lab: Path) -> None:
    for path in (pong_lab / "weights").rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            assert len(list(file.keys())) > 0
    memory = pong_lab / "memories" / "target-random.zarr"
    assert zarr.open_array(memory / "frames", mode="r").shape[1:] == (1, 84, 84)
    assert int(np.sum(zarr.open_array(memory / "valid", mode="r")[:])) == 400


def test_learn_corr_logs_every_term_unweighted_and_draws_pictures(pong_lab: Path) -> None:
    run = pong_lab / "runs" / "learn-corr" / "resnet-cyc1-q1-m1"
    lines = read_metrics(run / "metrics.jsonl")
    progress = [line for line in lines if line["event"] == "progress"]
    terms = {
        "gan",
        "cycle",
        "q",
        "model",
        "source_discriminator",
        "target_discriminator",
        "learning_rate",
    }
    assert progress and all(terms <= line.keys() for line in progress)
    assert [line["gradient_steps"] for line in lines if line["event"] == "play_test"] == [40]
    assert {path.name for path in (run / "pictures").iterdir()} == {
        "step-00000000.png",
        "step-00000040.png",
    }


def test_a_lambda_of_zero_leaves_its_term_out_of_the_log(pong_copy: Path) -> None:
    flags = (
        "--lambda-cyc",
        0,
        "--lambda-q",
        0,
        "--lambda-m",
        0,
        "--gradient-steps",
        3,
        "--eval-games",
        0,
    )
    assert run_in_process("learn-corr", "-p", pong_copy, *TINY, *flags) == 0
    run = pong_copy / "runs" / "learn-corr" / "resnet-cyc0-q0-m0"
    line = next(x for x in read_metrics(run / "metrics.jsonl") if x["event"] == "progress")
    assert "gan" in line and not {"cycle", "q", "model"} & line.keys()


@pytest.mark.parametrize("generator", ["rotation", "resnet-rotation"])
def test_rotation_generators_start_where_they_are_told(pong_copy: Path, generator: str) -> None:
    flags = (
        "--generator",
        generator,
        "--angle-init",
        30,
        "--angle-starts",
        1,
        "--gradient-steps",
        2,
        "--eval-games",
        0,
        "--name",
        "turned",
    )
    assert run_in_process("learn-corr", "-p", pong_copy, *TINY, *flags) == 0
    line = next(
        x
        for x in read_metrics(pong_copy / "runs" / "learn-corr" / "turned" / "metrics.jsonl")
        if x["event"] == "progress"
    )
    assert line["angle_degrees"] == pytest.approx(30, abs=0.2)  # two steps of 0.001 radians


def test_finetuned_q_functions_play_through_the_correspondence_they_were_finetuned_with(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--q", "target-finetune-resnet-cyc1-q1-m1", "--dry-run", "--json")
    assert run_in_process("evaluate", "-p", pong_lab, *flags) == 0
    assert json.loads(capsys.readouterr().out)["inputs"]["corr"] == "corr resnet-cyc1-q1-m1"


def test_reuse_and_scratch_are_other_ways_to_finetune(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("finetune", "-p", pong_copy, *TINY, "--no-corr") == 0
    assert run_in_process("finetune", "-p", pong_copy, *TINY, "--from-scratch") == 0
    capsys.readouterr()
    assert run_in_process("status", "-p", pong_copy, "--json") == 0
    parents = {
        a["name"]: a["parents"]
        for a in json.loads(capsys.readouterr().out)["artifacts"]
        if a["kind"] == "q"
    }
    assert set(parents["target-finetune-reuse"]) == {"q"}
    assert parents["target-finetune-scratch"] == {}


def test_vector_states_go_through_every_stage(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole("permute:2,3,0,1", "scale:-1,1,-1,1")
    for stage in ("train-dqn", "collect", "train-model", "learn-corr", "finetune"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0, stage
    assert run_in_process("learn-corr", "-p", lab, *TINY, "--generator", "mlp") == 0
    capsys.readouterr()
    assert run_in_process("evaluate", "-p", lab, "--games", 40, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["returns"]) == 40 and all(1 <= value <= 500 for value in result["returns"])
    assert run_in_process("verify", "-p", lab, "--quiet") == 0


def test_discrete_observations_go_through_every_stage_as_one_hot_vectors(tmp_path: Path) -> None:
    lab = tmp_path / "lake"
    assert (
        run_in_process(
            "init",
            lab,
            "--source",
            "FrozenLake-v1",
            "--target-view",
            "permute:" + ",".join(map(str, range(15, -1, -1))),
            "--quiet",
        )
        == 0
    )
    for stage in ("train-dqn", "collect", "train-model", "learn-corr", "evaluate", "finetune"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0, stage


def test_tensorboard_event_files_are_written_on_request(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    assert run_in_process("train-dqn", "-p", lab, *TINY, "--tensorboard") == 0
    assert list(
        (lab / "runs" / "train-dqn" / "source-dqn" / "events").glob("events.out.tfevents.*")
    )
