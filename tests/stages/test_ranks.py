"""torchrun: two processes that share each mini-batch learn what one learns from all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import Outcome, run_in_process
from safetensors.torch import load_file
from torch import nn

from corrtool.errors import UsageError
from corrtool.ranks import Ranks

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "corrtool")
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0", "OMP_NUM_THREADS": "1"}


def run_torchrun(*arguments: object) -> Outcome:
    command = [*TORCHRUN, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | LOOPBACK, capture_output=True, text=True, timeout=280)
    return Outcome(done.returncode, done.stdout, done.stderr)


def greatest_difference(lab: Path, kind: str, one: str, two: str) -> float:
    a, b = (load_file(lab / "weights" / kind / f"{name}.safetensors") for name in (one, two))
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


class TestRanks:
    def test_a_mini_batch_is_split_evenly_and_in_order(self) -> None:
        rows = list(range(6))
        assert [Ranks(rank, 3).share(rows) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
        assert Ranks().share(rows) == rows

    def test_one_that_cannot_be_split_is_refused(self) -> None:
        Ranks(0, 2).check_batch(4)
        with pytest.raises(UsageError, match="--batch-size 5 cannot be split over 2 processes"):
            Ranks(0, 2).check_batch(5)

    def test_without_torchrun_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RANK", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        assert Ranks.of_torchrun() == Ranks(0, 1)
        module, states = nn.Linear(2, 1), torch.rand(3, 2)
        assert Ranks().parallel(module) is module
        assert Ranks().gather(states) is states and Ranks().mean(states) is states

    def test_torchrun_says_who_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "4")
        ranks = Ranks.of_torchrun()
        assert (ranks.rank, ranks.count, ranks.first) == (1, 4, False)

    def test_a_lost_process_is_one_line(self) -> None:
        with pytest.raises(Exception, match="another process of this run has ended"), Ranks(0, 2).together():
            raise dist.DistBackendError("gone")
        with pytest.raises(RuntimeError, match="something else"), Ranks(0, 2).together():
            raise RuntimeError("something else")


class TestTwoProcesses:
    def test_learn_what_one_process_learns_from_the_whole_batch(self, cartpole: Callable[..., Path]) -> None:
        """To 1e-5, over two hundred steps of networks on vectors, with reconstructions, F, Q_S and pools of generated states."""
        lab = cartpole("scale:-1,1,1,1")
        tiny = ("-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet")
        assert run_in_process("train-dqn", *tiny) == 0
        assert run_in_process("collect", *tiny) == 0
        for stage, kind, more in (
            ("train-model", "model", ("--batch-size", "16", "--gradient-steps", "200")),
            ("learn-corr", "corr", ("--model", "one", "--batch-size", "8", "--gradient-steps", "200", "--eval-every", "100")),
        ):  # fmt: skip
            assert run_in_process(stage, *tiny, *more, "--name", "one") == 0
            outcome = run_torchrun(stage, *tiny, *more, "--name", "two")
            assert outcome.code == 0, outcome.err
            assert greatest_difference(lab, kind, "one", "two") < 1e-5
        lines = [
            (lab / "runs" / "learn-corr" / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")
        ]
        assert len(lines[0]) == len(lines[1])
        assert run_in_process("verify", "-p", lab) == 0

    def test_share_pictures_too_and_go_on_after_a_signal(self, pong_copy: Path) -> None:
        more = (
            "-p", pong_copy, "--preset", "tiny", "--device", "cpu", "--batch-size", "2", "--eval-games", "0", "--name", "two",
            "--gradient-steps",
        )  # fmt: skip
        process = subprocess.Popen(
            [*TORCHRUN, "learn-corr", *map(str, more), "40"],
            env=os.environ | LOOPBACK, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        metrics = pong_copy / "runs" / "learn-corr" / "two" / "metrics.jsonl"
        until = time.monotonic() + 120
        while not metrics.exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)  # torchrun passes it on to both
        _, err = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "resumable" in err
        assert "Traceback" not in err.partition("torch/distributed")[0]
        outcome = run_torchrun("learn-corr", *more, "40")
        assert outcome.code == 0, outcome.err
        assert "going on at" in outcome.err

    @pytest.mark.parametrize(
        "arguments, said",
        [
            (("collect",), "collect is for one process"),
            (("train-model", "--batch-size", "3"), "cannot be split over 2 processes"),
            (("train-model", "--batch-size", "2", "--norm", "batch"), "--norm instance"),
            (("train-model", "--device", "cuda:0"), "each takes its own"),
        ],
    )
    def test_say_what_cannot_be_shared(
        self,
        pong_copy: Path,
        arguments: tuple[str, ...],
        said: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert run_in_process(*arguments, "-p", pong_copy, "--preset", "tiny", "--name", "new") == 2
        assert said in capsys.readouterr().err
