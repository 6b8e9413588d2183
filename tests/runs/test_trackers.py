"""The copy of a run's metrics in a tracker: each line once, and never at the cost of the run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.commands import ROOT, one_line_error, run_in_process, run_interrupted
from support.waiting import wait_for

from corrtool.errors import ArtifactError, UsageError
from corrtool.runs import trackers
from corrtool.runs.metrics import MetricsLog, read_metrics
from corrtool.runs.trackers import MIRRORED, Mirror, Sent
from corrtool.runtime.console import Console

TINY = ("--preset", "tiny", "--device", "cpu")


class Recorder:
    """A tracker that remembers what it was sent, and fails on demand."""

    runs: ClassVar[dict[str, list[Sent]]] = {}
    closed = 0
    error: BaseException | None = None

    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        self.sent = Recorder.runs.setdefault(f"{project}/{name}", [])
        print("a greeting")

    def log(self, lines: list[Sent]) -> None:
        if Recorder.error is not None:
            raise Recorder.error
        self.sent += lines

    def close(self) -> None:
        Recorder.closed += 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    """It stands in trackio's place."""
    monkeypatch.setitem(sys.modules, "trackio", types.ModuleType("trackio"))
    monkeypatch.setitem(trackers.TRACKERS, "trackio", Recorder)
    Recorder.runs, Recorder.closed, Recorder.error = {}, 0, None
    return Recorder


def mirror(directory: Path, said: list[str] | None = None, tracker: str = "trackio") -> Mirror:
    said = [] if said is None else said
    return Mirror(
        directory, tracker, project="a lab", name="train-dqn-x", config={"seed": 1}, say=said.append
    )


def write(log: MetricsLog, steps: range) -> None:
    for step in steps:
        log.write(
            step, {"event": "progress", "env_steps": step, "loss": 1.0 / step, "solved": True}
        )


def killed_and_resumed(directory: Path, tracker: str) -> None:
    """Four lines and a checkpoint, three lines that a kill takes, and two more after it."""
    log, copy = MetricsLog(directory), mirror(directory, tracker=tracker)
    write(log, range(1, 5))
    saved = log.sync()
    copy.catch_up()
    write(log, range(5, 8))
    log.close()
    copy.close()
    log, copy = MetricsLog(directory, saved), mirror(directory, tracker=tracker)
    write(log, range(5, 7))
    log.sync()
    copy.catch_up()
    log.close()
    copy.close()


def test_what_came_after_the_checkpoint_is_sent_once(
    recorder: type[Recorder], tmp_path: Path
) -> None:
    killed_and_resumed(tmp_path, "trackio")
    ((name, sent),) = recorder.runs.items()
    assert name.startswith("a-lab/train-dqn-x-")
    assert [line.step for line in sent] == [1, 2, 3, 4, 5, 6]
    assert [line.number for line in sent] == [0, 1, 2, 3, 4, 5]
    assert sent[1].numbers == {"env_steps": 2, "loss": 0.5}


def test_lines_without_numbers_or_steps(recorder: type[Recorder], tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(0, {"event": "start", "kind": "none"})
    log.write(7, {"gradient_steps": 7, "loss": 2.0})
    log.write(7, {"event": "validation", "l1": 0.5, "by_action": [1, 2]})
    log.write(8, {"gradient_steps": 8, "loss": float("nan")})
    log.close()
    mirror(tmp_path).catch_up()
    (sent,) = recorder.runs.values()
    assert sent == [
        Sent(1, 7, {"gradient_steps": 7, "loss": 2.0}),
        Sent(2, 7, {"l1": 0.5}),
        Sent(3, 8, {"gradient_steps": 8}),
    ]


def test_a_kill_while_lines_are_sent_leaves_no_second_copy(
    recorder: type[Recorder], tmp_path: Path
) -> None:
    log = MetricsLog(tmp_path)
    write(log, range(1, 4))
    log.close()
    recorder.error = KeyboardInterrupt()  # passes through, as a kill does
    with pytest.raises(KeyboardInterrupt):
        mirror(tmp_path).catch_up()
    recorder.error = None
    log = MetricsLog(tmp_path, log_position(tmp_path))
    write(log, range(4, 6))
    log.close()
    mirror(tmp_path).catch_up()
    (sent,) = recorder.runs.values()
    assert [line.step for line in sent] == [4, 5]


def log_position(directory: Path) -> Any:
    """Where the metrics end, as a checkpoint holds it."""
    content = (directory / "metrics.jsonl").read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "step": 3}


def test_a_tracker_that_fails_is_one_line(recorder: type[Recorder], tmp_path: Path) -> None:
    recorder.error = OSError("database is locked")
    said: list[str] = []
    log, copy = MetricsLog(tmp_path), mirror(tmp_path, said)
    write(log, range(1, 3))
    copy.catch_up()
    write(log, range(3, 5))
    copy.catch_up()
    copy.close()
    log.close()
    (line,) = said
    assert "trackio failed" in line and "database is locked" in line and "metrics.jsonl" in line


def test_another_tracker_gets_all_of_it(
    recorder: type[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricsLog(tmp_path)
    write(log, range(1, 3))
    log.close()
    mirror(tmp_path).catch_up()
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    monkeypatch.setitem(trackers.TRACKERS, "wandb", Recorder)
    mirror(tmp_path, tracker="wandb").catch_up()
    assert [len(sent) for sent in recorder.runs.values()] == [2, 2]


def test_a_damaged_record_is_said(recorder: type[Recorder], tmp_path: Path) -> None:
    (tmp_path / MIRRORED).write_text("{}")
    with pytest.raises(ArtifactError, match=r"mirrored\.json is damaged; remove it"):
        mirror(tmp_path)


def test_without_the_extra_one_line_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in trackers.TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=rf"pip install 'corrtool\[{name}\]'"):
            mirror(tmp_path, tracker=name)


class TestAStage:
    def test_that_is_interrupted_and_resumed_is_there_once(
        self,
        recorder: type[Recorder],
        cartpole: Callable[..., Path],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        lab = cartpole()
        command = ("train-dqn", *TINY, "--env-steps", 6000, "--track", "trackio")
        assert run_interrupted(lab, *command, logged=True, seconds=0.0) == 143
        capsys.readouterr()
        assert run_in_process(*command, "-p", lab, "--json") == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["name"] == "source-dqn" and "greeting" not in told.err
        ((name, sent),) = recorder.runs.items()
        assert name.startswith("cartpole/train-dqn-source-dqn-") and recorder.closed == 2
        logged = read_metrics(lab / "runs" / "train-dqn" / "source-dqn" / "metrics.jsonl")
        assert [line.number for line in sent] == list(range(len(logged)))
        assert run_in_process("verify", "-p", lab, "--quiet") == 0

    def test_whose_tracker_is_missing_does_not_begin(
        self,
        cartpole: Callable[..., Path],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lab = cartpole()
        monkeypatch.setitem(sys.modules, "wandb", None)
        assert run_in_process("train-dqn", *TINY, "--track", "wandb", "-p", lab) == 2
        assert "pip install 'corrtool[wandb]'" in one_line_error(capsys)
        assert not (lab / "weights").exists()


@pytest.mark.filterwarnings("ignore")  # a tracker's own
def test_trackio_holds_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    storage: Any = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    killed_and_resumed(tmp_path / "run", "trackio")
    (name,) = storage.get_runs("a-lab")
    logs = storage.get_logs("a-lab", name)
    assert [(line["step"], line["env_steps"]) for line in logs] == [(n, n) for n in range(1, 7)]
    assert [line["loss"] for line in logs] == [1 / n for n in range(1, 7)]


@pytest.mark.filterwarnings("ignore")  # a tracker's own
def test_where_trackio_cannot_write_is_one_line(
    cartpole: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackio: Any = pytest.importorskip("trackio")
    (tmp_path / "a file").touch()
    monkeypatch.setattr(trackio, "TRACKIO_DIR", tmp_path / "a file" / "trackio")
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    lab, said = cartpole(), list[str]()
    monkeypatch.setattr(Console, "say", lambda console, line: said.append(line))
    command = ("train-dqn", *TINY, "--env-steps", 300, "--track", "trackio", "-p", lab)
    assert run_in_process(*command, "--quiet") == 0
    (line,) = [line for line in said if "trackio" in line]
    assert "trackio failed" in line and "NotADirectoryError" in line and "metrics.jsonl" in line
    assert read_metrics(lab / "runs" / "train-dqn" / "source-dqn" / "metrics.jsonl")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("a")] == ["a file"]


def records(path: Path) -> Iterator[bytes]:
    """The records of a ``.wandb`` file, which has LevelDB's log format after seven bytes."""
    content, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.filterwarnings("ignore")  # a tracker's own
def test_wandb_offline_holds_each_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb: Any = pytest.importorskip("wandb")
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    before = set(os.environ)
    killed_and_resumed(tmp_path / "run", "wandb")
    wandb.teardown()  # its own process writes on after a run is finished, until then
    for name in set(os.environ) - before:
        monkeypatch.delenv(name)
    assert offline_steps(tmp_path, protocol) == [(n, n + 1) for n in range(6)]


def offline_steps(directory: Path, protocol: Any) -> list[tuple[int, int]]:
    """wandb's step and ``env_steps`` of each line that it has written of one run."""
    histories, names = [], set()
    for file in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        names.add(file.name)
        for content in records(file):
            record = protocol.Record()
            record.ParseFromString(content)
            if record.WhichOneof("record_type") == "history":
                items = {item.nested_key[0]: item.value_json for item in record.history.item}
                histories.append((record.history.step.num, int(items["env_steps"])))
    assert len(names) == 1
    return sorted(histories)


BEGINS = """
import sys, time
from pathlib import Path
from test_trackers import MetricsLog, mirror, write
directory = Path(sys.argv[1])
log, copy = MetricsLog(directory), mirror(directory, tracker="wandb")
write(log, range(1, 5))
log.sync()
copy.catch_up()
write(log, range(5, 8))
time.sleep(2)  # for wandb's own process to write what it was handed
print("to be killed", flush=True)
time.sleep(120)
"""


@pytest.mark.filterwarnings("ignore")  # a tracker's own
def test_wandb_holds_each_step_once_after_a_kill_that_nothing_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb: Any = pytest.importorskip("wandb")
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    run, paths = tmp_path / "run", [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINS, str(run)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path])},
    )
    assert process.stdout is not None and process.stdout.readline() == "to be killed\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    before = set(os.environ)
    held = b"".join((run / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:4])
    saved: Any = {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest(), "step": 4}
    log, copy = MetricsLog(run, saved), mirror(run, tracker="wandb")
    write(log, range(5, 7))
    log.sync()
    copy.catch_up()
    log.close()
    copy.close()
    wandb.teardown()
    for name in set(os.environ) - before:
        monkeypatch.delenv(name)
    wait_for(lambda: len(offline_steps(tmp_path, protocol)) >= 6, 20)
    assert offline_steps(tmp_path, protocol) == [(n, n + 1) for n in range(6)]
