"""What ``transfer`` says where a stage says ``--overwrite`` or ``--name``, which it has not."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import one_line_error, run_in_process, run_interrupted

from corrtool.project.artifacts import read_artifact
from corrtool.project.locks import lock_artifacts

TINY = ("--preset", "tiny", "--device", "cpu")
TRANSFER = ("transfer", *TINY, "--games", 2)
RUN = "linear-cyc1-q1-m1"
ANEW = "restore it from a copy, or make it again and come back: "


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("made") / "lab"
    view = ("--target-view", "permute:2,3,0,1", "--quiet")
    assert run_in_process("init", lab, "--source", "CartPole-v1", *view) == 0
    assert run_in_process(*TRANSFER, "--quiet", "-p", lab) == 0
    return lab


@pytest.fixture(scope="module")
def _halted(_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = shutil.copytree(_made, tmp_path_factory.mktemp("halted") / "lab")
    for there in ("runs/learn-corr", "weights/corr"):
        shutil.rmtree(lab / there)
    with (lab / "corrtool.toml").open("a") as toml:
        toml.write("\n[learn-corr]\ngradient-steps = 400\n")
    assert run_interrupted(lab, "learn-corr", *TINY, "--quiet", logged=True, seconds=0) == 143
    return lab


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Path:
    """A project in which all is done, to break."""
    return shutil.copytree(_made, tmp_path / "made")


@pytest.fixture
def halted(_halted: Path, tmp_path: Path) -> Path:
    """One whose correspondence was interrupted."""
    return shutil.copytree(_halted, tmp_path / "halted")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def settle(lab: Path, capsys: pytest.CaptureFixture[str], said: str) -> list[str]:
    """Run the command that ``transfer`` prints, as it is printed, and ``transfer`` again."""
    capsys.readouterr()
    assert run_in_process(*TRANSFER, "--quiet", "-p", lab) == 3
    line = one_line_error(capsys)
    assert said in line
    words = shlex.split(line.partition(ANEW)[2])
    assert words[-1] == "--overwrite"
    assert run_in_process(*words[1:], "--quiet") == 0
    assert run_in_process(*TRANSFER, "--quiet", "-p", lab) == 0
    return words


@pytest.mark.parametrize("file", ["metrics.jsonl", "checkpoint.safetensors", "run.json"])
def test_a_damaged_run_is_refused_with_the_command_of_its_stage(
    halted: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    damage(halted / "runs" / "learn-corr" / RUN / file)
    words = settle(halted, capsys, f"{file} is damaged; ")
    assert words[:2] == ["corrtool", "learn-corr"] and words[words.index("--name") + 1] == RUN


def test_so_is_one_without_a_record(halted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (halted / "runs" / "learn-corr" / RUN / "run.json").unlink()
    settle(halted, capsys, "run.json is missing; ")


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("weights/corr/linear-cyc1-q1-m1.safetensors", "learn-corr"),
        ("weights/q/source-dqn.safetensors", "train-dqn"),
        ("memories/target-random.zarr/frames/c/0/0", "collect"),
    ],
)
def test_so_is_a_damaged_artifact(
    made: Path, capsys: pytest.CaptureFixture[str], path: str, stage: str
) -> None:
    """The call that does not run its stage knows it by the record of its run."""
    damage(made / path)
    shutil.rmtree(made / "runs" / "evaluate")
    assert settle(made, capsys, "is damaged; ")[1] == stage
    kind, name = Path(path).parts[1:] if stage != "collect" else ("memory", "target-random")
    assert read_artifact(made, kind, Path(name).stem).manifest["stage"] == stage


def test_an_artifact_of_another_seed_is_made_with_that(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("train-dqn", *TINY, "--seed", 5, "--env-steps", 300, "-p", lab) == 0
    before = read_artifact(lab, "q", "source-dqn-seed5").sha256
    damage(lab / "weights" / "q" / "source-dqn-seed5.safetensors")
    words = settle(lab, capsys, "is damaged; ")
    assert {"--seed", "5", "--env-steps", "300"} < set(words)
    assert read_artifact(lab, "q", "source-dqn-seed5").sha256 == before


def test_what_is_done_is_told_without_an_option_that_there_is_not(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process(*TRANSFER, "-p", made) == 0
    err = capsys.readouterr().err
    assert f"learn-corr {RUN} is done already\n" in err and "--overwrite" not in err


def test_a_second_transfer_is_told_to_wait(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (made / "weights" / "corr").iterdir():
        path.unlink()
    with lock_artifacts(made, [("corr", RUN)]):
        assert run_in_process(*TRANSFER, "--quiet", "-p", made) == 5
    assert one_line_error(capsys).endswith("; wait for it")
