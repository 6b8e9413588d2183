"""A sealed file is read as it was written, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.errors import ArtifactError
from corrtool.files import sealed
from corrtool.files.sealed import read_sealed_json, read_tensor_metadata, seal_json
from corrtool.files.sealed_tensors import content_sha256, read_sealed_tensors, seal_tensors

TENSORS = {"weight": torch.tensor([[1.5, -2.0]]), "steps": torch.tensor(7)}
VALUE = {
    "name": "pöng",
    "λ": [1, 2.5, None, True],
    "nested": {"a": {"b": "c"}},
    "large": 2**127 + 1,
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture(params=["json", "tensors"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def content_of(kind: str) -> bytes:
    """A small file of either kind."""
    return (
        seal_json({"a": 1})
        if kind == "json"
        else seal_tensors({"w": torch.tensor([1.0])}, {"a": 1})
    )


def read(kind: str, path: Path) -> object:
    return read_sealed_json(path) if kind == "json" else read_sealed_tensors(path)


class TestRoundTrip:
    @settings(deadline=None, max_examples=50)
    @given(
        st.dictionaries(
            st.text().filter(lambda key: key not in ("seal", "format_version")),
            json_values,
            max_size=4,
        )
    )
    def test_of_json(self, tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
        path = tmp_path_factory.getbasetemp() / "sealed.json"
        path.write_bytes(seal_json(value))
        assert read_sealed_json(path) == value | {"format_version": sealed.FORMAT_VERSION}

    def test_of_tensors_and_their_json(self, path: Path) -> None:
        path.write_bytes(seal_tensors(TENSORS, VALUE))
        tensors, value = read_sealed_tensors(path)
        assert value == VALUE | {"format_version": 1}
        assert read_tensor_metadata(path) == value
        assert set(tensors) == set(TENSORS)
        for name, tensor in TENSORS.items():
            assert tensors[name].dtype == tensor.dtype
            assert torch.equal(tensors[name], tensor)

    @pytest.mark.parametrize(
        "dtype",
        [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int64, torch.bool],
    )
    def test_of_every_type_and_of_empty_tensors(self, path: Path, dtype: torch.dtype) -> None:
        tensors = {
            "some": torch.tensor([0, 1, 2]).to(dtype),
            "none": torch.zeros((0, 3), dtype=dtype),
        }
        path.write_bytes(seal_tensors(tensors, {}))
        loaded, _ = read_sealed_tensors(path)
        for name, tensor in tensors.items():
            assert loaded[name].dtype == dtype
            assert loaded[name].shape == tensor.shape
            assert torch.equal(loaded[name], tensor)

    def test_of_weights_that_are_not_contiguous(self, path: Path) -> None:
        weight = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
        path.write_bytes(seal_tensors({"w": weight, "t": torch.randn(2, 3).t()}, {}))
        assert torch.equal(read_sealed_tensors(path)[0]["w"], weight)

    def test_of_parameters_that_are_being_learnt(self, path: Path) -> None:
        path.write_bytes(seal_tensors({"w": torch.nn.Parameter(torch.ones(2))}, {}))
        assert read_sealed_tensors(path)[0]["w"].tolist() == [1.0, 1.0]

    def test_of_text_that_looks_like_a_seal(self, path: Path) -> None:
        value = {"text": '{"seal": "' + "0" * 64}
        path.write_bytes(seal_json(value))
        assert read_sealed_json(path)["text"] == value["text"]
        path.write_bytes(seal_tensors({'{"seal": "': torch.ones(1)}, value))
        assert read_sealed_tensors(path)[1]["text"] == value["text"]

    def test_plain_safetensors_reads_the_tensors(self, path: Path) -> None:
        path.write_bytes(seal_tensors(TENSORS, VALUE))
        with safetensors.safe_open(path, "pt") as file:
            assert torch.equal(file.get_tensor("weight"), TENSORS["weight"])
            assert json.loads(file.metadata()["corrtool"])["name"] == "pöng"

    def test_plain_json_reads_the_json(self, path: Path) -> None:
        path.write_bytes(seal_json(VALUE))
        assert json.loads(path.read_bytes()).items() >= VALUE.items()


class TestDamage:
    def test_in_one_bit_of_any_byte_is_refused(self, kind: str, path: Path) -> None:
        content = content_of(kind)
        path.write_bytes(content)
        read(kind, path)
        for at in range(len(content)):
            flipped = bytearray(content)
            flipped[at] ^= 1 << at % 8
            path.write_bytes(flipped)
            with pytest.raises(ArtifactError, match="is damaged"):
                read(kind, path)

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(["json", "tensors"]), st.floats(0, 1, exclude_max=True))
    def test_in_any_one_bit_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, kind: str, share: float
    ) -> None:
        content = bytearray(content_of(kind))
        bit = int(share * 8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path = tmp_path_factory.getbasetemp() / "flipped"
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="is damaged"):
            read(kind, path)

    def test_by_truncation_at_any_length_is_refused(self, kind: str, path: Path) -> None:
        content = content_of(kind)
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(ArtifactError, match="is damaged"):
                read(kind, path)

    @settings(deadline=None, max_examples=100)
    @given(st.data(), st.sampled_from(["json", "tensors"]))
    def test_of_any_bytes_anywhere_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
    ) -> None:
        content = content_of(kind)
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, len(content)))
        changed = content[:start] + data.draw(st.binary(max_size=40)) + content[end:]
        path = tmp_path_factory.getbasetemp() / "changed"
        path.write_bytes(changed)
        if changed != content:
            with pytest.raises(ArtifactError, match="is damaged"):
                read(kind, path)

    def test_names_the_file_and_says_what_to_do(self, kind: str, path: Path) -> None:
        path.write_bytes(b"")
        with pytest.raises(ArtifactError) as raised:
            read(kind, path)
        assert str(path) in raised.value.message
        assert "--overwrite" in raised.value.hint

    def test_a_file_that_is_missing_or_a_directory_is_refused(
        self, kind: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ArtifactError, match="is missing"):
            read(kind, tmp_path / "nowhere")
        with pytest.raises(ArtifactError, match="not a regular file"):
            read(kind, tmp_path)

    def test_a_seal_over_something_else_than_a_table_is_refused(self, path: Path) -> None:
        blank = b'{"seal": "' + b"0" * 64 + b'"}'
        path.write_bytes(sealed.seal(blank, b'{"seal": "'))  # a good seal, but no format version
        with pytest.raises(ArtifactError, match="is damaged"):
            read_sealed_json(path)


class TestMetadataAlone:
    """The quick look of listings: it may miss damage, but never fails in another way."""

    def test_of_a_truncated_file(self, path: Path) -> None:
        content = content_of("tensors")
        end_of_header = content.rindex(b"}") + 1  # padding and one number follow
        for length in range(end_of_header):
            path.write_bytes(content[:length])
            with pytest.raises(ArtifactError, match="is damaged"):
                read_tensor_metadata(path)

    @settings(deadline=None, max_examples=200)
    @given(
        st.binary(max_size=60)
        | st.binary(max_size=40).map(lambda b: len(b).to_bytes(8, "little") + b)
    )
    def test_of_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "anything"
        path.write_bytes(content)
        with pytest.raises(ArtifactError):
            read_tensor_metadata(path)

    @pytest.mark.parametrize(
        "header", ["[]", "3", "null", '{"__metadata__": 3}', '{"__metadata__": {"corrtool": "[]"}}']
    )
    def test_of_other_json(self, path: Path, header: str) -> None:
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
        with pytest.raises(ArtifactError, match="is damaged"):
            read_tensor_metadata(path)

    def test_of_a_missing_file(self, path: Path) -> None:
        with pytest.raises(ArtifactError, match="cannot read"):
            read_tensor_metadata(path)

    def test_of_a_file_that_plain_safetensors_wrote(self, path: Path) -> None:
        safetensors.torch.save_file(TENSORS, path)
        for reader in (read_tensor_metadata, read_sealed_tensors):
            with pytest.raises(ArtifactError):
                reader(path)


def test_a_newer_format_is_refused_with_a_message_of_its_own(
    kind: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 2)
    path.write_bytes(content_of(kind))
    monkeypatch.undo()
    readers: dict[str, list[Callable[[Path], object]]] = {
        "json": [read_sealed_json],
        "tensors": [read_sealed_tensors, read_tensor_metadata],
    }
    for reader in readers[kind]:
        with pytest.raises(
            ArtifactError, match=r"newer corrtool \(format 2, this one reads 1\)"
        ) as raised:
            reader(path)
        assert raised.value.hint == "update corrtool"


class TestContentSha256:
    def test_does_not_depend_on_the_order_of_names(self) -> None:
        assert content_sha256(TENSORS) == content_sha256(dict(reversed(TENSORS.items())))

    def test_does_not_depend_on_the_layout_in_memory(self) -> None:
        weight = torch.randn(2, 3, 4, 5)
        assert content_sha256({"w": weight}) == content_sha256(
            {"w": weight.to(memory_format=torch.channels_last)}
        )

    @pytest.mark.parametrize(
        "other",
        [
            {"weight": torch.tensor([[1.5, -2.5]]), "steps": torch.tensor(7)},
            {"weight": torch.tensor([1.5, -2.0]), "steps": torch.tensor(7)},
            {"weight": torch.tensor([[1.5, -2.0]]).double(), "steps": torch.tensor(7)},
            {"bias": torch.tensor([[1.5, -2.0]]), "steps": torch.tensor(7)},
            {"weight": torch.tensor([[1.5, -2.0]])},
        ],
        ids=["value", "shape", "type", "name", "fewer"],
    )
    def test_depends_on_everything_else(self, other: dict[str, Any]) -> None:
        assert content_sha256(TENSORS) != content_sha256(other)
