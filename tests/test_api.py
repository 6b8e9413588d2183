"""corrtool from Python: what the subcommands do.

They do it without printing, without handlers, in any thread.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np
import pytest
import torch
from support.commands import ROOT, run_in_process, run_python

import corrtool
from corrtool.api import OpenedProject
from corrtool.arguments import EvaluateArguments
from corrtool.errors import ArtifactError, DeviceError, UsageError
from corrtool.project.directory import Project
from corrtool.runs.records import read_record, run_directory
from corrtool.runs.results import CollectResult, Plan
from corrtool.stages.registry import STAGES
from corrtool.workflows.call import call_with, command_of

SAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CartPole project through every stage, made by the first sample of docs/api.md."""
    folder = tmp_path_factory.mktemp("api")
    done = run_python(SAMPLES[0], folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return folder / "lab"


@pytest.fixture
def fresh(cartpole: Callable[..., Path]) -> OpenedProject:
    return corrtool.open_project(cartpole("permute:2,3,0,1"))


def planned_inputs(lab: Path, **arguments: Unpack[EvaluateArguments]) -> dict[str, str]:
    """What an evaluation would read: a dry run returns its plan in the result's place."""
    arguments["dry_run"] = True
    return cast(Plan, corrtool.open_project(lab).evaluate(**arguments))["inputs"]


class TestTheSamplesOfTheDocumentation:
    @pytest.mark.parametrize("sample", SAMPLES[1:])
    def test_run_and_print_what_they_print_alone(self, lab: Path, sample: str) -> None:
        done = run_python(sample, lab.parent)
        assert done.returncode == 0, done.stderr
        assert done.stdout and not done.stderr


class TestMakingProjects:
    def test_is_what_init_does(self, cartpole: Callable[..., Path], tmp_path: Path) -> None:
        by_command = cartpole("permute:2,3,0,1") / "corrtool.toml"
        made = corrtool.init_project(
            tmp_path / "b", source="CartPole-v1", target_view=["permute:2,3,0,1"]
        )
        assert (made.root / "corrtool.toml").read_text() == by_command.read_text()
        with pytest.raises(UsageError, match="is a project already"):
            corrtool.init_project(made.root, source="CartPole-v1")

    def test_takes_keyword_arguments_and_preprocessing(self, tmp_path: Path) -> None:
        made = corrtool.init_project(
            tmp_path / "lab",
            source="ALE/Pong-v5",
            source_kwargs={"mode": 1},
            target_kwargs={"mode": 0},
            screen_size=42,
            stack=2,
        )
        assert [made.task(role).kwargs for role in ("source", "target")] == [
            {"mode": 1},
            {"mode": 0},
        ]
        assert made.environment("source").reset(seed=0)[0].shape == (2, 42, 42)
        with pytest.raises(UsageError, match="preprocessing stack is 0"):
            corrtool.init_project(tmp_path / "other", source="ALE/Pong-v5", stack=0)
        with pytest.raises(UsageError, match="cannot be written"):
            corrtool.init_project(
                tmp_path / "other", source="CartPole-v1", source_kwargs={"render_mode": None}
            )


class TestStages:
    def test_return_what_the_command_prints(
        self, fresh: OpenedProject, capfd: pytest.CaptureFixture[str]
    ) -> None:
        result = fresh.train_dqn(preset="tiny", env_steps=600, seed=3, device="cpu", name="three")
        assert capfd.readouterr() == ("", "")
        flags = (
            "--preset",
            "tiny",
            "--env-steps",
            600,
            "--seed",
            3,
            "--device",
            "cpu",
            "--name",
            "three",
            "--json",
        )
        assert run_in_process("train-dqn", "-p", fresh.root, *flags) == 0
        out, err = capfd.readouterr()
        assert "is done already" in err  # it is the same run
        assert json.loads(out) == json.loads(json.dumps(result))
        assert {"stage", "name", "seed", "settings", "artifacts", "metrics"} <= result.keys()

    def test_take_inputs_that_the_project_names(self, lab: Path) -> None:
        table = (lab / "corrtool.toml").read_text()
        try:
            (lab / "corrtool.toml").write_text(table + '\n[evaluate]\ncorr = "half-last"\n')
            assert planned_inputs(lab)["corr"] == "corr half-last"
            assert planned_inputs(lab, no_corr=True).keys() == {"q"}
            assert planned_inputs(lab, corr="half")["corr"] == "corr half"
        finally:
            (lab / "corrtool.toml").write_text(table)

    def test_do_not_listen_to_environment_variables(
        self, fresh: OpenedProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CORRTOOL_COLLECT_RECORDS", "7")
        monkeypatch.setenv("CORRTOOL_SEED", "7")
        plan = fresh.collect(dry_run=True)
        assert (plan["seed"], plan["settings"]["records"]) == (0, 10_000)

    def test_are_recorded_as_the_command_that_goes_on_with_them(self, lab: Path) -> None:
        command = read_record(run_directory(lab, "learn-corr", "half"))["command"]
        assert command == (
            "corrtool learn-corr --seed 0 --preset tiny --lambda-cyc 0.5 --name half "
            "--keep-checkpoints 1"
        )

    def test_say_every_argument_in_the_command(self, lab: Path) -> None:
        call = call_with(
            STAGES["evaluate"],
            {
                "games": 4,
                "no_corr": True,
                "video": Path("a b.gif"),
                "q": "x",
                "seed": 2,
                "preset": "tiny",
            },
        )
        words = [
            "corrtool",
            "evaluate",
            "--seed",
            "2",
            "--preset",
            "tiny",
            "--games",
            "4",
            "--q",
            "x",
            "--no-corr",
            "--video",
        ]
        assert command_of(call, Project(lab)) == [*words, "a b.gif"]
        call = call_with(STAGES["train-dqn"], {"double_q": False, "replay": True})
        assert command_of(call, Project(lab))[6:8] == ["--no-double-q", "--replay"]

    def test_work_in_a_thread(self, fresh: OpenedProject) -> None:
        results: list[CollectResult] = []
        threads = [
            threading.Thread(
                target=lambda n=n: results.append(fresh.collect(preset="tiny", records=50, name=n))
            )
            for n in ("one", "two")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({result["sha256"] for result in results}) == 1  # as if each had been alone
        assert len(results) == 2

    def test_leave_the_process_as_it_was(self, fresh: OpenedProject) -> None:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        during: list[Any] = []
        torch.manual_seed(5)
        random, mode, threads = (
            torch.get_rng_state(),
            torch.get_deterministic_debug_mode(),
            torch.get_num_threads(),
        )
        watcher = threading.Timer(
            0.3, lambda: during.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))
        )
        watcher.start()
        fresh.train_dqn(preset="tiny", env_steps=600)
        watcher.join()
        assert (
            during
            == handlers
            == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        )
        assert torch.equal(torch.get_rng_state(), random)
        assert (torch.get_deterministic_debug_mode(), torch.get_num_threads()) == (mode, threads)

    def test_are_interrupted_like_any_python_and_go_on(
        self, fresh: OpenedProject, tmp_path: Path
    ) -> None:
        code = f"""
import _thread, signal, threading, time, corrtool
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
from corrtool.runs import loop
loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = 0.0, 1.0
project = corrtool.open_project({str(fresh.root)!r})
def interrupt():
    while not list(project.root.glob("runs/train-dqn/*/checkpoint*")):
        time.sleep(0.1)
    _thread.interrupt_main()
threading.Thread(target=interrupt).start()
try:
    project.train_dqn(preset="tiny", env_steps=500_000, eval_every=0)
except KeyboardInterrupt:
    print("interrupted")
print(project.train_dqn(preset="tiny", env_steps=500_000, eval_every=0, dry_run=True)["begun"])
"""
        done = run_python(code)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["interrupted", "True"]


class TestErrors:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"env_step": 5}, "has no argument 'env_step'"),
            ({"corr": "x"}, "has no argument 'corr'"),
            ({"env_steps": "many"}, "--env-steps is 'many'"),
            ({"env_steps": 0}, "--env-steps is 0"),
            ({"seed": -1}, "--seed is -1"),
            ({"seed": 2**63}, "--seed is"),
            ({"seed": 0.5}, "--seed is 0.5"),
            ({"preset": "huge"}, "--preset is 'huge'"),
            ({"name": "a/b"}, "is not an artifact name"),
            ({"name": 3}, "--name is 3"),
            ({"overwrite": 1}, "--overwrite is 1"),
            ({"keep_checkpoints": 0}, "--keep-checkpoints is 0"),
            ({"extend": "yes"}, "--extend is 'yes'"),
            ({"device": "gpu"}, "--device is 'gpu'"),
        ],
    )
    def test_of_usage(self, fresh: OpenedProject, given: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=re.escape(message)):
            fresh.train_dqn(**given)

    def test_only_stages_that_learn_have_checkpoints(self, fresh: OpenedProject) -> None:
        with pytest.raises(UsageError, match="evaluate has no argument 'keep_checkpoints'"):
            fresh.evaluate(keep_checkpoints=2)  # type: ignore[call-arg]

    def test_the_greatest_seed_is_one(self, fresh: OpenedProject) -> None:
        assert fresh.collect(seed=2**63 - 1, dry_run=True)["seed"] == 2**63 - 1

    def test_of_what_is_missing(self, fresh: OpenedProject, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="is not a corrtool project"):
            corrtool.open_project(tmp_path)
        with pytest.raises(ArtifactError):
            fresh.evaluate()
        with pytest.raises(ArtifactError):
            fresh.load_agent()
        with pytest.raises(corrtool.CorrtoolError):
            corrtool.load_q_function(fresh.root / "weights" / "q" / "x.safetensors")
        with pytest.raises(DeviceError):
            fresh.load_agent(device="cuda:999")

    def test_of_python_are_explained(
        self, fresh: OpenedProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("corrtool.stages.recording.MemoryWriter", full)
        with pytest.raises(corrtool.CorrtoolError, match="No space left on device") as raised:
            fresh.collect(preset="tiny")
        assert isinstance(raised.value.__cause__, OSError)


class TestPlaying:
    def test_the_agent_plays_as_evaluate_does(self, lab: Path) -> None:
        project = corrtool.open_project(lab)
        agent = project.load_agent("target", corr="half")
        correspondence, q_function = (
            project.load_correspondence("half"),
            project.load_q_function("source-dqn"),
        )
        state, _ = project.environment("target").reset(seed=1)
        translated = correspondence.translate(torch.from_numpy(state)[None])
        values = q_function(correspondence.source_scaling.model_to_q(translated))[0]
        assert np.array_equal(agent.values(state), values.numpy())
        assert agent.act(state) == int(values.argmax())

    def test_weights_are_loaded_from_wherever_they_lie(self, lab: Path, tmp_path: Path) -> None:
        for kind, name in (("q", "source-dqn"), ("corr", "half")):
            (tmp_path / f"{kind}.safetensors").write_bytes(
                (lab / "weights" / kind / f"{name}.safetensors").read_bytes()
            )
        assert not any(
            p.requires_grad
            for p in corrtool.load_q_function(tmp_path / "q.safetensors").parameters()
        )
        loaded = corrtool.load_correspondence(tmp_path / "corr.safetensors")
        assert isinstance(loaded, corrtool.Correspondence)
        with pytest.raises(ArtifactError, match="holds no Q-function"):
            corrtool.load_q_function(tmp_path / "corr.safetensors")

    def test_artifacts_are_those_of_status(self, lab: Path) -> None:
        project = corrtool.open_project(lab)
        assert {(a["kind"], a["name"]) for a in project.artifacts()} >= {
            ("q", "source-dqn"),
            ("corr", "half"),
        }
        assert str(project.task("target")).startswith("CartPole-v1")
