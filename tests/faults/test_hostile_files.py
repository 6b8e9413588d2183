"""A project that somebody else made: names, links, pipes and records. Nothing is executed."""

from __future__ import annotations

import ast
import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import run_in_process
from support.falling import FALLING

from corrtool.files.sealed import read_sealed_json, seal_json

PACKAGE = Path(__file__).parents[2] / "corrtool"


NO_NAMES = ["../x", "/etc/passwd", "a/b", "a\nb", "a\x1b[31m", "", ".", "..", "-x", "x" * 101]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        *itertools.product(["--name", "--q"], NO_NAMES),
        # an input as --q is: they are checked in one place
        *itertools.product(
            ["--model", "--source-memory", "--target-memory"], ["../x", "", "x" * 101]
        ),
    ],
)
def test_names_that_are_none_are_refused(pong_lab: Path, flag: str, name: str) -> None:
    assert (
        run_in_process("learn-corr", "-p", pong_lab, "--dry-run", f"{flag}={name}", "--quiet") == 2
    )


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
def test_links_out_of_a_project_are_refused(cartpole_lab: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    (cartpole_lab / "report").mkdir(exist_ok=True)
    shutil.move(str(cartpole_lab / place), str(outside))
    (cartpole_lab / place).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    commands = {
        "collect": ("collect", "--preset", "tiny", "--name", "target-random", "--overwrite"),
        "train-model": ("train-model", "--preset", "tiny", "--name", "source-dqn", "--overwrite"),
        "report": ("report",),
        "verify": ("verify",),
    }
    codes = {
        name: run_in_process(*command, "-p", cartpole_lab, "--quiet")
        for name, command in commands.items()
    }
    assert 3 in codes.values()
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_a_link_in_a_run_is_refused(cartpole_lab: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    run = cartpole_lab / "runs" / "collect" / "fresh"
    run.mkdir(parents=True)
    (run / "staged.zarr").symlink_to(outside)
    assert (
        run_in_process(
            "collect", "-p", cartpole_lab, "--preset", "tiny", "--name", "fresh", "--quiet"
        )
        == 3
    )
    assert (outside / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["lock", "holder"])
def test_a_link_among_the_locks_is_refused(cartpole_lab: Path, tmp_path: Path, suffix: str) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (cartpole_lab / "runs" / ".locks" / f"memory-fresh.{suffix}").symlink_to(mine)
    assert (
        run_in_process(
            "collect", "-p", cartpole_lab, "--preset", "tiny", "--name", "fresh", "--quiet"
        )
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
def test_a_named_pipe_is_not_waited_for(cartpole_lab: Path, place: str) -> None:
    (cartpole_lab / place).unlink(missing_ok=True)
    os.mkfifo(cartpole_lab / place)
    assert run_in_process("verify", "-p", cartpole_lab, "--quiet") == 3
    assert run_in_process("status", "-p", cartpole_lab, "--quiet") == 0


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


def test_what_cannot_be_read_is_not_whole(cartpole_lab: Path) -> None:
    """In a process without root's powers, which may read everything."""
    places = ("memories", "weights/q", "runs/collect", "memories/target-random.zarr/actions/c/0")
    done = subprocess.run(
        [sys.executable, "-c", VERIFY_EACH, str(cartpole_lab), *places],
        capture_output=True, text=True, preexec_fn=as_others_may if os.geteuid() == 0 else None,
    )  # fmt: skip
    assert [f"{place} 3" in done.stdout for place in places] == [True] * 4, done
    assert (done.stdout + done.stderr).count("cannot read") >= 4, done


def as_others_may() -> None:
    """Take from root the powers to read and write where the permissions say no."""
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
        if event in ("compile", "import"):
            name = arguments[1]
        else:
            name = getattr(arguments[0], "co_filename", arguments[0])
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


def test_nothing_of_a_project_is_unpickled_or_executed(tmp_path: Path) -> None:
    """CPython's audit hooks see every unpickled class.

    They also see every file that is compiled, executed or loaded as a library. All is made twice,
    so the second time there is something in each place.
    """
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", FALLING, "--quiet") == 0
    (lab / "memories").mkdir()
    (lab / "memories" / "__init__.py").write_text("raise SystemExit('executed')")
    tiny = ["--preset", "tiny", "--device", "cpu", "--overwrite"]
    few = ["--env-steps", "60", "--learning-starts", "20"]
    make = [
        ["train-dqn", *tiny, *few, "--random-records", "60"],
        ["collect", *tiny, "--records", "60"],
        ["train-model", *tiny, "--gradient-steps", "2"],
        ["learn-corr", *tiny, "--gradient-steps", "2", "--eval-games", "0"],
        ["evaluate", *tiny, "--games", "1"],
        ["finetune", *tiny, *few],
    ]
    commands = [*make, *make, ["report"], ["status"]]
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, str(lab), json.dumps(commands)],
        capture_output=True,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), "CORRTOOL_TRUST": "support.falling"},
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
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert path.parent.name == "exchange" and said["weights_only"] == "True", path
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.save":
                assert path.name == "to_sb3.py", "the one format that is torch's own"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
