"""Files that are damaged, of something else, or meant to harm.

Each is exit 3 and one line; nothing in it is executed, and nothing is written.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import one_line_error, run_in_process
from support.foreign_agents import (
    SB3_MEMBERS,
    CleanrlNetwork,
    Sb3Policy,
    saved,
    sb3_data,
    zipped,
)
from torch import nn

from corrtool.errors import ArtifactError
from corrtool.exchange import foreign
from corrtool.exchange.foreign import ForeignFile, load_torch, named_tensors, read_foreign
from corrtool.project.directory import create_project

pytestmark = pytest.mark.usefixtures("seeded")
MARK = "executed"


class Malicious:
    """Unpickled, it makes a directory."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (MARK,))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of CartPole, which is the current directory."""
    table = {"id": "CartPole-v1"}
    root = create_project(tmp_path / "lab", {"source": table, "target": table}, {}).root
    monkeypatch.chdir(root)
    return root


def imported(path: Path, *flags: object, form: str = "sb3") -> int:
    return run_in_process("import", "q", path, "--from", form, "--preprocessing", "same", *flags)


def pickled_in_torchs_zip() -> bytes:
    """As torch.save writes it, with the malicious object among the weights."""
    return saved({"network.0.weight": torch.zeros(1), "evil": Malicious()})


def bare_pickle() -> bytes:
    return pickle.dumps({"network.0.weight": Malicious()})


def with_records(change: Callable[[str, bytes], bytes | None], value: Any) -> bytes:
    """A file of torch with changed records; None leaves one out."""
    members = {}
    with zipfile.ZipFile(io.BytesIO(saved(value))) as archive:
        for name in archive.namelist():
            content = change(name.partition("/")[2], archive.read(name))
            if content is not None:
                members[name] = content
    return zipped(members)


def weights() -> dict[str, torch.Tensor]:
    return CleanrlNetwork(2, 4).state_dict()


def endless() -> dict[str, Any]:
    table: dict[str, Any] = {"network": {}}
    table["network"]["network"] = table
    return table


HUGE = torch.ones(1).as_strided((10**6, 10**6), (0, 0))  # a file of a kilobyte
STATE_DICTS: dict[str, Callable[[], bytes]] = {
    "code in a zip of torch": pickled_in_torchs_zip,
    "code in a bare pickle": bare_pickle,
    "nothing": lambda: b"",
    "noise": lambda: bytes(range(256)) * 9,
    "cut short": lambda: saved(weights())[:-300],
    "a record that is shorter than its tensor": lambda: with_records(
        lambda name, content: content[:8] if name == "data/0" else content, weights()
    ),
    "a missing record": lambda: with_records(
        lambda name, content: None if name == "data/0" else content, weights()
    ),
    "packed": lambda: zipped({"a/data.pkl": bytes(10**6)}, zipfile.ZIP_DEFLATED),
    "no table": lambda: saved([torch.zeros(2)]),
    "a table without end": lambda: saved(endless()),
    "a huge weight": lambda: saved(weights() | {"network.0.weight": HUGE}),
    "huge layers": lambda: saved(
        {
            "network.0.weight": torch.ones(1).as_strided((10**6, 4), (0, 0)),
            "network.0.bias": torch.ones(1).as_strided((10**6,), (0,)),
            "network.2.weight": torch.ones(1).as_strided((2, 10**6), (0, 0)),
            "network.2.bias": torch.zeros(2),
        }
    ),
    "numbers that are none": lambda: saved(
        weights() | {"network.0.bias": torch.full((120,), torch.nan)}
    ),
    "whole numbers": lambda: saved(weights() | {"network.0.bias": torch.zeros(120).long()}),
    "sparse": lambda: saved(weights() | {"network.0.weight": torch.eye(120, 4).to_sparse()}),
    "without memory": lambda: saved(
        weights() | {"network.0.weight": torch.zeros(120, 4, device="meta")}
    ),
    "no weights": lambda: saved({}),
    "a layer too few": lambda: saved({k: v for k, v in weights().items() if "4" not in k}),
    "another name": lambda: saved(weights() | {"network.11.gamma": torch.zeros(2)}),
    "a dueling head": lambda: saved(
        weights() | {"advantage.0.weight": torch.zeros(2, 84), "value.0.weight": torch.zeros(1, 84)}
    ),
    "a distribution": lambda: saved(
        {"model_weights": weights() | {"atoms": torch.zeros(51)}, "args": {}}
    ),
}


@pytest.mark.parametrize("name", STATE_DICTS)
def test_state_dicts(lab: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = lab / "agent"
    path.write_bytes(STATE_DICTS[name]())
    mapping = lab / "names.json"
    mapping.write_text(json.dumps({name: name for name in weights()}))
    for flags, form in (((), "cleanrl"), (("--mapping", mapping), "torch")):
        assert imported(path, *flags, form=form) == 3
        assert "agent" in one_line_error(capsys)
    assert not (lab / MARK).exists() and not (lab / "weights").exists()


def test_what_a_file_asks_for_is_named(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab / "agent").write_bytes(pickled_in_torchs_zip())
    assert imported(lab / "agent", form="cleanrl") == 3
    assert "(it asks for posix.mkdir), so nothing of it was loaded" in one_line_error(capsys)
    torch.load(lab / "agent", weights_only=False)  # the trap works
    assert (lab / MARK).exists()


def zip_of(data: Any = None, policy: bytes | None = None, **more: bytes) -> bytes:
    data = sb3_data([4], 2) if data is None else data
    policy = saved(Sb3Policy(2, (4, 8)).state_dict()) if policy is None else policy
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return zipped({"data": text, "policy.pth": policy, **SB3_MEMBERS, **more})


def policy_of(module: str) -> bytes:
    return zip_of(sb3_data([4], 2, policy_class={"__module__": module}))


def policy_kwargs(**kwargs: Any) -> bytes:
    return zip_of(sb3_data([4], 2, policy_kwargs=kwargs))


def more_weights(name: str) -> bytes:
    return zip_of(policy=saved(Sb3Policy(2, (4, 8)).state_dict() | {name: torch.zeros(1)}))


ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"PK\x03\x04" + bytes(99), "is no zip file, or damaged"),
    "cut short": (lambda: zip_of()[:2_000], "is no zip file, or damaged"),
    "cut behind the zip in it": (lambda: zip_of()[:-40], "is damaged: its beginning is no zip"),
    "code for weights": (lambda: zip_of(policy=pickled_in_torchs_zip()), "it asks for posix.mkdir"),
    "code in a bare pickle": (lambda: zip_of(policy=bare_pickle()), "is no file that torch"),
    "a path": (lambda: zip_of(**{"../../evil.pth": b"x"}), "holds data, policy.pth"),
    "a whole path": (lambda: zip_of(**{"/etc/evil": b"x"}), "holds data, policy.pth"),
    "another member": (lambda: zip_of(**{"replay_buffer.pkl": bare_pickle()}), "one of its kind"),
    "no weights": (lambda: zipped({"data": b"{}"}), "holds data; one of its kind holds"),
    "a bomb": (
        lambda: zipped(
            {"data": bytes((1 << 24) + 1), "policy.pth": b""}, compression=zipfile.ZIP_DEFLATED
        ),
        "holds data of more than 16,777,216 bytes",
    ),
    "data that are no JSON": (lambda: zip_of(b"\x80\x04"), "its data are no JSON"),
    "data without end": (lambda: zip_of(b"[" * 10**6), "its data are no JSON"),
    "data that are no table": (lambda: zip_of(b"[]"), "its data are no table"),
    "a policy of PPO": (
        lambda: policy_of("stable_baselines3.common.policies"),
        "holds a policy of stable_baselines3.common.policies",
    ),
    "QR-DQN": (lambda: policy_of("sb3_contrib.qrdqn.policies"), "only a DQN"),
    "no policy": (lambda: zip_of({}), "holds a policy of None"),
    "tanh": (
        lambda: policy_kwargs(activation_fn="<class 'torch.nn.modules.activation.Tanh'>"),
        "activation_fn is",
    ),
    "pictures as they are": (lambda: policy_kwargs(normalize_images=False), "normalize_images is"),
    "other features": (
        lambda: policy_kwargs(features_extractor_class="<class 'mine.CNN'>"),
        "features_extractor_class is <class 'mine.CNN'>",
    ),
    "other arguments of the features": (
        lambda: policy_kwargs(features_extractor_kwargs={"normalized_image": True}),
        "features_extractor_kwargs is",
    ),
    "an unknown argument": (lambda: policy_kwargs(dueling=True), "dueling is True"),
    "an argument of a table": (lambda: policy_kwargs(activation_fn={}), "activation_fn is {}"),
    "a quantile network": (
        lambda: more_weights("quantile_net.quantile_net.0.weight"),
        "'quantile_net.quantile_net.0.weight', which is no weight of a DQN",
    ),
    "other features' weights": (
        lambda: more_weights("q_net.features_extractor.extractors.a.weight"),
        "which is no weight of a DQN",
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zips(lab: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write, message = ZIPS[name]
    (lab / "agent.zip").write_bytes(write())
    assert imported(lab / "agent.zip") == 3
    line = one_line_error(capsys)
    assert message in line and "agent.zip" in line
    assert not (lab / MARK).exists() and not (lab / "weights").exists()
    assert not (lab.parent / "evil.pth").exists()


def test_a_member_twice(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two readers could take different ones."""
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile("two.zip", "w") as two:
        for _ in range(2):
            two.writestr("data", b"{}")
        two.writestr("policy.pth", b"")
    assert imported(lab / "two.zip") == 3
    assert "holds data, data, policy.pth" in one_line_error(capsys)


def test_an_honest_one_next_to_them(lab: Path) -> None:
    (lab / "agent.zip").write_bytes(zip_of())
    kwargs = {
        ":type:": "<class 'dict'>",
        ":serialized:": "not a pickle",
        "net_arch": [8],
        "activation_fn": "<class 'torch.nn.modules.activation.ReLU'>",
        "features_extractor_kwargs": {"features_dim": 512},
        "optimizer_kwargs": {"eps": 1e-5},
    }
    (lab / "more.zip").write_bytes(zip_of(sb3_data([4], 2, policy_kwargs=kwargs)))
    assert imported(lab / "agent.zip", "--quiet") == imported(lab / "more.zip", "--quiet") == 0


def test_what_is_no_file(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert imported(lab / "missing.zip") == 3
    assert one_line_error(capsys).endswith("there is no file " + str(lab / "missing.zip"))
    assert imported(lab) == 3
    assert "not a regular file" in one_line_error(capsys)
    monkeypatch.setattr(foreign, "MAX_FILE_BYTES", 10)
    (lab / "large.zip").write_bytes(bytes(11))
    with pytest.raises(ArtifactError, match="larger than a gigabyte"):
        read_foreign(lab / "large.zip")
    (lab / "large.zip").write_bytes(bytes(10))
    assert read_foreign(lab / "large.zip").content == bytes(10)


def test_tables_in_tables_have_names_with_dots() -> None:
    inner = nn.Parameter(torch.zeros(2))
    table = {"a": {"b": {"weight": inner}, "step": 3}, "bias": torch.ones(1), 7: torch.ones(2)}
    found = named_tensors(ForeignFile("x", b""), load_torch(ForeignFile("x", saved(table))))
    assert {name: tensor.shape for name, tensor in found.items()} == {
        "a.b.weight": (2,),
        "bias": (1,),
        "7": (2,),
    }
