"""Settings under the names that they had in older versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

from corrtool.errors import UsageError
from corrtool.settings.base import choosing_names, former_names
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import STAGE_SETTINGS, TrainDqnSettings, identifying_settings
from corrtool.stages.registry import STAGES
from corrtool.workflows.call import call_with


def weight_ema(said: list[str] | None = None, **layers: Any) -> float:
    layers = {"project_values": {}, "given": {}} | layers
    say = None if said is None else said.append
    return resolve(
        TrainDqnSettings, preset="default", state_kind="image", **layers, say=say
    ).weight_ema


def test_no_present_name_is_a_former_one() -> None:
    for settings_class in STAGE_SETTINGS.values():
        assert not former_names(settings_class).keys() & settings_class().to_json().keys()


@pytest.mark.parametrize(
    ("layer", "key", "line"),
    [
        ("given", "weight_average", "--weight-average is now called --weight-ema"),
        (
            "environment",
            "weight_average",
            "CORRTOOL_TRAIN_DQN_WEIGHT_AVERAGE is now called CORRTOOL_TRAIN_DQN_WEIGHT_EMA",
        ),
        (
            "project_values",
            "weight-average",
            "[train-dqn] weight-average in corrtool.toml is now called "
            "[train-dqn] weight_ema in corrtool.toml",
        ),
    ],
)
def test_every_source_may_use_a_former_name(layer: str, key: str, line: str) -> None:
    said: list[str] = []
    assert weight_ema(said, **{layer: {key: 0.5}}) == 0.5
    assert said == [line]


def test_a_preset_may_use_a_former_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "corrtool.settings.resolve.load_preset", lambda name: {"train-dqn": {"weight_average": 0.5}}
    )
    assert weight_ema() == 0.5


def test_a_former_name_has_the_precedence_of_its_source() -> None:
    assert weight_ema(project_values={"weight_ema": 0.1}, given={"weight_average": 0.2}) == 0.2
    assert weight_ema(project_values={"weight_average": 0.1}, given={"weight_ema": 0.2}) == 0.2


@pytest.mark.parametrize(
    "keys", [("weight_ema", "weight_average"), ("weight_average", "weight_ema")]
)
def test_both_names_in_one_source_are_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="--weight-ema is given twice, as --weight-average too"):
        weight_ema(given=dict.fromkeys(keys, 0.5))
    with pytest.raises(UsageError, match="is given twice"):
        weight_ema(project_values={"weight-average": 0.5, "weight_average": 0.5})


def test_an_error_names_what_was_given() -> None:
    with pytest.raises(UsageError, match="--weight-average is 2"):
        weight_ema(given={"weight_average": 2.0})


def test_records_are_read_by_the_present_names() -> None:
    assert identifying_settings("train-dqn", {"lanes": 1, "weight_average": 0.5}) == {
        "lanes": 1,
        "weight_ema": 0.5,
    }
    assert identifying_settings("collect", {"weight_average": 0.5}) == {"weight_average": 0.5}
    assert identifying_settings("of a later version", {"a": 1}) == {"a": 1}


def test_what_only_chooses_inputs_identifies_no_run() -> None:
    recorded = {"match_play": True, "epochs": 2}
    assert identifying_settings("learn-corr", recorded) == {"epochs": 2}
    choosing = {stage: choosing_names(known) for stage, known in STAGE_SETTINGS.items()}
    assert {stage: names for stage, names in choosing.items() if names} == {
        "train-model": {"mixed_memories"},
        "learn-corr": {"match_play"},
    }
    for known in STAGE_SETTINGS.values():
        identity = known().identity()
        assert identity == identifying_settings(known.stage, known().to_json())


def test_python_takes_a_former_name() -> None:
    assert call_with(STAGES["train-dqn"], {"weight_average": 0.5}).settings == {
        "weight_average": 0.5
    }


def test_the_command_line(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dry_run = ("train-dqn", "-p", cartpole(), "--dry-run", "--json")
    assert run_in_process(*dry_run, "--weight-average", "0.5") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["settings"]["weight_ema"] == 0.5
    assert printed.err == "--weight-average is now called --weight-ema\n"
    assert run_in_process(*dry_run, "--weight-average", "0.5", "--weight-ema", "0.5") == 2
    assert "is given twice" in capsys.readouterr().err
    monkeypatch.setenv("CORRTOOL_TRAIN_DQN_WEIGHT_AVERAGE", "0.25")
    assert run_in_process(*dry_run) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["settings"]["weight_ema"] == 0.25
    assert "is now called CORRTOOL_TRAIN_DQN_WEIGHT_EMA" in printed.err
    assert run_in_process("train-dqn", "--help") == 0
    assert "weight-average" not in capsys.readouterr().out
