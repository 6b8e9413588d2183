"""Checkpoints give back the state of a run exactly, and never replace a good one by a bad one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from corrtool.errors import ArtifactError, TrainingDivergedError
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def round_trip(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    save_checkpoint(path, state)
    return load_checkpoint(path)


def assert_same(one: object, other: object) -> None:
    """Equal in value and in type, all the way down; a tuple may come back as a list."""
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert list(one) == list(other)  # keys, with their types, in their order
        assert all(type(a) is type(b) for a, b in zip(one, other, strict=True))
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, list | tuple):
        assert isinstance(other, list)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert type(one) is type(other)
        assert one == other


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.lists(st.floats(-9, 9), max_size=3).map(torch.tensor)
    | st.lists(st.integers(-9, 9), max_size=3).map(lambda values: np.array(values, np.int64))
)
keys = st.text("abcxyz_.é", min_size=1, max_size=4)
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(st.integers(0, 99), inner, max_size=3)
    ),
    max_leaves=12,
)


class TestRoundTrip:
    @settings(deadline=None, max_examples=30)
    @given(st.dictionaries(keys, nested, max_size=4))
    def test_of_any_nesting(
        self, tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
    ) -> None:
        assert_same(state, round_trip(tmp_path_factory.getbasetemp() / "nested", state))

    def test_of_an_optimizer_whose_keys_are_integers(self, path: Path) -> None:
        def trained(
            network: nn.Module, optimizer: torch.optim.Optimizer, steps: int
        ) -> list[torch.Tensor]:
            for step in range(steps):
                optimizer.zero_grad()
                network(torch.full((2, 3), 0.1 * step)).square().sum().backward()
                optimizer.step()
            return [parameter.detach().clone() for parameter in network.parameters()]

        torch.manual_seed(0)
        network = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
        trained(network, optimizer, 3)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        loaded = round_trip(path, state)
        assert_same(state["optimizer"], loaded["optimizer"])
        assert set(loaded["optimizer"]["state"]) == {0, 1}

        other = nn.Linear(3, 2)
        other_optimizer = torch.optim.Adam(other.parameters(), lr=0.7, fused=True)
        other.load_state_dict(loaded["network"])
        other_optimizer.load_state_dict(loaded["optimizer"])
        expected, resumed = trained(network, optimizer, 4), trained(other, other_optimizer, 4)
        assert all(torch.equal(a, b) for a, b in zip(expected, resumed, strict=True))

    def test_of_a_random_generator_with_its_128_bit_integers(self, path: Path) -> None:
        random = np.random.default_rng(5)
        random.integers(0, 10, 3)  # also leaves half of a 64-bit draw over
        state = round_trip(path, {"random": random.bit_generator.state})
        assert state["random"]["state"]["state"] > 2**64
        resumed = np.random.default_rng(0)
        resumed.bit_generator.state = state["random"]
        assert resumed.random(20).tolist() == random.random(20).tolist()

    @pytest.mark.parametrize(
        "dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_]
    )
    def test_of_numpy_arrays(self, path: Path, dtype: type) -> None:
        whole: np.ndarray = np.arange(6).reshape(2, 3).astype(dtype)
        state = {"whole": whole, "part": whole[:, ::2].T, "empty": np.zeros((0, 4), dtype)}
        assert_same(state, round_trip(path, state))

    def test_of_numpy_numbers_as_plain_ones(self, path: Path) -> None:
        loaded = round_trip(path, {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True)})
        assert loaded == {"a": 3, "b": 0.5, "c": True}
        assert [type(value) for value in loaded.values()] == [int, float, bool]

    def test_of_nothing_and_of_empty_parts(self, path: Path) -> None:
        states: list[dict[str, Any]] = [
            {},
            {"a": None, "b": {}, "c": [], "d": {"e": {}}, "f": [None, [], {}]},
        ]
        for state in states:
            assert_same(state, round_trip(path, state))

    def test_of_tensors_that_share_their_memory(self, path: Path) -> None:
        weight = torch.arange(6.0)
        state = {"network": {"w": weight}, "target": {"w": weight}, "part": weight[2:4]}
        assert_same(state, round_trip(path, state))

    def test_of_names_with_slashes(self, path: Path) -> None:
        state = {"a/b": torch.tensor(1.0), "a": {"b": torch.tensor(2.0)}}
        assert_same(state, round_trip(path, state))

    def test_what_is_loaded_can_be_changed(self, path: Path) -> None:
        loaded = round_trip(path, {"array": np.zeros(3), "tensor": torch.zeros(3)})
        loaded["array"][0] = 1.0
        loaded["tensor"][0] = 1.0


class TestWhatIsRefused:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_tensor_that_is_not_finite_and_the_old_file_stays(
        self, path: Path, bad: float, dtype: torch.dtype
    ) -> None:
        save_checkpoint(path, {"network": {"w": torch.ones(2)}, "steps": 1})
        before = path.read_bytes()
        with pytest.raises(
            TrainingDivergedError, match="network/w became NaN or infinite"
        ) as raised:
            save_checkpoint(
                path, {"network": {"w": torch.tensor([1.0, bad], dtype=dtype)}, "steps": 2}
            )
        assert str(path) in raised.value.message
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_an_array_that_is_not_finite(self, path: Path) -> None:
        with pytest.raises(TrainingDivergedError):
            save_checkpoint(path, {"rewards": np.array([0.0, np.nan])})
        assert not path.exists()

    def test_a_damaged_or_missing_file(self, path: Path) -> None:
        with pytest.raises(ArtifactError, match="is missing"):
            load_checkpoint(path)
        save_checkpoint(path, {"w": torch.ones(4)})
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="is damaged"):
            load_checkpoint(path)

    def test_nothing_in_a_checkpoint_is_pickled(self, path: Path) -> None:
        with pytest.raises(TypeError):
            save_checkpoint(path, {"code": print})
        assert not path.exists()


def test_a_checkpoint_replaces_the_one_before(path: Path) -> None:
    save_checkpoint(path, {"w": torch.zeros(100), "steps": 1})
    assert round_trip(path, {"steps": 2}) == {"steps": 2}
