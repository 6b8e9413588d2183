"""torchrun: two processes that share each mini-batch learn what one learns from all of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from faults.harness import Victim
from safetensors.torch import load_file, save_file
from support.commands import Outcome, run_in_process
from support.falling import FALLING
from torch import nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.errors import UsageError
from corrtool.layers import freeze
from corrtool.project.artifacts import read_artifact
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.ranks import Ranks
from corrtool.runtime.signals import exit_without_cleanup
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

TORCHRUN = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "corrtool",
)
TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
MASTER = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
FINDS_SUPPORT = {"PYTHONPATH": os.pathsep.join(sys.path), "CORRTOOL_TRUST": "support.falling"}
LOOPBACK = {
    "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    "OMP_NUM_THREADS": "1",
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def as_rank(rank: int, port: int) -> None:
    """Set what torchrun sets for each of two processes, in the process that is one of them."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.environ.update(LOOPBACK | FINDS_SUPPORT | MASTER | {"MASTER_PORT": str(port)})


def run_on_two_ranks(*arguments: object) -> Outcome:
    """Run the command line in two processes that share its mini-batches; what the first said.

    They are forked from one that has imported torch. torchrun and its processes would import it
    three times, which takes longer than what they learn here.
    """
    words, port = [str(argument) for argument in arguments], free_port()
    ranks = [
        Victim(words, save_seconds=60.0, die_at=0, before=partial(as_rank, rank, port))
        for rank in (0, 1)
    ]
    first, second = (rank.end(240) for rank in ranks)
    assert second.code == 0, first.err + second.err
    return first


def greatest_difference(lab: Path, kind: str, one: str, two: str) -> float:
    a, b = (load_file(lab / "weights" / kind / f"{name}.safetensors") for name in (one, two))
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def save_gradients(ranks: Ranks, path: Path) -> None:
    """The gradients of one step of learn-corr on four pictures of each task, with all losses.

    They are as the optimizers get them. Also the mean over the ranks of weights that are to be
    those of the first.
    """
    torch.manual_seed(0)
    spec = StateSpec("image", (1, 36, 36), 2)
    kind = GeneratorDescription("resnet", filters=2, blocks=1, framewise=True)
    action_map = ActionMap((2, 0, 1), 3)
    correspondence = Correspondence(StateScaling(spec), StateScaling(spec), kind, action_map)
    q = freeze(build_q_function(spec, 3, "small"))
    model = ScaledModel(build_environment_model(spec, 3, filters=2, blocks=1), StateScaling(spec))
    freeze(model)
    settings = LearnCorrSettings(discriminator_filters=2, pool_size=2)
    random = np.random.default_rng(0)
    with ranks.connected(torch.device("cpu")):
        learner = CorrespondenceLearner(
            correspondence, q, model, settings, 10, random, torch.device("cpu"), None, ranks
        )  # fmt: skip
        draw = torch.Generator().manual_seed(1)
        pictures = torch.randint(
            0, 256, (3, 4, *spec.state_shape), generator=draw, dtype=torch.uint8
        )
        actions = torch.tensor([0, 1, 2, 0])
        learner.update(
            *(ranks.shard(part) for part in (pictures[0], pictures[1], actions, pictures[2]))
        )
        torch.manual_seed(ranks.rank)
        layer = nn.Linear(2, 3)  # another one in each process
        ranks.broadcast_weights(layer)
        agreed = {
            f"agreed {name}": ranks.mean(weights.detach())
            for name, weights in layer.named_parameters()
        }
    networks = nn.ModuleList(
        [correspondence, learner.source_discriminator, learner.target_discriminator]
    )
    if ranks.first:
        gradients = {name: p.grad for name, p in networks.named_parameters() if p.grad is not None}
        save_file(
            {name: gradient.contiguous() for name, gradient in (gradients | agreed).items()}, path
        )


def save_gradients_of(rank: int, port: int, path: Path) -> None:
    """As one of two processes."""
    as_rank(rank, port)
    save_gradients(Ranks.from_environment(), path)
    exit_without_cleanup(0)  # as the command line does


class TestRanks:
    def test_a_mini_batch_is_split_evenly_and_in_order(self) -> None:
        rows = list(range(6))
        assert [Ranks(rank, 3).shard(rows) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
        assert Ranks().shard(rows) == rows

    def test_one_that_cannot_be_split_is_refused(self) -> None:
        Ranks(0, 2).check_batch(4)
        with pytest.raises(UsageError, match="--batch-size 5 cannot be split over 2 processes"):
            Ranks(0, 2).check_batch(5)

    def test_without_torchrun_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RANK", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        assert Ranks.from_environment() == Ranks(0, 1)
        module, states = nn.Linear(2, 1), torch.rand(3, 2)
        assert Ranks().parallel(module) is module
        assert Ranks().gather(states) is states and Ranks().mean(states) is states

    def test_torchrun_says_who_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (MASTER | {"RANK": "1", "WORLD_SIZE": "4"}).items():
            monkeypatch.setenv(name, value)
        ranks = Ranks.from_environment()
        assert (ranks.rank, ranks.count, ranks.first) == (1, 4, False)

    @pytest.mark.parametrize(
        "variables, said",
        [
            ({"RANK": "1"}, "RANK is 1, but WORLD_SIZE is 1"),
            ({"RANK": "7", "WORLD_SIZE": "2"}, "RANK is 7, but WORLD_SIZE is 2"),
            ({"RANK": "abc"}, "RANK is 'abc'"),
            ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
            ({"WORLD_SIZE": "0"}, "RANK is 0, but WORLD_SIZE is 0"),
            ({"WORLD_SIZE": "-3"}, "WORLD_SIZE is '-3'"),
            ({"WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
        ],
    )
    def test_what_torchrun_never_says_is_refused(
        self,
        variables: dict[str, str],
        said: str,
        cartpole: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        lab = cartpole()
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert run_in_process("evaluate", "-p", lab, "--policy", "random", "--games", "1") == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1

    def test_waiting_for_the_others_can_be_ended(self) -> None:
        with socket.socket() as listening:  # somebody is there, but says nothing
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1])}
            code = (
                "import torch\n"
                "from corrtool.runtime.ranks import Ranks\n"
                "from corrtool.runtime.signals import exit_on_signals\n"
                "exit_on_signals(); print('waiting', flush=True)\n"
                "with Ranks(1, 2).connected(torch.device('cpu')): pass"
            )
            environment = os.environ | LOOPBACK | variables | {"RANK": "1", "WORLD_SIZE": "2"}
            with subprocess.Popen(
                [sys.executable, "-c", code], env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            ) as process:  # fmt: skip
                assert process.stdout is not None and process.stdout.readline() == "waiting\n"
                listening.settimeout(60)
                connection, _ = listening.accept()
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=20) == -signal.SIGTERM
                connection.close()

    def test_a_lost_process_is_one_line(self) -> None:
        with (
            pytest.raises(Exception, match="another process of this run has ended"),
            Ranks(0, 2).together(),
        ):
            raise dist.DistBackendError("gone")
        with pytest.raises(RuntimeError, match="something else"), Ranks(0, 2).together():
            raise RuntimeError("something else")


class TestTwoProcesses:
    def test_learn_what_one_process_learns_from_the_whole_batch(self, cartpole_lab: Path) -> None:
        """To 1e-5, over two hundred steps of networks on vectors.

        They have reconstructions, F, Q_S and pools of generated states.
        """
        lab, tiny = cartpole_lab, ("-p", cartpole_lab, *TINY)
        for stage, kind, more in (
            ("train-model", "model", ("--batch-size", "16", "--gradient-steps", "200")),
            ("learn-corr", "corr", ("--model", "one", "--batch-size", "8",
                                    "--gradient-steps", "200", "--eval-every", "100")),
        ):  # fmt: skip
            assert run_in_process(stage, *tiny, *more, "--name", "one") == 0
            outcome = run_on_two_ranks(stage, *tiny, *more, "--name", "two")
            assert outcome.code == 0, outcome.err
            assert greatest_difference(lab, kind, "one", "two") < 1e-5
        lines = [
            (lab / "runs" / "learn-corr" / name / "metrics.jsonl").read_text().splitlines()
            for name in ("one", "two")
        ]
        assert len(lines[0]) == len(lines[1])
        assert run_in_process("verify", "-p", lab) == 0

    @pytest.mark.parametrize("limit", [(), ("--max-minutes", "60")])
    def test_choose_one_recipe(self, cartpole_lab: Path, limit: tuple[str, ...]) -> None:
        """Both search, try and score, and learn with the recipe that the first has chosen."""
        lab, tiny = cartpole_lab, ("-p", cartpole_lab, *TINY)
        more = (
            "--recipe", "auto", "--action-map", "auto", "--recipe-trial-steps", "5",
            "--recipe-enough", "1", "--batch-size", "8", "--eval-games", "0", *limit,
        )  # fmt: skip
        outcome = run_on_two_ranks("learn-corr", *tiny, *more, "--name", "two", "--json")
        assert outcome.code == 0, outcome.err
        assert run_in_process("learn-corr", *tiny, *more, "--name", "one") == 0
        one, two = (read_artifact(lab, "corr", name).manifest["summary"] for name in ("one", "two"))
        assert two["recipe"] == one["recipe"]
        assert two["recipe_scores"] == pytest.approx(one["recipe_scores"], abs=1e-3)
        assert two["recipe_settings"] == one["recipe_settings"]
        assert greatest_difference(lab, "corr", "one-last", "two-last") < 1e-4
        assert run_in_process("verify", "-p", lab) == 0

    def test_share_pictures_too_and_go_on_after_a_signal(self, tmp_path: Path) -> None:
        """With torchrun itself, which passes signals on."""
        lab = tmp_path / "falling"
        assert run_in_process("init", lab, "--source", FALLING, "--quiet") == 0
        for stage in ("train-dqn", "collect", "train-model"):
            assert run_in_process(stage, "-p", lab, *TINY) == 0
        command = (
            "learn-corr", "-p", lab, "--preset", "tiny", "--device", "cpu", "--batch-size", "2",
            "--generator", "resnet", "--eval-games", "0", "--name", "two",
            "--gradient-steps", "150",
        )  # fmt: skip
        process = subprocess.Popen(
            [*TORCHRUN, *map(str, command)], env=os.environ | LOOPBACK | FINDS_SUPPORT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        metrics = lab / "runs" / "learn-corr" / "two" / "metrics.jsonl"  # a line comes in the loop
        until = time.monotonic() + 120
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)  # torchrun passes it on to both
        _, err = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "resumable" in err
        assert "Traceback" not in err.partition("torch/distributed")[0]
        outcome = run_on_two_ranks(*command)
        assert outcome.code == 0, outcome.err
        assert "resuming at" in outcome.err

    def test_have_the_gradients_of_the_whole_batch_on_pictures(self, tmp_path: Path) -> None:
        """To 1e-5 of the largest.

        Not the weights: a bias in front of an InstanceNorm has no gradient but rounding, and Adam
        takes a whole step by that.
        """
        save_gradients(Ranks(), tmp_path / "one.safetensors")
        forked, port = multiprocessing.get_context("forkserver"), free_port()
        ranks = [
            forked.Process(
                target=save_gradients_of, args=(rank, port, tmp_path / "two.safetensors")
            )
            for rank in (0, 1)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(120)
        assert [rank.exitcode for rank in ranks] == [0, 0]
        one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
        assert one.keys() == two.keys() and len(one) > 40
        largest = max(gradient.abs().max().item() for gradient in one.values())
        for name, gradient in one.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(two[name], gradient, rtol=0, atol=1e-5 * largest)

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
        for name, value in (MASTER | {"RANK": "0", "WORLD_SIZE": "2"}).items():
            monkeypatch.setenv(name, value)
        assert run_in_process(*arguments, "-p", pong_copy, "--preset", "tiny", "--name", "new") == 2
        assert said in capsys.readouterr().err
