"""Tasks that are heard, through the whole chain of stages: Atari's sound, and a stereo signal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from support.commands import one_line_error, run_in_process
from support.hearing import HEARING

from corrtool.errors import UsageError
from corrtool.runs.metrics import read_metrics
from corrtool.states import SIGNAL, StateSpec
from corrtool.tasks import parse_task
from corrtool.workflows.pair import TriedTask, check_pair

TINY = ("--preset", "tiny", "--device", "cpu")
PONG = ("--source", "ALE/Pong-v5", "--observation-key", "sound")


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    assert run_in_process(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


FEW = {
    "TRAIN_DQN": {"ENV_STEPS": 80, "LEARNING_STARTS": 20, "RANDOM_RECORDS": 80, "LANES": 1},
    "COLLECT": {"RECORDS": 80, "LANES": 1},
    "TRAIN_MODEL": {"GRADIENT_STEPS": 4},
    "LEARN_CORR": {"GRADIENT_STEPS": 4},
    "EVALUATE": {"LANES": 1},
    "FINETUNE": {"ENV_STEPS": 60, "LEARNING_STARTS": 20, "LANES": 1},
}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that are shorter still than those of the preset tiny.

    They play one game at a time: an emulator takes a quarter of a second to begin.
    """
    for stage, settings in FEW.items():
        for name, value in settings.items():
            monkeypatch.setenv(f"CORRTOOL_{stage}_{name}", str(value))


@pytest.mark.usefixtures("few")
def test_every_stage_hears_pong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = tmp_path / "pong"
    views = ("--target-view", "gain:0.5", "--target-view", "pitch:1.25")
    short = ("--stack", 2, "--max-episode-steps", 30)
    made = told(capsys, "init", lab, *PONG, *short, *views)
    assert made["tasks"]["target"]["states"] == {
        "kind": "signal", "frame_shape": [1, 2048], "stack": 2, "stack_order": [0, 1],
    }  # fmt: skip
    for stage in ("train-dqn", "collect", "train-model", "learn-corr", "finetune"):
        result = told(capsys, stage, "-p", lab, *TINY)
        assert result["stage"] == stage
    video = tmp_path / "game.gif"
    assert told(capsys, "evaluate", "-p", lab, *TINY, "--video", video)["games"] == 2
    assert video.stat().st_size > 0
    status = told(capsys, "status", "-p", lab)
    assert {artifact["state"] for artifact in status["artifacts"]} == {"whole"}
    explanation = told(capsys, "explain", "-p", lab, "--device", "cpu")
    places = explanation["blindness"]["source"]["by_place"]
    assert [place["where"] for place in places] == [f"channel 0 quarter {n}" for n in (1, 2, 3, 4)]
    assert any(name.endswith("worst-translated.png") for name in explanation["files"])
    told(capsys, "report", "-p", lab)
    assert told(capsys, "verify", "-p", lab)["damaged"] == []


@pytest.mark.usefixtures("few")
def test_transfer_searches_pitch_and_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "hearing"
    views = ("--target-view", "channels:1,0", "--target-view", "pitch:1.3")
    told(capsys, "init", lab, "--source", HEARING, "--signal", *views)
    for name, value in (("RECIPE", "auto"), ("ACTION_MAP", "auto"), ("RECIPE_TRIAL_STEPS", "2")):
        monkeypatch.setenv(f"CORRTOOL_LEARN_CORR_{name}", value)
    result = told(capsys, "transfer", "-p", lab, *TINY)
    assert {row["policy"] for row in result["rows"]} >= {"source", "random", "reuse", "transfer"}
    assert next(iter(result["learn_corr"]["recipe_scores"])) == "gain-shift"
    run = lab / "runs" / "learn-corr" / result["learn_corr"]["name"]
    searches = [
        line for line in read_metrics(run / "metrics.jsonl") if line["event"] == "signal_search"
    ]
    assert searches and len(searches[0]["pitches"]) == 4 * 8  # of two orders, each sign
    assert searches[0]["pitches"][0] == 1
    sheet = cv2.imread(str(next((run / "pictures").glob("step-*.png"))))
    assert sheet is not None and sheet.shape[1] > 6 * 256  # six waveforms of 128 columns, twice
    video = tmp_path / "game.gif"
    assert told(capsys, "evaluate", "-p", lab, *TINY, "--video", video)["games"] == 2
    assert video.stat().st_size > 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--source", HEARING), None),  # as numbers
        (("--source", HEARING, "--time-axis", "first"), "--signal"),
        (("--source", HEARING, "--signal", "--target", "CartPole-v1"), "too short"),
        (("--source", HEARING, "--signal", "--target-view", "rotate:90"), "image states"),
        (("--source", HEARING, "--signal", "--grayscale"), "no pictures"),
        (("--source", HEARING, "--observation-key", "x"), "no dictionary"),
        ((*PONG, "--signal"), "--observation-key sound"),
        (("--source", "ALE/Pong-v5", "--observation-key", "image"), "observation_key"),
        (("--source", "ALE/Pong-v5", "--source-kwarg", "sound_obs=true"), "dictionary"),
        (("--source", "CartPole-v1", "--target-view", "pitch:2"), "signal states"),
    ],
)
def test_init_takes_it_or_says_why_not(
    flags: tuple[str, ...],
    words: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run_in_process("init", tmp_path / "lab", *flags, "--quiet")
    assert code == (0 if words is None else 2)
    if words is not None:
        assert words in one_line_error(capsys)


def test_settings_that_do_nothing_for_signals_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "hearing"
    assert run_in_process("init", lab, "--source", HEARING, "--signal", "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
    capsys.readouterr()
    for flags, words in (
        (("--generator", "affine"), "does not take signal states"),
        (("--no-skips",), "--skips has no effect"),
        (("--linear-starts", "4"), "--linear-starts has no effect"),
        (("--signal-starts", "4"), "--signal-starts has no effect"),
    ):
        assert run_in_process("learn-corr", "-p", lab, *TINY, "--quiet", *flags) == 2
        assert words in one_line_error(capsys)


def test_signals_of_two_lengths_are_refused(tmp_path: Path) -> None:
    task = parse_task("source", {"id": HEARING, "preprocessing": {"signal": True}}, tmp_path)
    tried = [TriedTask(task, StateSpec(SIGNAL, (2, length)), 3, []) for length in (128, 4_096)]
    with pytest.raises(UsageError, match="signals have 128 samples, the target's 4,096"):
        check_pair(tried[0], tried[1], lambda settings, states: settings())
