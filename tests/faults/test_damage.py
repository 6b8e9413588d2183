"""Damage of every file of every artifact.

It is refused with exit 3 and a line that names the file, and nothing is silently zeros.

The cases are made from a real project: each file truncated and with flipped bits all over, each
chunk and file deleted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from faults.harness import READERS, artifact_files
from support.commands import run_in_process

# What a file holds after the damage; None where it is deleted.
Change = Callable[[bytes], bytes | None]


REGIONS = 24


def cut(length: int, content: bytes) -> bytes:
    return content[:length]


def flipped(at: int, bit: int, content: bytes) -> bytes:
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


def damages(path: Path, size: int) -> Iterator[tuple[str, Change]]:
    """Ways to damage a file of this size, with their names."""
    yield "deleted", lambda content: None
    for length in sorted({0, 1, min(8, size - 1), size // 2, size - 1}):
        yield f"cut to {length}", partial(cut, length)
    yield "one byte more", lambda content: content + b"\0"
    dice = random.Random(path.name)
    for region in range(min(REGIONS, size)):
        first, after = region * size // REGIONS, (region + 1) * size // REGIONS
        at = dice.randrange(first, max(first + 1, after))
        bit = 1 << dice.randrange(8)
        yield f"bit {bit} of byte {at}", partial(flipped, at, bit)
    yield "zeros", lambda content: bytes(len(content))


def refused(lab: Path, path: Path, change: Change) -> str | None:
    """Why this damage is not refused as it should be; None where it is.

    The file is as before afterwards.
    """
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


def refused_by_readers(lab: Path, samples: int, capsys: pytest.CaptureFixture[str]) -> int:
    """How many damages the stages that read the files refuse.

    They do so with exit 3 and a line that names the file.
    """
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
