"""Precision and compilation: what they change, what they leave, and that neither falls back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run_in_process
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.errors import DeviceError
from corrtool.memory import TransitionBatch
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.precision import (
    Precision,
    compile_module,
    compute_dtype,
    has_bf16_instructions,
)
from corrtool.settings.stages import LearnCorrSettings, TrainDqnSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")
PICTURES = StateSpec("image", (1, 36, 36), 2)


class TestPrecision:
    def test_auto_is_bf16_just_where_there_are_instructions_for_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for there, expected in ((True, torch.bfloat16), (False, torch.float32)):
            monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
            assert has_bf16_instructions(CPU) is there
            assert compute_dtype("auto", CPU) == expected
        assert not has_bf16_instructions(torch.device("mps"))

    def test_what_is_named_is_taken(self) -> None:
        assert compute_dtype("float32", CPU) == torch.float32
        assert compute_dtype("bf16", CPU) == torch.bfloat16

    def test_bf16_rounds_inside_a_network_and_gives_float32(self) -> None:
        network, states = nn.Linear(1, 1, bias=False), torch.tensor([[1.0]])
        with torch.no_grad():
            network.weight.fill_(1.0 + 2.0**-10)  # bf16 has 8 bits of mantissa
            exact, rounded = (
                Precision(kind, CPU)(network, states) for kind in (torch.float32, torch.bfloat16)
            )
        assert exact.item() == 1.0 + 2.0**-10
        assert rounded.item() == 1.0
        assert rounded.dtype == torch.float32


Choice = Literal["float32", "bf16", "auto"]


def learner(
    precision: Choice = "float32", compiled: bool = False
) -> Callable[[], dict[str, float]]:
    """A step of learn-corr on pictures, GAN and cycle loss."""
    torch.manual_seed(0)
    kind = GeneratorDescription("resnet", filters=2, blocks=1, framewise=True)
    correspondence = Correspondence(StateScaling(PICTURES), StateScaling(PICTURES), kind)
    settings = LearnCorrSettings(
        lambda_q=0.0,
        lambda_m=0.0,
        cycle_loss="printed",
        discriminator_filters=2,
        precision=precision,
        compile=compiled,
    )
    learner = CorrespondenceLearner(
        correspondence, None, None, settings, 10, np.random.default_rng(0), CPU
    )
    draw = torch.Generator().manual_seed(1)
    states = torch.randint(0, 256, (2, 2, *PICTURES.state_shape), generator=draw, dtype=torch.uint8)
    actions = torch.zeros(2, dtype=torch.int64)
    return lambda: {
        name: term.item()
        for name, term in learner.update(states[0], states[1], actions, None).items()
    }


def dqn(precision: Choice = "float32", compiled: bool = False) -> Callable[[], dict[str, float]]:
    """An update of the small network."""
    torch.manual_seed(0)
    settings = TrainDqnSettings(precision=precision, compile=compiled)
    learner = DqnLearner(build_q_function(PICTURES, 3), PICTURES, settings, CPU)
    states = torch.randint(
        0,
        256,
        (2, 4, *PICTURES.state_shape),
        generator=torch.Generator().manual_seed(1),
        dtype=torch.uint8,
    )
    batch = TransitionBatch(
        states[0], torch.tensor([0, 1, 2, 0]), torch.ones(4), states[1], torch.full((4,), 0.9),
        torch.tensor([False, False, True, False]), torch.ones(4), np.arange(4),
    )  # fmt: skip
    return lambda: {"loss": learner.update(batch)[0].item()}


@pytest.mark.parametrize("make", [learner, dqn])
def test_bf16_learns_nearly_the_same(make: Callable[..., Any]) -> None:
    exact, rounded = make(), make("bf16")
    for _ in range(3):
        expected, terms = exact(), rounded()
        assert terms == pytest.approx(expected, rel=0.1)
        assert terms != expected


def test_compiled_steps_are_the_same_but_for_the_order_of_sums(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """On vectors, whose networks compile in seconds; benchmarks/ compile those of pictures."""
    lab = cartpole("scale:-1,1,1,1")
    tiny = ("-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet")
    stages: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
        ("train-dqn", "q", ("--env-steps", "1200")),
        ("collect", None, ()),
        ("train-model", "model", ("--gradient-steps", "30")),
        ("learn-corr", "corr", ("--gradient-steps", "30", "--action-map", "[1, 0]")),
    )
    for stage, kind, more in stages:
        more += {
            "learn-corr": ("--q", "eager", "--model", "eager", "--source-memory", "eager"),
            "train-model": ("--memory", "eager", "--random-memory", "eager-random"),
        }.get(stage, ())
        assert run_in_process(stage, *tiny, *more, "--name", "eager" if kind else "play") == 0
        if kind is None:
            continue
        flags = (*tiny, *more, "--compile", "--name", "compiled")
        assert run_in_process(stage, *flags) == 0, capsys.readouterr()
        one, two = (
            load_file(lab / "weights" / kind / f"{name}.safetensors")
            for name in ("eager", "compiled")
        )
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=2e-3)
    record = json.loads((lab / "runs" / "learn-corr" / "compiled" / "run.json").read_text())
    assert record["settings"]["compile"] is True
    assert record["settings"]["precision"] == record["machine"]["precision"] == "float32"


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def missing() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    with pytest.raises(DeviceError, match=r"--compile needs a C\+\+ compiler"):
        compile_module(nn.Linear(1, 1), CPU)
    with pytest.raises(DeviceError, match="not for mps"):
        compile_module(nn.Linear(1, 1), torch.device("mps"))


def test_a_compiler_that_fails_is_one_line(
    cartpole: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from torch._inductor.exc import InductorError

    def fail(*_: object) -> None:
        raise InductorError(IndexError("no output\nof the compiler"), None)

    lab = cartpole()
    monkeypatch.setattr(DqnLearner, "update", fail)
    assert (
        run_in_process(
            "train-dqn", "-p", lab, "--preset", "tiny", "--device", "cpu", "--compile", "--quiet"
        )
        == 4
    )
    err = capsys.readouterr().err
    assert "--compile failed" in err and "use --no-compile" in err and err.count("\n") == 1


def test_what_auto_meant_is_recorded_and_emulated_bf16_is_said(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = cartpole()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    for precision, meant in (("auto", "float32"), ("bf16", "bf16")):
        capsys.readouterr()
        arguments = (
            "--preset",
            "tiny",
            "--env-steps",
            "300",
            "--precision",
            precision,
            "--name",
            precision,
        )
        assert run_in_process("train-dqn", "-p", lab, "--device", "cpu", *arguments) == 0
        record = json.loads((lab / "runs" / "train-dqn" / precision / "run.json").read_text())
        assert (record["settings"]["precision"], record["machine"]["precision"]) == (
            precision,
            meant,
        )
        said = capsys.readouterr().err
        assert ("emulated" in said) == (precision == "bf16")
        assert ("computing in float32" in said) == (precision == "auto")
