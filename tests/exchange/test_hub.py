"""A project that goes to the Hub and comes back, against a stand-in of the Hub's API."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from support.commands import files_of, one_line_error, run_in_process
from support.hub import REPOSITORY, WEIGHTS, Hub, pushed

from corrtool.files.sealed import read_sealed_json
from corrtool.memory import storage
from corrtool.project.directory import Project
from corrtool.project.weights import save_weights


@pytest.fixture
def lab(hub_lab: Path) -> Path:
    return hub_lab


def test_what_was_pushed_comes_back_as_it_was(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    assert sorted(hub.files(REPOSITORY)) == ["README.md", "config.json", "corrtool.toml", *WEIGHTS]
    back = tmp_path / "new" / "back"
    capsys.readouterr()
    assert run_in_process("pull", REPOSITORY, "-p", back, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    ours, theirs = files_of(lab), files_of(back)
    assert all(ours[path] == theirs[path] for path in [*WEIGHTS, "corrtool.toml"])
    sha = hub.commits[REPOSITORY][-1][0]
    assert told["made_project"] and told["commit"] == sha and len(told["new"]) == 3
    assert told["record"] == f"pulled/someone--cartpole@{sha}.json"
    record = read_sealed_json(back / told["record"])
    assert (record["commit"], record["server"]) == (sha, hub.url)
    assert record["artifacts"] == told["artifacts"]
    assert not [path for path in back.iterdir() if path.name.startswith(".pull")]
    assert run_in_process("verify", "-p", back, "--quiet") == 0


def test_all_of_a_push_is_one_commit(hub: Hub, lab: Path) -> None:
    pushed(lab)
    pushed(lab, "other", "--kind", "q", "--message", "another")
    assert len(hub.commits[REPOSITORY]) == 2
    assert "weights/q/other.safetensors" in hub.files(REPOSITORY)


def test_without_names_a_kind_means_its_newest(hub: Hub, lab: Path) -> None:
    save_weights(lab, "q", "late", {"w": torch.ones(1)}, {"created": "2027"})
    pushed(lab, "--kind", "q")
    weights = [path for path in hub.files(REPOSITORY) if path.startswith("weights")]
    assert weights == ["weights/q/late.safetensors"]


def test_a_dry_run_asks_the_hub_nothing(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_in_process("push", REPOSITORY, "-p", lab, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["commit"] is None and told["files"][-3:] == WEIGHTS and not hub.asked


def test_a_damaged_file_does_not_leave_the_project(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lab / WEIGHTS[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert run_in_process("push", REPOSITORY, "-p", lab, "--video", "none") == 3
    assert "map.safetensors is damaged" in one_line_error(capsys) and not hub.asked


def test_nothing_lands_of_a_repository_with_a_damaged_file(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    files = hub.files(REPOSITORY)
    hub.commit(REPOSITORY, files | {WEIGHTS[2]: files[WEIGHTS[2]][:-1] + b"\x00"})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    told = one_line_error(capsys)
    assert f"{REPOSITORY}: {WEIGHTS[2]} is damaged" in told and "OWNER" not in told
    assert not (tmp_path / "back").exists()
    before = files_of(lab)
    assert run_in_process("pull", REPOSITORY, "-p", lab, "--overwrite") == 3
    assert files_of(lab) == before


def test_a_commit_can_be_pinned(hub: Hub, lab: Path, tmp_path: Path) -> None:
    pushed(lab)
    first, files = hub.commits[REPOSITORY][0]
    hub.commit(REPOSITORY, dict.fromkeys(files, b""))
    back = tmp_path / "back"
    assert run_in_process("pull", f"{REPOSITORY}@{first}", "-p", back, "--quiet") == 0
    assert files_of(back)[WEIGHTS[0]] == files[WEIGHTS[0]]
    downloads = [line for line in hub.asked if "/resolve/" in line]
    assert downloads and all(f"/resolve/{first}/" in line for line in downloads)


def test_a_branch_is_pinned_while_it_is_downloaded(hub: Hub, lab: Path, tmp_path: Path) -> None:
    pushed(lab)
    assert run_in_process("pull", f"{REPOSITORY}@main", "-p", tmp_path / "b", "--quiet") == 0
    sha = hub.commits[REPOSITORY][0][0]
    assert all(f"/resolve/{sha}/" in line for line in hub.asked if "/resolve/" in line)
    record = read_sealed_json(tmp_path / "b" / "pulled" / f"someone--cartpole@{sha}.json")
    assert (record["revision"], record["commit"]) == ("main", sha)


def test_what_is_here_already_stays(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    capsys.readouterr()
    assert run_in_process("pull", REPOSITORY, "-p", lab, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"] == [] and len(told["artifacts"]) == 3 and not told["made_project"]


def test_other_content_of_a_name_is_refused_until_told_to_replace_it(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    save_weights(lab, "q", "agent", {"w": torch.tensor([9.0])}, {"created": "2027"})
    mine = (lab / WEIGHTS[2]).read_bytes()
    assert run_in_process("pull", REPOSITORY, "-p", lab) == 2
    told = one_line_error(capsys)
    assert "another Q-function agent" in told and "--overwrite" in told
    assert (lab / WEIGHTS[2]).read_bytes() == mine and not (lab / "pulled").exists()
    assert run_in_process("pull", REPOSITORY, "-p", lab, "--overwrite", "--quiet") == 0
    assert (lab / WEIGHTS[2]).read_bytes() == hub.files(REPOSITORY)[WEIGHTS[2]]


def test_artifacts_of_other_tasks_are_named(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    other = tmp_path / "other"
    assert run_in_process("init", other, "--source", "CartPole-v1", "--quiet") == 0
    capsys.readouterr()
    assert run_in_process("pull", REPOSITORY, "-p", other) == 0
    said = capsys.readouterr().err
    assert "correspondence map was made on another target task" in said
    assert "source task" not in said


def test_maps_of_views_travel(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    view = tmp_path / "elsewhere" / "map.json"
    view.write_text(json.dumps({"matrix": [[2, 0, 0, 0], [0, 1, 0, 0]], "offset": [0, 1]}))
    lab, back = tmp_path / "lab", tmp_path / "back"
    flags = ("--source", "CartPole-v1", "--target-view", f"affine:{view}", "--quiet")
    assert run_in_process("init", lab, *flags) == 0
    save_weights(lab, "q", "agent", {"w": torch.ones(1)}, {})
    pushed(lab, "agent")
    assert run_in_process("pull", REPOSITORY, "-p", back, "--quiet") == 0
    assert Project(back).task("target").sha256 == Project(lab).task("target").sha256
    assert (back / "map.json").read_bytes() == view.read_bytes()


def test_settings_of_a_repository_are_not_taken_over(hub: Hub, lab: Path, tmp_path: Path) -> None:
    pushed(lab)
    files = hub.files(REPOSITORY)
    toml = files["corrtool.toml"] + b"\n[defaults]\ndevice = 'cuda'\n"
    hub.commit(REPOSITORY, files | {"corrtool.toml": toml})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back", "--quiet") == 0
    assert Project(tmp_path / "back").defaults == {}


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b"{}"])
def test_a_server_that_is_no_hub_is_one_line(
    hub: Hub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    monkeypatch.setattr("support.hub._Handler.do_GET", lambda self: self._answer(answer, 200, {}))
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 1
    assert "does not answer as the Hub does" in one_line_error(capsys)


def test_a_full_disk_is_not_the_network(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "staged")

    pushed(lab)
    monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", full)
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 1
    told = one_line_error(capsys)
    assert "No space left" in told and "network" not in told
    assert not (tmp_path / "back").exists()


def test_a_memory_goes_by_name(hub: Hub, cartpole_lab: Path, tmp_path: Path) -> None:
    name = next((cartpole_lab / "memories").glob("target*")).name.removesuffix(".zarr")
    pushed(cartpole_lab, name, "--kind", "memory")
    back = tmp_path / "back"
    assert run_in_process("pull", REPOSITORY, "-p", back, "--quiet") == 0
    ours, theirs = (files_of(root / "memories" / f"{name}.zarr") for root in (cartpole_lab, back))
    assert ours == theirs and run_in_process("verify", "-p", back, "--quiet") == 0


def test_a_smaller_memory_of_the_same_name_leaves_nothing_of_the_larger(
    hub: Hub,
    hub_lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", 1 << 12)  # instead of 65,536 records
    collect = ("collect", "-p", hub_lab, "--lanes", 1, "--device", "cpu", "--quiet", "--overwrite")
    for name, records in (("m", 3_000), ("m2", 100)):
        assert run_in_process(*collect, "--name", name, "--records", records) == 0
    both = ("m", "m2", "--kind", "memory")
    pushed(hub_lab, *both)
    larger = set(hub.files(REPOSITORY))
    theirs = {"notes.txt": b"mine", "memories/m.zarr.txt": b"mine", "memories/n.zarr/c/0": b"n"}
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | theirs)

    assert run_in_process(*collect, "--name", "m", "--records", 100) == 0
    capsys.readouterr()
    push = ("push", REPOSITORY, "m", "--kind", "memory", "-p", hub_lab, "--json")
    assert run_in_process(*push, "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == []
    commits = len(hub.commits[REPOSITORY])
    assert run_in_process(*push) == 0
    deleted = json.loads(capsys.readouterr().out)["deleted"]
    assert len(hub.commits[REPOSITORY]) == commits + 1
    assert deleted and all(path.startswith("memories/m.zarr/") for path in deleted)
    there = set(hub.files(REPOSITORY))
    assert there == (larger | set(theirs)) - set(deleted)
    own = files_of(hub_lab / "memories" / "m.zarr")
    assert {path for path in there if path.startswith("memories/m.zarr/")} == {
        f"memories/m.zarr/{path}" for path in own
    }

    left = {path: content for path, content in hub.files(REPOSITORY).items() if path not in theirs}
    hub.commit(REPOSITORY, left)
    back = tmp_path / "back"
    assert run_in_process("pull", REPOSITORY, "-p", back, "--quiet") == 0
    assert files_of(back / "memories" / "m.zarr") == own
    assert run_in_process(*push) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == []


def test_errors_of_the_hub_are_one_line(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back = tmp_path / "back"
    assert run_in_process("pull", "nobody/nothing", "-p", back) == 3
    assert "has no repository nobody/nothing" in one_line_error(capsys)
    pushed(lab)
    assert run_in_process("pull", f"{REPOSITORY}@missing", "-p", back) == 3
    assert "has no revision missing" in one_line_error(capsys)
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    assert run_in_process("push", REPOSITORY, "-p", lab, "--video", "none") == 1
    told = one_line_error(capsys)
    assert "HTTP 401" in told and "HF_TOKEN" in told and "hf_reads" not in told
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run_in_process("pull", REPOSITORY, "-p", back) == 1
    assert "cannot reach http://127.0.0.1:9" in one_line_error(capsys)
    assert not back.exists()


def test_a_private_repository_needs_the_token(
    hub: Hub, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(lab, "--private")
    assert hub.private == {REPOSITORY}
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back", "--quiet") == 0
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "again", "--quiet") == 3


def test_a_public_repository_does_not_become_private(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    assert run_in_process("push", REPOSITORY, "-p", lab, "--private", "--video", "none") == 2
    assert "there already, and public" in one_line_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["push", "nothing"], "no repository of the Hub"),
        (["push", f"{REPOSITORY}@main"], "push takes no revision"),
        (["push", REPOSITORY, "--kind", "memory"], "by name only"),
        (["push", REPOSITORY, "--message", " "], "--message is empty"),
        (["push", REPOSITORY, "--video", "film.gif"], "not an MP4 file"),
        (["pull", "../evil"], "no repository of the Hub"),
    ],
)
def test_what_makes_no_sense_is_refused(
    lab: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    assert run_in_process(*arguments, "-p", lab) == 2
    assert what in one_line_error(capsys)


def test_a_missing_name_is_said(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process("push", REPOSITORY, "nothing", "-p", lab) == 3
    assert "correspondence 'nothing'" in one_line_error(capsys)


def test_without_the_extra_one_line_names_it(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for command in (("push", REPOSITORY, "--video", "none"), ("pull", REPOSITORY)):
        assert run_in_process(*command, "-p", lab) == 2
        assert "pip install 'corrtool[hub]'" in one_line_error(capsys)


def test_a_damaged_record_is_found(hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pushed(lab)
    assert run_in_process("pull", REPOSITORY, "-p", lab, "--quiet") == 0
    (record,) = (lab / "pulled").iterdir()
    record.write_bytes(record.read_bytes().replace(b"someone", b"somebody"))
    assert run_in_process("verify", "-p", lab, "--quiet") == 3
