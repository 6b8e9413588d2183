"""``export memory`` and ``import memory``: from one project to another, and to a stage there."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import files_of, one_line_error, run_in_process
from support.exchange import transitions_of
from support.falling import FALLING

import corrtool
from corrtool.errors import ArtifactError, UsageError
from corrtool.memory import MemoryRows, read_rows
from corrtool.project.memory_files import check_memory

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
FORMATS = ["minari", "npz"]


@pytest.fixture(autouse=True)
def _datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 records of CartPole, in four lanes. Copy it before changing it."""
    lab = tmp_path_factory.mktemp("played") / "lab"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    collect = ("collect", "-p", lab, "--task", "source", "--records", 300, "--name", "m")
    assert run_in_process(*collect, "--lanes", 4, *TINY) == 0
    return lab


@pytest.fixture
def lab(played: Path, tmp_path: Path) -> Path:
    """An empty project with the same tasks."""
    shutil.copytree(played, tmp_path / "other", ignore=shutil.ignore_patterns("memories", "runs"))
    return tmp_path / "other"


def rows_of(lab: Path, name: str) -> MemoryRows:
    path = lab / "memories" / f"{name}.zarr"
    return read_rows(path, check_memory(path))


def manifest_of(lab: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (lab / "memories" / f"{name}.zarr/corrtool.json").read_text()
    )
    return loaded


def exported(lab: Path, to: str, name: str = "m") -> str:
    """What to import: the file, or the id of the dataset."""
    if to == "minari":
        pytest.importorskip("minari")
    assert run_in_process("export", "memory", name, "--to", to, "-p", lab, "--quiet") == 0
    return f"{name}.npz" if to == "npz" else f"corrtool/{name}-v0"


def import_from(lab: Path, source: object, form: str, *more: object) -> int:
    words = ("import", "memory", source, "--from", form, "--task", "source", "-p", lab)
    return run_in_process(*words, *more)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("task", "shape"),
    [("CartPole-v1", None), (FALLING, (3, 12, 12)), ("ALE/Pong-v5", (1, 84, 84))],
    ids=["vectors", "colours", "Pong"],
)
def test_from_one_project_to_another_and_into_a_model(
    tmp_path: Path, form: str, task: str, shape: tuple[int, ...] | None
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for lab in (one, other):
        assert run_in_process("init", lab, "--source", task, "--quiet") == 0
    collect = ("collect", "-p", one, "--task", "source", "--records", 300, "--name", "m")
    assert run_in_process(*collect, *TINY) == 0
    assert import_from(other, exported(one, form), form, "--quiet") == 0
    before, after = rows_of(one, "m"), rows_of(other, "m")
    assert before.spec == after.spec and (shape is None or before.spec.frame_shape == shape)
    assert transitions_of(after) == transitions_of(before)
    assert after.records == 300
    assert run_in_process("train-model", "-p", other, "--memory", "m", *TINY) == 0
    (status,) = [a for a in corrtool.open_project(other).artifacts() if a["kind"] == "model"]
    assert status["parents"]["source_memory"]["sha256"] == manifest_of(other, "m")["sha256"]
    assert run_in_process("verify", "-p", other, "--quiet") == 0


class TestExport:
    def test_into_a_directory_that_is_named_from_here(
        self, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("minari")
        monkeypatch.chdir(tmp_path)
        export = ("export", "memory", "m", "--to", "minari", "-p", played, "--quiet")
        assert run_in_process(*export, "--output", "sets") == 0
        assert (tmp_path / "sets" / "corrtool" / "m-v0" / "data" / "metadata.json").exists()
        (tmp_path / "file").write_text("")
        assert run_in_process(*export, "--output", "file") == 2

    @pytest.mark.parametrize("form", FORMATS)
    def test_says_what_it_wrote_and_that_it_is_there(
        self, played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
    ) -> None:
        export = ("export", "memory", "m", "--to", form, "-p", played, "--json")
        if form == "minari":
            pytest.importorskip("minari")
        assert run_in_process(*export, "--dry-run") == 0
        planned = json.loads(capsys.readouterr().out)
        assert planned["state"] == "planned" and not Path(planned["path"]).exists()
        assert run_in_process(*export) == 0
        written = json.loads(capsys.readouterr().out)
        assert written == {**planned, "state": "written"}
        assert written["records"] == 300 == written["steps"]
        assert written["sha256"] == manifest_of(played, "m")["sha256"]
        before = files_of(tmp_path)
        assert run_in_process(*export) == 0
        assert json.loads(capsys.readouterr().out)["state"] == "there already"
        assert files_of(tmp_path) == before

    @pytest.mark.parametrize("form", FORMATS)
    def test_replaces_something_else_only_when_told(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str], form: str
    ) -> None:
        source = exported(played, form)
        assert import_from(lab, source, form, "--name", "x", "--quiet") == 0
        shutil.copytree(lab / "memories/x.zarr", lab / "memories/m.zarr")  # of another sha256
        export = ("export", "memory", "m", "--to", form, "-p", lab, "--quiet")
        assert run_in_process(*export) == 2
        assert "choose another --output, or --overwrite it" in one_line_error(capsys)
        assert run_in_process(*export, "--overwrite") == 0
        assert run_in_process(*export) == 0

    def test_refuses_a_memory_that_is_not_there_or_damaged(
        self, played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = shutil.copytree(played, tmp_path / "broken")
        (broken / "memories/m.zarr/actions/zarr.json").write_text("{}")
        for name, said in (("none", "no memory 'none'"), ("m", "is damaged")):
            assert run_in_process("export", "memory", name, "--to", "npz", "-p", broken) == 3
            assert said in one_line_error(capsys)
        assert not (tmp_path / "m.npz").exists()

    def test_does_not_write_over_the_project(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = played / "corrtool.toml"
        export = ("export", "memory", "m", "--to", "npz", "-p", played, "--output", output)
        assert run_in_process(*export, "--overwrite") == 2
        assert "one of the project's own files" in one_line_error(capsys)


class TestImport:
    def test_says_what_it_made_of_what(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = exported(played, "npz")
        assert import_from(lab, source, "npz", "--json", "--dry-run") == 0
        assert json.loads(capsys.readouterr().out)["state"] == "planned"
        assert not (lab / "memories").exists()
        assert import_from(lab, source, "npz", "--json") == 0
        result = json.loads(capsys.readouterr().out)
        manifest = manifest_of(lab, "m")
        assert (result["state"], result["records"], result["play"]) == ("written", 300, "random")
        assert result["artifacts"] == [
            {"kind": "memory", "name": "m", "sha256": manifest["sha256"]}
        ]
        assert manifest["stage"] == "import" and manifest["play"] == "random"
        assert manifest["lanes"] == 1 and manifest["seed"] == 0
        assert manifest["imported"]["sha256"] == result["source_sha256"]
        assert manifest["imported"]["memory_sha256"] == manifest_of(played, "m")["sha256"]
        assert manifest["imported"]["file"] == "m.npz"
        assert [path.name for path in (lab / "memories").iterdir()] == ["m.zarr"]

    def test_again_finds_it_and_something_else_is_refused(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = exported(played, "npz")
        assert import_from(lab, source, "npz", "--quiet") == 0
        before = files_of(lab / "memories")
        capsys.readouterr()
        assert import_from(lab, source, "npz") == 0
        assert "there already" in capsys.readouterr().out
        assert files_of(lab / "memories") == before
        with np.load(source) as file:
            plain = {name: file[name] for name in file if name != "description"}
        np.savez("half.npz", **{**plain, "rewards": 2 * plain["rewards"]})
        other = ("--play", "random", "--name", "m")
        assert import_from(lab, "half.npz", "npz", *other) == 2
        assert "choose another --name, or --overwrite it" in one_line_error(capsys)
        assert files_of(lab / "memories") == before
        assert import_from(lab, "half.npz", "npz", *other, "--overwrite", "--quiet") == 0
        assert rows_of(lab, "m").fields["rewards"].max() == 2

    def test_a_damaged_one_is_not_taken_for_the_same(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = exported(played, "npz")
        assert import_from(lab, source, "npz", "--quiet") == 0
        (lab / "memories/m.zarr/actions/zarr.json").write_text("{}")
        assert import_from(lab, source, "npz") == 2
        assert "--overwrite" in one_line_error(capsys)

    def test_who_played_must_be_known(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = exported(played, "npz")
        assert import_from(lab, source, "npz", "--play", "agent") == 2
        assert "says that it is of random play" in one_line_error(capsys)
        with np.load(source) as file:
            np.savez("theirs.npz", **{k: file[k] for k in file if k != "description"})
        assert import_from(lab, "theirs.npz", "npz") == 2
        assert "give --play random or --play agent" in one_line_error(capsys)
        assert import_from(lab, "theirs.npz", "npz", "--play", "agent", "--quiet") == 0
        assert manifest_of(lab, "theirs")["play"] == "agent"
        assert "seed" not in manifest_of(lab, "theirs")

    def test_another_task_is_refused(
        self, played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source, turned = exported(played, "npz"), tmp_path / "turned"
        view = ("--source-view", "permute:2,3,0,1")
        assert run_in_process("init", turned, "--source", "CartPole-v1", *view, "--quiet") == 0
        assert import_from(turned, source, "npz") == 3
        assert "give the other --task" in one_line_error(capsys)
        other = tmp_path / "acrobot"
        assert run_in_process("init", other, "--source", "Acrobot-v1", "--quiet") == 0
        assert import_from(other, source, "npz") == 3
        assert "states of 4 numbers" in one_line_error(capsys)

    def test_a_bad_episode_leaves_nothing(
        self, played: Path, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with np.load(exported(played, "npz")) as file:
            frames = file["frames"].copy()
            frames[-1, 0] = np.nan
            np.savez("bad.npz", **{**file, "frames": frames})
        assert import_from(lab, "bad.npz", "npz") == 3
        assert "observation that is not a finite number" in one_line_error(capsys)
        assert list((lab / "memories").iterdir()) == []
        assert import_from(lab, "bad.npz", "npz", "--dry-run") == 3

    def test_an_empty_file_is_refused(self, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
        none = np.zeros(0)
        arrays: Any = {"actions": none.astype(int), "rewards": none, "terminations": none > 0}
        np.savez(
            "none.npz",
            frames=np.zeros((0, 4), np.float32),
            truncations=none > 0,
            episode_lengths=none.astype(int),
            **arrays,
        )
        assert import_from(lab, "none.npz", "npz", "--play", "random") == 3
        assert "holds no transition" in one_line_error(capsys)

    def test_a_missing_package_is_one_line(
        self, lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "h5py", None)
        assert import_from(lab, "somebody/else-v0", "minari") == 2
        said = "Minari datasets need h5py; pip install 'corrtool[minari]'"
        assert one_line_error(capsys) == f"corrtool: {said}"


class TestFromPython:
    def test_does_the_same(self, played: Path, lab: Path) -> None:
        there, here = corrtool.open_project(played), corrtool.open_project(lab)
        assert there.export_memory("m", to="npz", output="x.npz")["path"] == "x.npz"
        made = here.import_memory("x.npz", format="npz", task="target", name="y")
        assert made["state"] == "written" and made["task"] == "target"
        command = "corrtool import memory x.npz --from npz --task target --name y"
        assert manifest_of(lab, "y")["command"] == command
        assert transitions_of(rows_of(lab, "y")) == transitions_of(rows_of(played, "m"))

    def test_refuses_what_is_no_format_or_task(self, played: Path) -> None:
        project: Any = corrtool.open_project(played)
        with pytest.raises(UsageError, match="give minari or npz"):
            project.export_memory("m", to="csv")
        with pytest.raises(UsageError, match="give minari or npz"):
            project.import_memory("m", format="csv", task="source")
        with pytest.raises(UsageError, match="no section"):
            project.import_memory("m", format="npz", task="sauce")
        with pytest.raises(ArtifactError, match="there is no file"):
            project.import_memory("m", format="npz", task="source")


def test_an_agent_s_memory_that_lost_its_beginning(tmp_path: Path, lab: Path) -> None:
    """Of ``train-dqn``: a ring, whose oldest states need frames that are no transitions."""
    train = ("train-dqn", "-p", lab, "--name", "m", "--memory-records", 40, *TINY)
    assert run_in_process(*train) == 0
    other = shutil.copytree(
        lab, tmp_path / "third", ignore=shutil.ignore_patterns("memories", "runs", "weights")
    )
    assert import_from(other, exported(lab, "npz"), "npz", "--quiet") == 0
    assert manifest_of(other, "m")["play"] == "agent"
    assert transitions_of(rows_of(other, "m")) == transitions_of(rows_of(lab, "m"))
