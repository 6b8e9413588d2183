"""``export memory`` over an earlier export that was damaged since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import files_of, one_line_error, run_in_process

NAME = "target-random"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def with_twice(file: Path, name: str) -> None:
    """Double an array of a file, whose checksums fit again."""
    with np.load(file) as there:
        np.savez(file, **{**there, name: 2 * there[name]})


def of_an_agent(file: Path) -> None:
    with np.load(file) as there:
        said = json.loads(str(there["description"])) | {"play": "agent"}
        np.savez(file, **{**there, "description": np.array(json.dumps(said))})


def swap(made: Path) -> None:
    """Let two episodes change places."""
    with pytest.importorskip("h5py").File(made / "data" / "main_data.hdf5", "r+") as file:
        for old, new in (("episode_0", "x"), ("episode_1", "episode_0"), ("x", "episode_1")):
            file.move(old, new)


def one_fewer(made: Path) -> None:
    path = made / "data" / "metadata.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"total_episodes": said["total_episodes"] - 1}))


@pytest.mark.parametrize(
    ("form", "damage"),
    [
        ("npz", cut),
        ("npz", lambda file: with_twice(file, "rewards")),
        ("npz", lambda file: with_twice(file, "frames")),
        ("npz", of_an_agent),
        ("minari", lambda made: cut(made / "data" / "main_data.hdf5")),
        ("minari", lambda made: (made / "data" / "main_data.hdf5").unlink()),
        ("minari", lambda made: cut(made / "data" / "metadata.json")),
        ("minari", swap),
        ("minari", one_fewer),
    ],
    ids=[
        *("cut npz", "rewards", "frames", "player"),
        *("cut HDF5", "no HDF5", "cut JSON", "swapped", "one fewer"),
    ],
)
def test_it_is_not_there_already(
    cartpole_lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    form: str,
    damage: Callable[[Path], object],
) -> None:
    if form == "minari":
        pytest.importorskip("minari")
    output = tmp_path / ("m.npz" if form == "npz" else "datasets")
    export = ("export", "memory", NAME, "--to", form, "-p", cartpole_lab, "--output", output)
    made = output if form == "npz" else output / "corrtool" / f"{NAME}-v0"
    assert run_in_process(*export, "--quiet") == 0
    damage(made)
    before = files_of(tmp_path)
    for more in ((), ("--dry-run",)):
        capsys.readouterr()
        assert run_in_process(*export, *more) == 3
        said = one_line_error(capsys)
        assert f"{made} is there already, and is damaged or was made from something else (" in said
        assert said.endswith("; use --overwrite, or another --output")
    assert files_of(tmp_path) == before
    assert run_in_process(*export, "--overwrite", "--quiet") == 0
    capsys.readouterr()
    assert run_in_process(*export, "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "there already"
