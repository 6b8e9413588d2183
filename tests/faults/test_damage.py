"""Damage of every file of every artifact: refused with exit 3 and a line that names the file, and nothing is silently zeros.

The cases are made from a real project: each file truncated and with flipped bits all over, each chunk and file deleted, each
manifest with fields that are missing, too many or of another type, and from a newer version.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.forgery import sealed_anew, with_header
from support.commands import run_in_process

from corrtool.files import sealed
from corrtool.project.artifacts import KINDS, artifact_names, artifact_path
from corrtool.project.memory_files import MEMORY_MANIFEST

Change = Callable[
    [bytes], bytes | None
]  # what a file holds after the damage; None where it is deleted
REGIONS = 24
WRONG: tuple[Any, ...] = (None, True, -1, 1e300, "x", [], {"a": {}}, 1 << 70)


def artifact_files(lab: Path) -> list[Path]:
    """Every file of every artifact."""
    paths = [artifact_path(lab, kind, name) for kind in KINDS for name in artifact_names(lab, kind)]
    files = [
        file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
    ]
    return [file for file in files if file.is_file()]


def damages(path: Path, size: int) -> Iterator[tuple[str, Change]]:
    """Ways to damage a file of this size, with their names."""
    yield "deleted", lambda content: None
    for length in sorted({0, 1, min(8, size - 1), size // 2, size - 1}):
        yield f"cut to {length}", lambda content, n=length: content[:n]
    yield "one byte more", lambda content: content + b"\0"
    dice = random.Random(path.name)
    for region in range(min(REGIONS, size)):
        at, bit = (
            dice.randrange(
                region * size // REGIONS,
                max(region * size // REGIONS + 1, (region + 1) * size // REGIONS),
            ),
            0,
        )
        bit = 1 << dice.randrange(8)
        yield (
            f"bit {bit} of byte {at}",
            lambda content, i=at, b=bit: content[:i] + bytes([content[i] ^ b]) + content[i + 1 :],
        )
    yield "zeros", lambda content: bytes(len(content))


def refused(lab: Path, path: Path, change: Change) -> str | None:
    """Why this damage is not refused as it should be; None where it is. The file is as before afterwards."""
    content = path.read_bytes()
    changed = change(content)
    if changed == content:
        return None
    try:
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        return _refusal(lab, path, changed is None)
    finally:
        path.write_bytes(content)


def _refusal(lab: Path, path: Path, deleted: bool) -> str | None:
    from corrtool.project.directory import Project
    from corrtool.runs.overview import describe_artifacts

    whole_artifact_gone = deleted and path.suffix == ".safetensors"
    described = describe_artifacts(Project(lab))
    damaged = [one for one in described if one["state"] == "damaged"]
    if whole_artifact_gone:
        return None if not damaged else "another artifact is blamed"
    named = path.relative_to(lab).as_posix()
    if len(damaged) != 1 or not any(named in problem for problem in damaged[0]["problems"]):
        return f"verify says {[one['problems'] for one in damaged]}"
    return None


def all_cases(lab: Path) -> list[tuple[Path, str, Change]]:
    return [
        (path, name, change)
        for path in artifact_files(lab)
        for name, change in damages(path, path.stat().st_size)
    ]


def failures(lab: Path, cases: list[tuple[Path, str, Change]]) -> list[str]:
    found = []
    for path, name, change in cases:
        reason = refused(lab, path, change)
        if reason is not None:
            found.append(f"{path.relative_to(lab)}: {name}: {reason}")
    return found


def test_damage_is_found_and_named(pong_copy: Path) -> None:
    cases = all_cases(pong_copy)
    assert len(cases) >= 1000
    assert failures(pong_copy, random.Random(0).sample(cases, 40)) == []


@pytest.mark.faults_full
@pytest.mark.timeout(7200)
def test_damage_of_every_file_is_found_and_named(pong_copy: Path) -> None:
    cases = all_cases(pong_copy)
    print(f"{len(cases)} damages of {len(artifact_files(pong_copy))} files")
    assert failures(pong_copy, cases) == []


READERS = {
    "memories/source-dqn.zarr": ("train-model", "--memory", "source-dqn", "--name", "x"),
    "memories/target-random.zarr": (
        "learn-corr",
        "--target-memory",
        "target-random",
        "--name",
        "x",
    ),
    "weights/q/source-dqn": (
        "collect",
        "--task",
        "source",
        "--policy",
        "q:source-dqn",
        "--name",
        "x",
    ),
    "weights/model": ("learn-corr", "--model", "source-dqn", "--name", "x"),
    "weights/corr/resnet-cyc1-q1-m1.": ("evaluate", "--corr", "resnet-cyc1-q1-m1", "--name", "x"),
}


def refused_by_readers(lab: Path, samples: int, capsys: pytest.CaptureFixture[str]) -> int:
    """How many damages the stages that read the files refuse with exit 3 and a line that names the file."""
    dice, count = random.Random(1), 0
    for place, command in READERS.items():
        cases = [
            case for case in all_cases(lab) if case[0].relative_to(lab).as_posix().startswith(place)
        ]
        for path, name, change in dice.sample(cases, min(samples, len(cases))):
            content = path.read_bytes()
            changed = change(content)
            if changed is None and path.suffix == ".safetensors":
                continue  # that is no damage: there is no such artifact
            path.unlink() if changed is None else path.write_bytes(changed)
            capsys.readouterr()
            code = run_in_process(
                *command, "-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet"
            )
            error = capsys.readouterr().err
            path.write_bytes(content)
            assert code == 3 and path.name in error and error.count("\n") == 1, (
                path,
                name,
                code,
                error,
            )
            count += 1
    return count


def test_a_stage_refuses_damaged_inputs(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused_by_readers(pong_copy, 2, capsys) >= 8


@pytest.mark.faults_full
@pytest.mark.timeout(3600)
def test_a_stage_refuses_every_kind_of_damaged_input(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print(refused_by_readers(pong_copy, 40, capsys), "inputs refused")


def manifest_changes(
    manifest: dict[str, Any], wrong: tuple[Any, ...] = WRONG
) -> Iterator[tuple[str, Callable[[dict[str, Any]], None]]]:
    """Ways to change a manifest and seal it anew, with their names: the reader must refuse it, or not care."""
    for field, content in manifest.items():
        yield f"without {field}", lambda m, f=field: m.pop(f)
        for value in wrong:
            yield f"{field} is {value!r}", lambda m, f=field, v=value: m.update({f: v})
        if (
            isinstance(content, dict) and field != "files"
        ):  # each of a memory's files is a damage of its own
            for name, change in manifest_changes(content, (None, "x", {"a": {}})):
                yield f"{field}: {name}", lambda m, f=field, c=change: c(m[f])
    yield "one more field", lambda m: m.update(surprise=1)


def resealed(path: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with its manifest changed and sealed anew: what somebody would write who wants to be believed."""
    content = path.read_bytes()
    if path.name == MEMORY_MANIFEST:
        manifest = json.loads(content)
        change(manifest)
        return sealed_anew(json.dumps({"seal": "0" * 64} | manifest).encode(), sealed._JSON_MARKER)

    def in_header(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"][sealed.METADATA_KEY])
        change(manifest)
        header["__metadata__"][sealed.METADATA_KEY] = json.dumps({"seal": "0" * 64} | manifest)

    return with_header(content, in_header)


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
        change
        for f in fields
        for change in (lambda s, f=f: s.pop(f), lambda s, f=f: s.update({f: [None]}))
    ]
    for change in changes if samples is None else random.Random(stage).sample(changes, samples):
        path.write_bytes(resealed(path, lambda manifest, c=change: c(manifest["state"]["stage"])))
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
    """Runs the manifest's reader with every change of it; it ends with 0 or 3 and at most a line, never otherwise."""
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
