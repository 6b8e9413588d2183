"""Manifests and checkpoints that were changed and sealed anew: refused, or harmless.

Fields are missing, too many or of another type, or the file is from a newer version.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.forgery import resealed
from faults.harness import READERS, artifact_files
from support.commands import run_in_process

from corrtool.files import sealed
from corrtool.project.memory_files import MEMORY_MANIFEST

Change = Callable[[dict[str, Any]], object]  # of a manifest, or of a part of it
WRONG: tuple[Any, ...] = (None, True, -1, 1e300, "x", [], {"a": {}}, 1 << 70)


def without(field: str, table: dict[str, Any]) -> None:
    del table[field]


def replaced(field: str, value: Any, table: dict[str, Any]) -> None:
    table[field] = value


def within(field: str, change: Change, table: dict[str, Any]) -> None:
    change(table[field])


def manifest_changes(
    manifest: dict[str, Any], wrong: tuple[Any, ...] = WRONG
) -> Iterator[tuple[str, Change]]:
    """Ways to change a manifest and seal it anew, with their names.

    The reader must refuse it, or not care.
    """
    for field, content in manifest.items():
        yield f"without {field}", partial(without, field)
        for value in wrong:
            yield f"{field} is {value!r}", partial(replaced, field, value)
        if (
            isinstance(content, dict) and field != "files"
        ):  # each of a memory's files is a damage of its own
            for name, change in manifest_changes(content, (None, "x", {"a": {}})):
                yield f"{field}: {name}", partial(within, field, change)
    yield "one more field", lambda m: m.update(surprise=1)


def manifest_of(path: Path) -> dict[str, Any]:
    read = sealed.read_sealed_json if path.name == MEMORY_MANIFEST else sealed.read_tensor_metadata
    return read(path)


INTERRUPTED = {
    "collect": ("--records", "500"),
    "train-dqn": ("--env-steps", "500"),
    "train-model": ("--gradient-steps", "30"),
    "learn-corr": ("--gradient-steps", "6", "--eval-games", "0"),
    "evaluate": ("--games", "2"),
}


@pytest.mark.parametrize(
    ("stage", "samples"),
    [(stage, 2) for stage in ("collect", "learn-corr")]
    + [pytest.param(stage, None, marks=pytest.mark.faults_full) for stage in INTERRUPTED],
)
def test_a_checkpoint_that_lacks_a_field_is_refused(
    pong_copy: Path,
    stage: str,
    samples: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sealed by somebody else: an accident would break the seal."""
    from corrtool.runs import loop

    command = (
        stage,
        "-p",
        pong_copy,
        *INTERRUPTED[stage],
        "--name",
        "x",
        "--preset",
        "tiny",
        "--device",
        "cpu",
    )
    poll = loop.Loop.poll

    def interrupted(self: loop.Loop) -> None:
        self._stop.received = signal.SIGTERM if self.done else None
        poll(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "poll", interrupted)
        assert run_in_process(*command) == 143, capsys.readouterr().err
    path = pong_copy / "runs" / stage / "x" / "checkpoint.safetensors"
    content = path.read_bytes()
    fields = list(sealed.read_tensor_metadata(path)["state"]["stage"])
    assert fields
    changes = [
        change for f in fields for change in (partial(without, f), partial(replaced, f, [None]))
    ]
    for change in changes if samples is None else random.Random(stage).sample(changes, samples):
        path.write_bytes(resealed(path, partial(within, "state", partial(within, "stage", change))))
        capsys.readouterr()
        code, error = run_in_process(*command, "--quiet"), capsys.readouterr().err
        assert (
            code == 3 and error.count("\n") == 1 and "checkpoint.safetensors is damaged" in error
        ), error
    path.write_bytes(content)
    assert run_in_process(*command, "--quiet") == 0, capsys.readouterr().err


def manifest_at(lab: Path, place: str) -> Path:
    """The file that holds the manifest of the artifact there."""
    (path,) = [
        file
        for file in artifact_files(lab)
        if file.relative_to(lab).as_posix().startswith(place)
        and (file.name == MEMORY_MANIFEST or file.suffix == ".safetensors")
    ]
    return path


def believed(lab: Path, place: str, samples: int | None, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the manifest's reader with every change of it.

    It ends with 0 or 3 and at most a line, never otherwise.
    """
    path, command = manifest_at(lab, place), READERS[place]
    content, changes = path.read_bytes(), list(manifest_changes(manifest_of(path)))
    chosen = changes if samples is None else random.Random(place).sample(changes, samples)
    for name, change in chosen:
        path.write_bytes(resealed(path, change))
        assert run_in_process("status", "-p", lab) == 0, (path, name, capsys.readouterr().err)
        capsys.readouterr()
        code = run_in_process(
            *command, "-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet", "--dry-run"
        )
        error = capsys.readouterr().err
        path.write_bytes(content)
        assert code in (0, 3) and error.count("\n") == (code == 3), (path, name, code, error)
    return len(chosen)


@pytest.mark.parametrize("place", READERS)
def test_a_manifest_is_refused_or_harmless(
    pong_copy: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    believed(pong_copy, place, 4, capsys)


@pytest.mark.parametrize("place", READERS)
@pytest.mark.faults_full
@pytest.mark.timeout(3600)
def test_every_change_of_a_manifest_is_refused_or_harmless(
    pong_copy: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = believed(pong_copy, place, None, capsys)
    with capsys.disabled():
        print(f"{place}: {count} changed manifests")


@pytest.mark.parametrize("place", READERS)
def test_a_newer_format_is_refused(
    pong_copy: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest_at(pong_copy, place)
    path.write_bytes(resealed(path, lambda manifest: manifest.update(format_version=2)))
    assert (
        run_in_process(*READERS[place], "-p", pong_copy, "--preset", "tiny", "--device", "cpu") == 3
    )
    assert "written by a newer corrtool" in capsys.readouterr().err
