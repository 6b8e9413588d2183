"""Memories as episodes, which is how other tools store play.

A memory holds rows of several lanes side by side; elsewhere an episode of n steps is n + 1
observations and n actions. The two differ where a memory begins or ends within an episode:

- What the end of the memory, or a gap in it, cuts off has no end of its own: its last step is
  neither terminated nor truncated.
- What a ring has overwritten the beginning of starts with ``context`` steps: the frames that the
  first whole state needs besides its own. These steps were played, but they are no transitions of
  the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corrtool.errors import ArtifactError
from corrtool.memory import MemoryRows
from corrtool.memory.rows import FIELDS, ring_bytes
from corrtool.runtime.free_memory import free_bytes, in_gigabytes
from corrtool.states import IMAGE, StateSpec

_MOST_STEPS = 2**31 - 1  # of an episode, by the type of ``episode_steps``


@dataclass(frozen=True)
class Episode:
    """A part of one episode, n steps long.

    Attributes:
        observations: (n + 1, *observation_shape), of which the last is what the last step led to.
        actions, rewards, terminated, truncated: (n,). Only the last step may end the episode.
        first_step: how many steps the episode had taken before ``observations[0]``.
        context: how many steps at its beginning are no transitions, because the frames before them
            are not there. They are part of the states after them.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminated: NDArray[Any]
    truncated: NDArray[Any]
    first_step: int = 0
    context: int = 0

    def sha256(self) -> str:
        """SHA-256 of all of it, whatever types a file has for actions and rewards."""
        digest = hashlib.sha256(f"{self.first_step} {self.context}\n".encode())
        digest.update(np.ascontiguousarray(self.observations).tobytes())
        for values, kind in (
            (self.actions, "<i8"),
            (self.rewards, "<f8"),
            (self.terminated, "?"),
            (self.truncated, "?"),
        ):
            digest.update(np.ascontiguousarray(values, kind).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Span:
    """Transitions of one lane that follow each other: ``steps`` of them, from ``slot`` on."""

    lane: int
    slot: int
    steps: int
    first_step: int
    context: int

    @property
    def length(self) -> int:
        """Steps with those of the context."""
        return self.context + self.steps


class MemoryEpisodes:
    """The episodes of a memory, one copied at a time.

    They are in the order in which they began, so that the newest come last, as in the memory; those
    whose beginning is not there come first.

    Raises:
        ArtifactError: a transition lacks the frames of its states. No memory of corrtool does.
    """

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows
        spans = [span for lane in range(rows.lanes) for span in _spans(rows, lane)]
        self._spans = sorted(
            spans, key=lambda span: (span.first_step + span.context == 0, span.slot, span.lane)
        )

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each, with those of its context."""
        return np.array([span.length for span in self._spans], np.int64)

    @property
    def first_steps(self) -> NDArray[np.int64]:
        """Each :attr:`Episode.first_step`."""
        return np.array([span.first_step for span in self._spans], np.int64)

    @property
    def contexts(self) -> NDArray[np.int64]:
        """Each :attr:`Episode.context`."""
        return np.array([span.context for span in self._spans], np.int64)

    def field(self, name: str) -> NDArray[Any]:
        """A field of :data:`FIELDS` at all steps, episode by episode."""
        values = self._rows.fields[name]
        parts = [values[self._rows_of(span)[:-1]] for span in self._spans]
        return np.concatenate([np.zeros(0, FIELDS[name]), *parts])

    def __iter__(self) -> Iterator[Episode]:
        for span in self._spans:
            rows = self._rows_of(span)
            fields = {name: values[rows[:-1]] for name, values in self._rows.fields.items()}
            yield Episode(
                to_observations(self._rows.spec, self._rows.frames[rows]),
                fields["actions"],
                fields["rewards"],
                fields["terminated"],
                fields["truncated"],
                span.first_step,
                span.context,
            )

    def _rows_of(self, span: _Span) -> NDArray[np.int64]:
        """Rows of its frames, the context first and what its last step led to last."""
        slots = np.arange(span.slot - span.context, span.slot + span.steps + 1, dtype=np.int64)
        return slots * self._rows.lanes + span.lane


def _spans(rows: MemoryRows, lane: int) -> Iterator[_Span]:
    """What follows each other in a lane, cut at ends of episodes and gaps."""
    field = {name: values[lane :: rows.lanes] for name, values in rows.fields.items()}
    valid, steps = field["valid"], field["episode_steps"].astype(np.int64)
    ends = field["terminated"] | field["truncated"]
    goes_on = valid[1:] & valid[:-1] & ~ends[:-1] & (steps[1:] == steps[:-1] + 1)
    goes_on = np.concatenate([[False], goes_on])[: len(valid)]
    firsts = np.flatnonzero(valid & ~goes_on)
    stops = np.flatnonzero(~goes_on)  # where something else is than the step after
    for slot in map(int, firsts):
        after = np.searchsorted(stops, slot, side="right")
        stop = int(stops[after]) if after < len(stops) else len(valid)
        context = min(rows.spec.stack - 1, int(steps[slot]))
        if stop == len(valid) or context > slot:
            raise ArtifactError(
                "the memory lacks frames of its first or last states", "collect it again"
            )
        yield _Span(lane, slot, stop - slot, int(steps[slot]) - context, context)


def observation_shape(spec: StateSpec) -> tuple[int, ...]:
    """The shape of a frame as others store it: pictures (height, width) or with channels last."""
    if spec.kind != IMAGE:
        return spec.frame_shape
    channels, *sides = spec.frame_shape
    return tuple(sides) if channels == 1 else (*sides, channels)


def observation_dtype(spec: StateSpec) -> np.dtype[Any]:
    """uint8 for pictures, else float32."""
    return np.dtype(np.uint8 if spec.kind == IMAGE else np.float32)


def to_observations(spec: StateSpec, frames: NDArray[Any]) -> NDArray[Any]:
    """Frames (n, *frame_shape) to observations (n, *observation_shape)."""
    if spec.kind != IMAGE:
        return frames
    return frames[:, 0] if spec.frame_shape[0] == 1 else np.moveaxis(frames, 1, -1)


def to_frames(spec: StateSpec, observations: NDArray[Any]) -> NDArray[Any]:
    """The inverse, also of pictures whose channels are first or of one channel that is written."""
    if spec.kind == IMAGE and observations.shape[1:] != spec.frame_shape:
        if spec.frame_shape[0] == 1:
            observations = observations.reshape(-1, *spec.frame_shape)
        else:
            observations = np.moveaxis(observations, -1, 1)
    return np.ascontiguousarray(observations, observation_dtype(spec))


def check_observations(
    spec: StateSpec, shape: tuple[int, ...], dtype: np.dtype[Any], where: str
) -> None:
    """Check that single observations of a file are frames of ``spec``.

    Raises:
        ArtifactError: their shape or their type is another.
    """
    fitting = {observation_shape(spec), spec.frame_shape}
    if spec.kind == IMAGE and spec.frame_shape[0] == 1:
        fitting.add((*spec.frame_shape[1:], 1))
    if shape not in fitting:
        raise ArtifactError(
            f"{where} has observations of the shape {shape}, and a frame of the task has "
            f"{observation_shape(spec)}",
            "store single frames, as the task shows them after preprocessing and views",
        )
    names = ["uint8"] if spec.kind == IMAGE else ["float32", "float64"]
    if dtype.name not in names:
        raise ArtifactError(
            f"{where} has observations of the type {dtype.name}, and the task's are {names[0]}",
            "store them as the task shows them",
        )


def check_episode(episode: Episode, spec: StateSpec, actions: int, where: str) -> None:
    """Check what the values of an episode from elsewhere say; shapes and types were checked.

    Raises:
        ArtifactError: they make no sense, or no transitions of a task with so many ``actions``.
    """
    steps, ends = len(episode.actions), episode.terminated | episode.truncated
    problem = ""
    if not steps:
        problem = "has no steps"
    elif len(episode.observations) != steps + 1:
        problem = f"has {len(episode.observations)} observations for {steps} steps, not one more"
    elif episode.actions.min() < 0 or episode.actions.max() >= actions:
        worst = max(episode.actions.min(), episode.actions.max(), key=lambda a: abs(int(a)))
        problem = f"takes action {worst}, and the task has actions 0 to {actions - 1}"
    elif ends[:-1].any():
        problem = f"goes on after its end at step {int(np.flatnonzero(ends)[0])}"
    elif not _all_finite(episode.rewards):
        problem = "has a reward that is not a finite number"
    elif spec.kind != IMAGE and not _all_finite(episode.observations):
        problem = "has an observation that is not a finite number"
    elif not 0 <= episode.context < steps or not 0 <= episode.first_step < _MOST_STEPS - steps:
        problem = f"begins at step {episode.first_step} with {episode.context} steps of context"
    elif episode.first_step and episode.context < spec.stack - 1:
        problem = f"begins within a game, without the {spec.stack - 1} frames before its first"
    if problem:
        raise ArtifactError(f"{where} {problem}", "it cannot be imported")


def _all_finite(values: NDArray[Any]) -> bool:
    """True if all are finite numbers, as float32 too."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32, copy=False)).all())


def to_rows(episode: Episode, spec: StateSpec) -> MemoryRows:
    """The rows of an episode that was checked, in one lane: its n steps and its last frame."""
    steps = len(episode.actions)
    fields: dict[str, NDArray[Any]] = {
        name: np.zeros(steps + 1, dtype) for name, dtype in FIELDS.items()
    }
    for name in ("actions", "rewards", "terminated", "truncated"):
        fields[name][:steps] = getattr(episode, name)
    fields["valid"][episode.context : steps] = True
    fields["episode_steps"][:] = episode.first_step + np.arange(steps + 1)
    return MemoryRows(spec, 1, to_frames(spec, episode.observations), fields)


def check_rows_fit(spec: StateSpec, rows: int, where: str) -> None:
    """Check that the memory which a file claims to be fits into this machine's.

    To be called before anything of the claimed size is made.

    Raises :class:`ArtifactError`.
    """
    check_bytes_fit(ring_bytes(spec, rows), where)


def check_bytes_fit(needed: int, where: str) -> None:
    """The same of a number of bytes."""
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > free:
        raise ArtifactError(
            f"{where} claims to hold {in_gigabytes(needed)}, and {in_gigabytes(free)} are free",
            "import fewer episodes, or use a machine with more memory",
        )
