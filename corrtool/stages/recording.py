"""Play that is written to a memory: by ``collect``, and at random after ``train-dqn``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from corrtool.memory import MemoryWriter, StateStacker
from corrtool.play.games import QValues, choose_actions, threads_for
from corrtool.project.manifests import About
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.resumable import Resumable, State
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.runtime.signals import default_signal_handling
from corrtool.tasks import Lanes, Task


@dataclass(frozen=True)
class Recording:
    """What is to be played: a task in ``lanes``, until there are ``records`` valid transitions.

    Attributes:
        q_values: of the agent that plays; None for random play.
        epsilon: the share of its actions that are random.
    """

    task: Task
    records: int
    lanes: int
    q_values: QValues | None = None
    epsilon: float = 0.0


@dataclass(frozen=True)
class Kept:
    """What checkpoints hold while a stage plays after its own work: that, and not the play.

    Attributes:
        after_checkpoint: as in :class:`Loop`.
    """

    resumable: Resumable
    after_checkpoint: Callable[[], None]

    def save(self, opened: Run) -> None:
        """Write a checkpoint."""
        opened.save(self.resumable.state())
        self.after_checkpoint()


def record_play(
    recording: Recording,
    context: StageContext,
    opened: Run,
    stop: StopSignals,
    staged: Path,
    *,
    state: State | None = None,
    kept: Kept | None = None,
) -> About:
    """Write the play to the directory ``staged``; returns what the memory's manifest says of it.

    Args:
        state: of this play, from a checkpoint: new games continue its records.
        kept: what the stage must not lose meanwhile. It is saved first, and play that is
            interrupted begins again with its first record.
    """
    task = recording.task
    if kept is not None:
        kept.save(opened)
        shutil.rmtree(staged, ignore_errors=True)
    context.console.say(
        f"{opened.request.settings.stage}: opening {recording.lanes} environments of {task}"
        + ("" if kept is None else " for random play")
    )
    with default_signal_handling():  # making many takes seconds outside of Python
        made = Lanes(task, recording.lanes)
    with made as lanes, torch.inference_mode():
        with opened.restoring():
            writer = MemoryWriter(staged, lanes.spec, lanes.count, state)
        with Loop(
            opened,
            context.console,
            stop,
            total=recording.records,
            unit="records",
            start=writer.records,
            resumable=writer if kept is None else kept.resumable,
            after_checkpoint=_nothing if kept is None else kept.after_checkpoint,
        ) as loop:
            attempt = opened.resumptions if kept is None else 0
            with threads_for(recording.q_values):
                _play(recording, context, lanes, writer, loop, attempt)
        about: About = {
            "role": task.role,
            "task_sha256": task.sha256,
            "play": "random" if recording.q_values is None else "agent",
            "actions": lanes.actions,
        }
        return {**about, **writer.finish()}


def _play(
    recording: Recording,
    context: StageContext,
    lanes: Lanes,
    writer: MemoryWriter,
    loop: Loop,
    attempt: int,
) -> None:
    """Play in all lanes until ``writer`` has the records, each ``attempt`` with other games."""
    random = numpy_generator(context.seed, "collect", attempt)
    stacker = StateStacker(lanes.spec, lanes.count, context.device)
    frames = lanes.reset(derive_seeds(context.seed, "collect", lanes.count, attempt))
    writer.open_slot(frames)
    states, q_values = stacker.push(frames), recording.q_values
    while writer.records < recording.records:
        values = None if q_values is None else q_values(states)
        actions = choose_actions(values, lanes.count, lanes.actions, recording.epsilon, random)
        lanes.send(actions)
        writer.write_chunks()  # while the emulators step
        step = lanes.receive()
        writer.record(actions, step, limit=recording.records)
        if q_values is not None:
            states = stacker.push(step.frames, step.episode_steps)
        loop.advance(writer.records - loop.done)


def _nothing() -> None:
    """What there is to do after a checkpoint of a memory that is being written."""
