"""Devices that exist or fail, and random streams that never meet."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrtool.errors import CorrtoolError, DeviceError, UsageError
from corrtool.runtime import free_memory, machine
from corrtool.runtime.device import resolve_device
from corrtool.runtime.machine import describe_machine
from corrtool.runtime.process import (
    configure_process,
    configured_process,
    preserving_torch_state,
)
from corrtool.runtime.seeds import derive_seeds, numpy_generator

PURPOSES = [
    "collect",
    "train",
    "select",
    "evaluate",
    "dqn",
    "learn-corr",
    "train-model",
    "hold out",
]


class TestDevice:
    def test_the_cpu_is_always_there(self) -> None:
        assert resolve_device("cpu") == torch.device("cpu")

    def test_auto_takes_what_there_is(self) -> None:
        device = resolve_device("auto")
        assert device.type == (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
        assert device.type != "cuda" or device.index == 0

    def test_a_gpu_that_is_not_there_fails(self) -> None:
        index = max(7, torch.cuda.device_count())
        with pytest.raises(DeviceError, match=f"cuda:{index} is not there") as raised:
            resolve_device(f"cuda:{index}")
        assert raised.value.exit_code == 4

    @pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
    def test_what_is_not_there_never_becomes_the_cpu(self, name: str) -> None:
        there = (
            torch.cuda.is_available()
            if name.startswith("cuda")
            else torch.backends.mps.is_available()
        )
        if there:
            assert resolve_device(name).type == name.partition(":")[0]
        else:
            with pytest.raises(DeviceError):
                resolve_device(name)

    @pytest.mark.parametrize(
        "name",
        [
            "gpu",
            "cuda:x",
            "cuda:-1",
            "cuda:1.5",
            "cuda:0:0",
            "cuda:²",
            "cpu:0",
            "mps:1",
            "CPU",
            "",
            " cpu",
            "xla",
            "meta",
        ],
    )
    def test_what_is_no_device_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="--device is") as raised:
            resolve_device(name)
        assert raised.value.exit_code == 2


class TestSeeds:
    def test_are_the_same_every_time(self) -> None:
        assert derive_seeds(3, "collect", 8, 2) == derive_seeds(3, "collect", 8, 2)
        # Pinned: another number here means that no earlier result can be repeated.
        assert derive_seeds(0, "evaluate", 2) == [1753397446, 1631933137]

    def test_what_differs_at_all_differs_in_its_stream(self) -> None:
        """Also by a zero at the end, or a seed of two words.

        Or by where a purpose ends and a position begins.
        """
        purposes = ["eval", "evaluate", "evaluate again", "select", "", "uate"]
        ends = [
            (),
            (0,),
            (0, 0),
            (1,),
            (1, 0),
            (0, 1),
            (int.from_bytes(b"uate", "little"),),
            (1 << 40,),
        ]
        keys = list(itertools.product([0, 3, 1 << 32, 3 + (1 << 32)], purposes, ends))
        streams = {
            tuple(derive_seeds(seed, purpose, 4, *position)) for seed, purpose, position in keys
        }
        assert len(streams) == len(keys)

    @given(
        *[
            st.tuples(
                st.integers(0, 2**63 - 1),
                st.text(max_size=12),
                st.lists(st.integers(0, 2**63), max_size=3),
            )
        ]
        * 2
    )
    def test_any_two_keys_have_two_streams(self, one: Any, other: Any) -> None:
        streams = [
            derive_seeds(seed, purpose, 4, *position) for seed, purpose, position in (one, other)
        ]
        assert (streams[0] == streams[1]) == (one == other)

    def test_are_what_environments_take(self) -> None:
        seeds = derive_seeds(0, "evaluate", 10_000)
        assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
        assert len(set(seeds)) > 9_990

    def test_of_different_purposes_never_meet(self) -> None:
        streams = {purpose: set(derive_seeds(0, purpose, 1000)) for purpose in PURPOSES}
        for one, other in itertools.combinations(PURPOSES, 2):
            assert not streams[one] & streams[other], (one, other)

    def test_of_the_games_that_choose_never_are_those_reported(self) -> None:
        reported = set(derive_seeds(0, "evaluate", 1000))
        chosen = {
            seed for step in range(0, 100_000, 1000) for seed in derive_seeds(0, "select", 10, step)
        }
        assert len(chosen) == 1000
        assert not reported & chosen

    def test_of_runs_and_positions_differ(self) -> None:
        streams = [
            derive_seeds(seed, "train", 4, position) for seed in range(5) for position in range(5)
        ]
        assert len({tuple(stream) for stream in streams}) == 25

    def test_more_of_them_begin_with_the_same(self) -> None:
        assert derive_seeds(1, "evaluate", 40)[:10] == derive_seeds(1, "evaluate", 10)

    def test_a_seed_may_be_large(self) -> None:
        assert derive_seeds(2**63, "train", 3) != derive_seeds(2**63 + 1, "train", 3)

    def test_generators_follow_the_same_rules(self) -> None:
        def draws(seed: int, purpose: str, *position: int) -> list[float]:
            drawn: list[float] = numpy_generator(seed, purpose, *position).random(5).tolist()
            return drawn

        assert draws(0, "dqn") == draws(0, "dqn")
        assert len({tuple(draws(0, purpose)) for purpose in PURPOSES}) == len(PURPOSES)
        assert draws(0, "select", 1) != draws(0, "select", 2) != draws(1, "select", 2)


class TestProcess:
    @pytest.fixture(autouse=True)
    def _as_before(self) -> Iterator[None]:
        threads, deterministic = (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )
        with preserving_torch_state():
            yield
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)

    def test_weights_come_from_the_seed(self) -> None:
        drawn = []
        for seed in (5, 5, 6):
            configure_process(torch.device("cpu"), seed, "image")
            drawn.append(torch.randn(4).tolist())
        assert drawn[0] == drawn[1] != drawn[2]

    def test_the_cpu_is_deterministic(self) -> None:
        torch.use_deterministic_algorithms(False)
        configure_process(torch.device("cpu"), 0, "image")
        assert torch.are_deterministic_algorithms_enabled()

    def test_numbers_too_small_to_matter_are_zero_and_are_numbers_again_afterwards(self) -> None:
        torch.set_flush_denormal(False)
        smallest = torch.full((1 << 20,), 1e-39)  # enough for every thread to have a part
        with preserving_torch_state():
            assert torch.count_nonzero(smallest * 0.5) == smallest.numel()
            supported = torch.set_flush_denormal(True)
            torch.set_flush_denormal(False)
            configure_process(torch.device("cpu"), 0, "vector")
            if supported:
                assert torch.count_nonzero(smallest * 0.5) == 0
        assert torch.count_nonzero(smallest * 0.5) == smallest.numel()
        with configured_process(torch.device("cpu"), 0, "vector"):
            assert torch.get_num_threads() == 1
            assert not supported or torch.count_nonzero(smallest[:9] * 0.5) == 0
        assert torch.count_nonzero(smallest[:9] * 0.5) == 9


def test_a_machine_is_described_in_plain_values() -> None:
    described = json.loads(json.dumps(describe_machine(torch.device("cpu"))))
    assert described["packages"]["torch"] == torch.__version__
    assert described["packages"]["numpy"] == np.__version__
    assert described["device"] == "cpu"


def test_a_memory_larger_than_what_is_free_is_refused_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    free = free_memory.free_bytes(cpu)
    assert free is None or 10**6 < free < 10**14
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: 2 * 10**9)
    free_memory.check_memory_is_free(2 * 10**9, cpu, "a memory", "take less")
    with pytest.raises(
        CorrtoolError, match=r"a memory takes 2\.5 GB, and 2\.0 GB are free on cpu; take less"
    ):
        free_memory.check_memory_is_free(25 * 10**8, cpu, "a memory", "take less")
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: None)
    free_memory.check_memory_is_free(10**18, cpu, "a memory", "take less")


def test_a_package_that_is_only_on_the_path_has_no_version() -> None:
    """corrtool may run from a directory on PYTHONPATH, which has no metadata."""
    assert machine._version("torch").partition("+")[0] == torch.__version__.partition("+")[0]
    assert machine._version("no-such-package") == "not installed"


@pytest.mark.parametrize(
    ("version", "commit"),
    [
        ("0.1.0.post1.dev576+g9f0a135db", "9f0a135db"),
        ("0.1.0.post1.dev576+g9f0a135db.d20261127", "9f0a135db-dirty"),
        ("0.1.0", None),
        ("0.1.0+d20261127", None),
        ("0+unknown", None),
    ],
)
def test_a_version_names_the_commit_that_it_was_built_from(
    version: str, commit: str | None
) -> None:
    assert machine.commit_of_version(version) == commit


def test_the_commit_is_that_of_the_checkout() -> None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        pytest.skip("not run from a checkout of git")
    head = subprocess.check_output(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True
    ).strip()
    commit = describe_machine(torch.device("cpu"))["commit"]
    assert commit is not None and head.startswith(commit.removesuffix("-dirty"))
