"""A project that somebody else made: lying headers, hostile metadata, names and links. Nothing is unpickled, executed or believed."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults.forgery import lie, with_header
from support.commands import run_in_process

from corrtool.correspondence.saved import load_correspondence
from corrtool.environment_model.saved import load_model
from corrtool.errors import ArtifactError, CorrtoolError
from corrtool.files.sealed import read_sealed_json, read_sealed_tensors, seal_json, seal_tensors
from corrtool.memory import read_rows
from corrtool.project.artifacts import find_artifacts, load_weights, read_artifact
from corrtool.project.memory_files import MEMORY_MANIFEST, check_memory, seal_memory
from corrtool.q_learning.saved import load_q_function

CPU = torch.device("cpu")
PACKAGE = Path(__file__).parents[2] / "corrtool"
LOADERS: dict[str, Callable[..., Any]] = {
    "q": load_q_function,
    "model": load_model,
    "corr": load_correspondence,
}


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a shape too large": lambda h: lie(h, shape=[10**15]),
    "a negative shape": lambda h: lie(h, shape=[-1, 4]),
    "a shape of text": lambda h: lie(h, shape=["a"]),
    "offsets out of the file": lambda h: lie(h, data_offsets=[0, 10**12]),
    "offsets that overlap": lambda h: lie(h, data_offsets=[8, 64]),
    "offsets backwards": lambda h: lie(h, data_offsets=[64, 0]),
    "an unknown type": lambda h: lie(h, dtype="O8"),
    "no offsets": lambda h: next(v for n, v in h.items() if n != "__metadata__").pop(
        "data_offsets"
    ),
    "another tensor": lambda h: h.update(
        more={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", LIES)
def test_a_weights_file_whose_header_lies_is_refused(pong_copy: Path, kind: str, name: str) -> None:
    artifact = find_artifacts(pong_copy, kind)[0]
    artifact.path.write_bytes(with_header(artifact.path.read_bytes(), LIES[name]))
    with pytest.raises(ArtifactError, match=artifact.path.name):
        LOADERS[kind](read_artifact(pong_copy, kind, artifact.name), CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(pong_copy: Path, value: float) -> None:
    artifact = find_artifacts(pong_copy, "q")[0]
    tensors = load_weights(artifact)
    tensors[next(iter(tensors))].flatten()[0] = value
    artifact.path.write_bytes(
        seal_tensors(tensors, {k: v for k, v in artifact.manifest.items() if k != "format_version"})
    )
    assert (
        run_in_process(
            "evaluate", "-p", pong_copy, "--task", "source", "--q", artifact.name, "--quiet"
        )
        == 3
    )


SIZES = [10**9, -1, 0, 2**70, 1.5, "64", None, [1], {"a": 1}, True]


@pytest.mark.parametrize("kind", LOADERS)
def test_a_manifest_that_lies_about_its_network_is_refused(pong_copy: Path, kind: str) -> None:
    """Every number in it, at the most impertinent sizes; nothing of that size is ever allocated."""
    artifact = find_artifacts(pong_copy, kind)[0]
    tensors, cases = load_weights(artifact), 0

    def places(table: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        found = []
        for key, value in table.items():
            found += places(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]
        return found

    network = artifact.manifest["network"]
    for place in places(network):
        for size in SIZES:
            table = lied = json.loads(json.dumps(network))
            for key in place[:-1]:
                table = table[key]
            if table[place[-1]] == size and type(table[place[-1]]) is type(size):
                continue
            table[place[-1]] = size
            manifest = {
                k: v for k, v in artifact.manifest.items() if k not in ("network", "format_version")
            }
            artifact.path.write_bytes(seal_tensors(tensors, {**manifest, "network": lied}))
            cases += 1
            with contextlib.suppress(
                CorrtoolError
            ):  # a value that changes nothing about the weights may be read
                LOADERS[kind](read_artifact(pong_copy, kind, artifact.name), CPU)
    assert cases > 50


def hostile_memory(
    lab: Path, change: Callable[[dict[str, Any]], None], array: str = "frames"
) -> Path:
    """A memory whose array has other metadata, sealed again. Gives its directory."""
    directory = lab / "memories" / "source-dqn.zarr"
    path = directory / array / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))
    own = ("files", "format_version", "kind", "sha256")
    seal_memory(
        directory,
        {k: v for k, v in read_sealed_json(directory / MEMORY_MANIFEST).items() if k not in own},
    )
    return directory


METADATA: dict[str, Callable[[dict[str, Any]], None]] = {
    "terabytes": lambda m: m.update(shape=[10**12, *m["shape"][1:]]),
    "one huge chunk": lambda m: m["chunk_grid"]["configuration"].update(
        chunk_shape=[10**9, 1, 84, 84]
    ),
    "objects": lambda m: m.update(data_type="object"),
    "text": lambda m: m.update(data_type="string"),
    "doubles": lambda m: m.update(data_type="float64"),
    "another codec": lambda m: m.update(
        codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]
    ),
    "a pickle codec": lambda m: m.update(
        codecs=[{"name": "numcodecs.pickle", "configuration": {}}]
    ),
    "an unknown codec": lambda m: m.update(codecs=[{"name": "evil"}]),
    "no codec": lambda m: m.update(codecs=[]),
    "another fill value": lambda m: m.update(fill_value=7),
    "Zarr 2": lambda m: m.update(zarr_format=2),
    "a negative shape": lambda m: m.update(shape=[-1, *m["shape"][1:]]),
    "nothing": lambda m: m.clear(),
}


@pytest.mark.parametrize("array", ["frames", "rewards"])
@pytest.mark.parametrize("name", METADATA)
def test_zarr_metadata_from_elsewhere_is_refused(pong_copy: Path, name: str, array: str) -> None:
    directory = hostile_memory(pong_copy, METADATA[name], array)
    with pytest.raises(ArtifactError, match="source-dqn"):
        read_rows(directory, check_memory(directory))
    assert (
        run_in_process(
            "train-model", "-p", pong_copy, "--memory", "source-dqn", "--name", "x", "--quiet"
        )
        == 3
    )


@pytest.mark.parametrize("field", ["rows", "lanes", "records", "states", "files", "actions"])
@pytest.mark.parametrize("value", [*SIZES, {}, "../x", {"../../x": "0" * 64}], ids=str)
def test_a_memory_manifest_that_lies_is_refused_or_harmless(
    pong_copy: Path, field: str, value: Any
) -> None:
    directory = pong_copy / "memories" / "source-dqn.zarr"
    manifest = {
        k: v
        for k, v in read_sealed_json(directory / MEMORY_MANIFEST).items()
        if k != "format_version"
    }
    (directory / MEMORY_MANIFEST).write_bytes(seal_json({**manifest, field: value}))
    arguments = (
        "train-model",
        "-p",
        pong_copy,
        "--preset",
        "tiny",
        "--memory",
        "source-dqn",
        "--dry-run",
        "--quiet",
    )
    assert run_in_process(*arguments) in (0, 3)
    assert run_in_process("status", "-p", pong_copy, "--quiet") == 0
    with contextlib.suppress(CorrtoolError):
        read_rows(directory, check_memory(directory))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "a\nb", "a\x1b[31m", "", ".", "..", "-x", "x" * 101]
)
@pytest.mark.parametrize("flag", ["--name", "--q", "--model", "--source-memory", "--target-memory"])
def test_names_that_are_none_are_refused(pong_lab: Path, flag: str, name: str) -> None:
    assert (
        run_in_process("learn-corr", "-p", pong_lab, "--dry-run", f"{flag}={name}", "--quiet") == 2
    )


def test_names_in_a_manifest_cannot_lead_anywhere(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = find_artifacts(pong_copy, "model")[0]
    manifest = {k: v for k, v in artifact.manifest.items() if k != "format_version"}
    for name in ("../../x", "/etc/passwd", "a\nb", "\x1b[2J"):
        manifest["parents"] = {
            "source_memory": {"kind": "memory", "name": name, "sha256": "0" * 64}
        }
        artifact.path.write_bytes(seal_tensors(load_weights_of(artifact.path), manifest))
        assert run_in_process("status", "-p", pong_copy) == 0
        shown = capsys.readouterr().out
        assert "damaged" in shown and name not in shown


def load_weights_of(path: Path) -> dict[str, torch.Tensor]:
    return read_sealed_tensors(path)[0]


PLACES = [
    "memories",
    "weights",
    "weights/q",
    "runs",
    "runs/train-model",
    "memories/target-random.zarr",
    "report",
]


@pytest.mark.parametrize("place", PLACES)
def test_links_out_of_a_project_are_refused(pong_copy: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    (pong_copy / "report").mkdir(exist_ok=True)
    shutil.move(str(pong_copy / place), str(outside))
    (pong_copy / place).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    commands = {
        "collect": ("collect", "--preset", "tiny", "--name", "target-random", "--overwrite"),
        "train-model": ("train-model", "--preset", "tiny", "--name", "source-dqn", "--overwrite"),
        "report": ("report",),
        "verify": ("verify",),
    }
    codes = {
        name: run_in_process(*command, "-p", pong_copy, "--quiet")
        for name, command in commands.items()
    }
    assert 3 in codes.values()
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_a_link_in_a_run_is_refused(pong_copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    run = pong_copy / "runs" / "collect" / "fresh"
    run.mkdir(parents=True)
    (run / "staged.zarr").symlink_to(outside)
    assert (
        run_in_process("collect", "-p", pong_copy, "--preset", "tiny", "--name", "fresh", "--quiet")
        == 3
    )
    assert (outside / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["lock", "holder"])
def test_a_link_among_the_locks_is_refused(pong_copy: Path, tmp_path: Path, suffix: str) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (pong_copy / "runs" / ".locks" / f"memory-fresh.{suffix}").symlink_to(mine)
    assert (
        run_in_process("collect", "-p", pong_copy, "--preset", "tiny", "--name", "fresh", "--quiet")
        == 3
    )
    assert mine.read_text() == "mine"


def test_the_view_of_a_new_project_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(
        '{"matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}'
    )
    lab, mine = tmp_path / "lab", tmp_path / "mine.txt"
    lab.mkdir()
    mine.write_text("mine")
    command = (
        "init",
        lab,
        "--source",
        "CartPole-v1",
        "--target-view",
        f"affine:{tmp_path / 'map.json'}",
        "--quiet",
    )
    (lab / "map.json").symlink_to(mine)
    assert run_in_process(*command) == 2
    assert mine.read_text() == (lab / "map.json").read_text() == "mine"
    assert run_in_process(*command, "--overwrite") == 0
    assert mine.read_text() == "mine" != (lab / "map.json").read_text()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "place",
    [
        "weights/q/x.safetensors",
        "runs/collect/target-random/run.json",
        "memories/target-random.zarr/corrtool.json",
    ],
)
def test_a_named_pipe_is_not_waited_for(pong_copy: Path, place: str) -> None:
    (pong_copy / place).unlink(missing_ok=True)
    os.mkfifo(pong_copy / place)
    assert run_in_process("verify", "-p", pong_copy, "--quiet") == 3
    assert run_in_process("status", "-p", pong_copy, "--quiet") == 0


RECORD = [
    "state",
    "stage",
    "name",
    "command",
    "seed",
    "settings",
    "parents",
    "locks",
    "identity",
    "result",
    "artifacts",
    "fingerprint",
]


@pytest.mark.parametrize("field", RECORD)
def test_the_record_of_a_run_that_lies_is_damaged_or_harmless(
    pong_lab: Path, tmp_path: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"  # with nothing else to check and to draw
    shutil.copytree(pong_lab / "runs" / "evaluate", lab / "runs" / "evaluate")
    shutil.copy(pong_lab / "corrtool.toml", lab)
    path = next((lab / "runs" / "evaluate").glob("*")) / "run.json"
    record = {k: v for k, v in read_sealed_json(path).items() if k != "format_version"}
    for value in (
        5,
        "running",
        None,
        [],
        {},
        [["memory"]],
        [["../x", "../y"]],
        {"x": 5},
        {"returns": "abc"},
    ):
        path.write_bytes(seal_json({**record, field: value}))
        for command in ("status", "verify", "report"):
            code = run_in_process(command, "-p", lab, "--quiet")
            assert code in (0, 2, 3), (command, value, capsys.readouterr().err)


VERIFY_EACH = """
import os, sys
from corrtool.cli import run
for place in sys.argv[2:]:
    path = os.path.join(sys.argv[1], place)
    mode = os.stat(path).st_mode
    os.chmod(path, 0)
    print(place, run(["verify", "-p", sys.argv[1]]))
    os.chmod(path, mode)
"""


def test_what_cannot_be_read_is_not_whole(pong_copy: Path) -> None:
    """In a process without root's powers, which may read everything."""
    places = ("memories", "weights/q", "runs/collect", "memories/target-random.zarr/actions/c/0")
    done = subprocess.run(
        [sys.executable, "-c", VERIFY_EACH, str(pong_copy), *places],
        capture_output=True, text=True, preexec_fn=as_others_may if os.geteuid() == 0 else None,
    )  # fmt: skip
    assert [f"{place} 3" in done.stdout for place in places] == [True] * 4, done
    assert (done.stdout + done.stderr).count("cannot read") >= 4, done


def as_others_may() -> None:
    """Takes from root the powers to read and write where the permissions say no."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


AUDIT = """
import json, sys
lab = sys.argv[1]
seen = []
def hook(event, arguments):
    if event == "pickle.find_class":
        seen.append([event, str(arguments)])
    elif event in ("exec", "compile", "import", "ctypes.dlopen"):
        name = arguments[1] if event in ("compile", "import") else getattr(arguments[0], "co_filename", arguments[0])
        if isinstance(name, bytes):
            name = name.decode(errors="replace")
        if lab in str(name):
            seen.append([event, str(name)])
sys.addaudithook(hook)
from corrtool.cli import run
for command in json.loads(sys.argv[2]):
    assert run([*command, "-p", lab, "--quiet"]) == 0, command
print(json.dumps(seen))
"""


def test_nothing_of_a_project_is_unpickled_or_executed(pong_copy: Path) -> None:
    """CPython's audit hooks see every unpickled class, and every file that is compiled, executed or loaded as a library."""
    (pong_copy / "memories" / "__init__.py").write_text("raise SystemExit('executed')")
    shutil.rmtree(pong_copy / "runs")
    tiny = ["--preset", "tiny", "--device", "cpu", "--overwrite"]
    commands = [
        ["train-dqn", *tiny, "--env-steps", "100", "--eval-games", "1"],
        ["collect", *tiny, "--records", "100"],
        ["train-model", *tiny, "--gradient-steps", "5"],
        ["learn-corr", *tiny, "--gradient-steps", "2", "--eval-games", "0"],
        ["evaluate", *tiny, "--games", "1"],
        ["finetune", *tiny, "--env-steps", "100"],
        ["report"],
        ["status"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, str(pong_copy), json.dumps(commands)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_nothing_in_the_source_could_unpickle_or_execute() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.split(".")[0] for name in names} & {
                    "pickle",
                    "dill",
                    "cloudpickle",
                    "marshal",
                    "shelve",
                }, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), path
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "torch"
            ):
                assert node.attr not in ("load", "save"), path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
