"""Repositories of the Hub that are not what push made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.commands import files_of, one_line_error, run_in_process
from support.hub import REPOSITORY, WEIGHTS, Hub, pushed

from corrtool.files.sealed_tensors import seal_tensors


@pytest.fixture
def lab(hub_lab: Path) -> Path:
    return hub_lab


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("weights/q/../../../evil.safetensors", b"x", "a place outside"),
        ("/etc/evil", b"x", "a place outside"),
        ("weights\\q\\evil.safetensors", b"x", "a place outside"),
        ("weights/q/evil.pkl", b"x", "no file of corrtool's"),
        ("weights/evil/a.safetensors", b"x", "no file of corrtool's"),
        ("weights/q/.evil.safetensors", b"x", "no file of corrtool's"),
        ("memories/evil", b"x", "no file of corrtool's"),
        ("weights/q/linked.safetensors", b"../../../etc/passwd", "linked.safetensors is damaged"),
        ("memories/m.zarr/zarr.json", b"{}", "corrtool.json is missing"),
        ("", b"x", "a place outside"),
        ("weights/q/agent.safetensors/x", b"x", "no file of corrtool's"),
        (f"memories/m.zarr/{'a' * 300}/zarr.json", b"x", "no file of corrtool's"),
        (f"memories/m.zarr/{'a/' * 2_000}zarr.json", b"x", "no file of corrtool's"),
        ("memories/m.zarr/evil.py", b"x", "no file of corrtool's"),
        ("memories/m.zarr/.cache/huggingface/evil", b"x", "no file of corrtool's"),
        ("memories/m.zarr/a/corrtool.json", b"x", "no file of corrtool's"),
    ],
)
def test_a_hostile_repository_is_refused(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    content: bytes,
    what: str,
) -> None:
    pushed(lab)
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {path: content})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    told = one_line_error(capsys)
    assert what in told and len(told) < 400
    assert not (tmp_path / "back").exists() and not (tmp_path / "evil.safetensors").exists()


def test_more_than_is_ever_pushed_is_not_downloaded(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pushed(lab)
    monkeypatch.setattr("corrtool.exchange.hub_listing.MOST_BYTES", 1_000)
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "more than corrtool pulls" in one_line_error(capsys)
    assert not any("/resolve/" in line for line in hub.asked)


def test_weights_that_are_not_finite_are_refused(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    nan = seal_tensors({"w": torch.tensor([float("nan")])}, {"kind": "q", "sha256": "0" * 64})
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {WEIGHTS[2]: nan})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "holds NaN or infinity" in one_line_error(capsys)


def test_a_file_that_is_a_directory_too_is_refused(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    both = dict.fromkeys(("memories/m.zarr/0", "memories/m.zarr/0/zarr.json"), b"x")
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | both)
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "'memories/m.zarr/0' as a file and as a directory" in one_line_error(capsys)
    assert not (tmp_path / "back").exists()


def test_only_the_files_of_its_manifest_are_in_a_memory(
    hub: Hub, cartpole_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next((cartpole_lab / "memories").glob("target*")).name.removesuffix(".zarr")
    pushed(cartpole_lab, name, "--kind", "memory")
    files = hub.files(REPOSITORY)
    extra = f"memories/{name}.zarr/.cache/huggingface/zarr.json"
    for path, what in (
        (extra, f"{extra} does not belong to the memory"),
        (f"memories/{name}.zarr/evil.py", "no file of corrtool's"),
    ):
        hub.commit(REPOSITORY, files | {path: b"{}"})
        assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
        assert what in one_line_error(capsys)
        assert not (tmp_path / "back").exists()


def test_push_names_a_place_outside_as_pull_does(
    hub: Hub, cartpole_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next((cartpole_lab / "memories").glob("target*")).name.removesuffix(".zarr")
    pushed(cartpole_lab, name, "--kind", "memory")
    outside = f"memories/{name}.zarr/../x"
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {outside: b"x"})
    said = f"{REPOSITORY} lists {outside!r}, a place outside; do not trust it"
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert said in one_line_error(capsys)
    push = ("push", REPOSITORY, name, "--kind", "memory", "-p", cartpole_lab)
    assert run_in_process(*push, "--quiet") == 3
    assert said in one_line_error(capsys)


SOURCE, TARGET = '[source]\nid = "CartPole-v1"\n', '[target]\nid = "CartPole-v1"\n'


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        ("", "corrtool.toml has no section [source]"),
        (SOURCE, "corrtool.toml has no section [target]"),
        ("[source", "corrtool.toml is not valid TOML"),
        (f"{SOURCE}views = 5\n{TARGET}", "views must be a list of texts"),
        (f"[source]\nid = 5\n{TARGET}", "[source] needs the id of an environment"),
        (f'[source]\nid = "Nothing-v9"\n{TARGET}', "unknown environment 'Nothing-v9'"),
        (f'[source]\nid = "nothing_here:X"\n{TARGET}', "unknown environment 'nothing_here:X'"),
        (f'{SOURCE}views = ["affine:map.json"]\n{TARGET}', "map.json is not an affine view"),
        (f"{SOURCE}kwargs = {{x = nan}}\n{TARGET}", "cannot be written into corrtool.toml"),
    ],
)
def test_tasks_that_cannot_be_used_are_the_fault_of_the_repository(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    toml: str,
    what: str,
) -> None:
    pushed(lab)
    described = {"corrtool.toml": toml.encode(), "map.json": b"{}"}
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | described)
    before = files_of(tmp_path)
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    told = one_line_error(capsys)
    assert f"{REPOSITORY}: its corrtool.toml cannot be used: " in told and what in told
    assert ".partial" not in told and "nothing was changed here" in told
    assert files_of(tmp_path) == before and not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", [".cache", "pulled", "runs", "a" * 200])
def test_the_map_of_a_view_takes_no_other_place(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pushed(lab)
    view = json.dumps({"matrix": [[1, 0, 0, 0]], "offset": [0]}).encode()
    toml = f'{SOURCE}views = ["affine:{name}"]\n{TARGET}'.encode()
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {"corrtool.toml": toml, name: view})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "for a new project" in one_line_error(capsys)
    assert not (tmp_path / "back").exists()


def test_a_new_project_of_other_tasks_than_its_weights_is_named(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    toml = (SOURCE + TARGET).replace("CartPole-v1", "Pendulum-v1").encode()
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {"corrtool.toml": toml})
    capsys.readouterr()
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 0
    said = capsys.readouterr().err
    assert "Q-function agent was made on another source task than this project's" in said
    assert "correspondence map was made on another target task than this project's" in said
