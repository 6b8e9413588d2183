"""Every stage on targets that views make: of vectors, of pictures, and of actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from support.commands import run_in_process

STAGES = ("train-dqn", "collect", "train-model", "learn-corr", "evaluate", "finetune")
PLANES = ["--source-kwarg", "shape=[10, 10, 4]", "--source-kwarg", "dtype=bool"]


def transitions(lab: Path, name: str) -> np.ndarray:
    """One field of M_T, of the rows that are transitions."""
    memory = lab / "memories" / "target-random.zarr"
    values, valid = (
        np.asarray(zarr.open_array(memory / field, mode="r")[:]) for field in (name, "valid")
    )
    shown: np.ndarray = values[valid]
    return shown


@pytest.mark.parametrize(
    ("source", "views", "frame_shape"),
    [
        (["Acrobot-v1"], ["orthogonal:3", "pad:2"], (8,)),
        (["odd_environments:Wide-v0"], ["noise:0.1", "actions:2,0,1"], (2,)),
        (
            ["odd_environments:Picture-v0", *PLANES, "--source-kwarg", "high=1"],
            ["channels:3,1,0,2", "actions:1,0", "shift:1,0", "zoom:1.1", "camera:1", "noise:5"],
            (4, 10, 10),
        ),
    ],
    ids=["vector", "actions", "picture"],
)
def test_every_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: list[str],
    views: list[str],
    frame_shape: tuple[int, ...],
) -> None:
    monkeypatch.setenv("CORRTOOL_TRUST", "odd_environments")
    lab, flags = tmp_path / "lab", [part for view in views for part in ("--target-view", view)]
    assert run_in_process("init", lab, "--source", *source, *flags) == 0
    assert f"target: {source[0]} {' '.join(views)} (" in capsys.readouterr().out
    for stage in STAGES:
        assert run_in_process(stage, "-p", lab, "--preset", "tiny", "--quiet") == 0, stage
    assert transitions(lab, "frames").shape[1:] == frame_shape
    assert run_in_process("verify", "-p", lab, "--quiet") == 0


def test_a_memory_has_the_actions_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment pays for its action 0, which is the agent's 1 in 2,0,1."""
    monkeypatch.setenv("CORRTOOL_TRUST", "odd_environments")
    lab = tmp_path / "lab"
    flags = ["--source", "odd_environments:Wide-v0", "--target-view", "actions:2,0,1", "--quiet"]
    assert run_in_process("init", lab, *flags) == 0
    assert run_in_process("collect", "-p", lab, "--preset", "tiny", "--quiet") == 0
    actions, rewards = transitions(lab, "actions"), transitions(lab, "rewards")
    assert set(actions.tolist()) == {0, 1, 2}
    assert np.array_equal(rewards == 1, actions == 1)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("actions:1,0", "actions:1,0 is not a permutation of 3 actions"),
        ("camera:1", "view 'camera:1' is for image states"),
        ("channels:1,0", "view 'channels:1,0' is for image or signal states"),
        ("pad:0", "view 'pad:0' cannot be made; write pad:"),
    ],
)
def test_init_refuses_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], view: str, said: str
) -> None:
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", "Acrobot-v1", "--target-view", view) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not lab.exists()
