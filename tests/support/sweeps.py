"""Engines for tests: commands that run in this process, or only tell an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corrtool.cli.stage_command import calls_from_environment
from corrtool.project.directory import Project
from corrtool.runs.records import RunRecord
from corrtool.settings.common import CommonOptions
from corrtool.workflows.sweeps.running import Limits, Work
from corrtool.workflows.sweeps.status import SweepResult
from corrtool.workflows.sweeps.steps import Step
from corrtool.workflows.sweeps.sweep import Asked, Sweep, plan_sweep
from support.commands import run_in_process

TINY = CommonOptions(device="cpu", preset="tiny")


@dataclass
class EndedJob:
    """A command that has ended, or never will."""

    code: int | None
    host: str = "here"
    heard: list[int] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.code

    def signal(self, number: int) -> None:
        self.heard.append(number)
        if self.code is None:
            self.code = 143


@dataclass
class FakeEngine:
    """Runs commands in this process at once, after the exit codes that a test has for them.

    Attributes:
        codes: by the name of the run, what its first commands end with instead of running; None
            for one that runs until it hears a signal.
        submitted: the name of the run of each command, in order.
    """

    codes: dict[str, list[int | None]] = field(default_factory=dict)
    slots: int = 1
    name: str = "fake"
    submitted: list[str] = field(default_factory=list)
    jobs: list[EndedJob] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)

    def submit(self, words: Sequence[str], log: Path) -> EndedJob:
        name = words[words.index("--name") + 1]
        self.submitted.append(name)
        self.words.append([*words])
        planned = self.codes.get(name, [])
        code = planned.pop(0) if planned else run_in_process(*words, "--quiet")
        job = EndedJob(code)
        self.jobs.append(job)
        return job


@dataclass
class Told:
    """A watcher that remembers what it is told."""

    done: list[tuple[str, bool]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    deaths: int = 0
    pauses: list[tuple[str, str]] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def begun(self, step: Step, host: str) -> None:
        pass

    def ended(self, step: Step, record: RunRecord, *, here: bool) -> None:
        self.done.append((step.stage, here))

    def failed(self, work: Work, line: str) -> None:
        self.lines.append(line)

    def interrupted(self, step: Step, code: int) -> None:
        self.deaths += 1

    def paused(self, work: Work, line: str) -> None:
        self.pauses.append((work.step.name, line))

    def left_out(self, line: str) -> None:
        self.not_compared.append(line)

    def tick(self, works: Sequence[Work]) -> None:
        pass


def planned_sweep(lab: Path, *grid: str, stage: str = "learn-corr", **more: Any) -> Sweep:
    """A sweep at the size tiny."""
    calls = calls_from_environment(TINY)
    return plan_sweep(Project(lab), calls, Asked(stage, [*grid], **more), "corrtool sweep …")


def run_sweep(
    sweep: Sweep, engine: FakeEngine, told: Told | None = None, **limits: Any
) -> SweepResult:
    return sweep.run(engine, Limits(**limits), told or Told())


def states(result: SweepResult) -> dict[str, str]:
    return {cell["name"]: cell["state"] for cell in result["cells"]}
