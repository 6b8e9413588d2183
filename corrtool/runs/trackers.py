"""Experiment trackers beside ``metrics.jsonl``, which stays the truth: trackio and wandb.

Neither can be cut back to a checkpoint, so nothing goes there before a checkpoint holds it: after a
kill and a resumption no line is there twice. Which lines are sent is written down before they are,
in ``mirrored.json`` beside the metrics; a kill in that moment leaves a gap in the tracker, which a
second copy would not mend.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from corrtool.errors import UsageError
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed import damaged, read_sealed_json, seal_json
from corrtool.runs.metrics import metrics_path, read_metrics
from corrtool.runs.requests import RunRequest

MIRRORED = "mirrored.json"  # in a run's directory
_STEPS = ("env_steps", "gradient_steps")
_WRITES_EVERY = "x_transaction_log_flush_interval"  # seconds, a setting of wandb
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Sent(NamedTuple):
    """The numbers of one line.

    Attributes:
        number: of the line, from 0.
        step: on the axis; that of the line before where it tells none.
    """

    number: int
    step: int
    numbers: dict[str, float]


class Tracker(Protocol):
    """A run as a tracker holds it, opened as it is made; opened again it goes on."""

    def log(self, lines: list[Sent]) -> None:
        """Send these lines."""

    def close(self) -> None:
        """Wait until everything is there; :meth:`log` may not follow."""


class TrackioRun:
    """A run of trackio: a local file of SQLite, or what ``TRACKIO_SPACE_ID`` says.

    It is closed after every checkpoint, since closing is what makes it durable.
    """

    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        self._opening = {"project": project, "name": name, "config": config}
        if "TRACKIO_SPACE_ID" not in os.environ:  # without a word it would keep nothing
            Path(import_module("trackio").TRACKIO_DIR).mkdir(parents=True, exist_ok=True)

    def log(self, lines: list[Sent]) -> None:
        """Send these lines, and wait until they are there."""
        trackio: Any = import_module("trackio")
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        run = trackio.init(**self._opening, resume="allow", **quiet)
        try:
            for line in lines:
                run.log(line.numbers, step=line.step)
        finally:
            trackio.finish()

    def close(self) -> None:
        """Nothing: it is closed."""


class WandbRun:
    """A run of wandb; ``WANDB_MODE=offline`` keeps it on this machine, and so does no key.

    Its own steps only ever grow, so they are the numbers of the lines; ``env_steps`` and
    ``gradient_steps`` are there to be an axis.

    Its own process dies with this one where that is killed, without a word of what it has not
    written; by default it writes every 15 s.
    """

    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        wandb: Any = import_module("wandb")
        given: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True}
        if _WRITES_EVERY in wandb.Settings.model_fields:  # an experimental one, since 0.31
            given[_WRITES_EVERY] = 0.1
        settings = wandb.Settings(**given)
        has_key = os.environ.get("WANDB_MODE") or wandb.login(prompt=False)
        self._run = wandb.init(
            project=project,
            id=name,
            name=name,
            config=config,
            resume="allow",
            mode=None if has_key else "offline",
            settings=settings,
        )

    def log(self, lines: list[Sent]) -> None:
        """Hand these lines to wandb's own process."""
        for line in lines:
            # Without `commit` a line waits for the next one, and is lost if this process dies.
            self._run.log(line.numbers, step=line.number, commit=True)

    def close(self) -> None:
        """Wait until that process has them."""
        self._run.finish()


TRACKERS: dict[str, Callable[[str, str, dict[str, Any]], Tracker]] = {
    "trackio": TrackioRun,
    "wandb": WandbRun,
}


class Mirror:
    """The copy of a run's metrics in a tracker; one that fails costs a warning, never the run.

    Args:
        directory: of the run.
        tracker: its name, a key of :data:`TRACKERS`.
        project, name: the run's; the tracker's run has a suffix that no other has.
        config: settings to show there.
        say: prints a line.

    Raises:
        UsageError: the tracker is not installed.
        ArtifactError: ``mirrored.json`` is damaged.
    """

    def __init__(
        self,
        directory: Path,
        tracker: str,
        *,
        project: str,
        name: str,
        config: dict[str, Any],
        say: Callable[[str], None],
    ) -> None:
        try:
            with _silence():
                import_module(tracker)
        except ImportError:
            raise UsageError(
                f"--track {tracker} needs {tracker}", f"pip install 'corrtool[{tracker}]'"
            ) from None
        self._directory, self._tracker, self._say = directory, tracker, say
        self._state = _read_state(directory, tracker)
        self._project = _NOT_A_NAME.sub("-", project).strip("-.") or "corrtool"
        self._name = f"{name}-{self._state['id']}"
        self._config = config
        self._run: Tracker | None = None
        self._failed = False

    @classmethod
    def of_run(
        cls,
        directory: Path,
        tracker: str,
        project: str,
        request: RunRequest,
        say: Callable[[str], None],
    ) -> Mirror:
        """That of the run for ``request`` in the project of this name. Raises as the class does."""
        stage, settings = request.settings.stage, request.settings.to_json()
        config = {"stage": stage, "seed": request.seed, **settings}
        name = f"{stage}-{request.name}"
        return cls(directory, tracker, project=project, name=name, config=config, say=say)

    def catch_up(self) -> None:
        """Send the lines that are not sent yet; call it when a checkpoint holds them all."""
        lines = read_metrics(metrics_path(self._directory))
        count = self._state["lines"]
        sent, step = _numbers(lines[count:], count, self._state["step"])
        if self._failed or len(lines) <= count:
            return
        with self._watched():
            if self._run is None:
                opened = TRACKERS[self._tracker]
                self._run = opened(self._project, self._name, self._config)
            self._state |= {"lines": len(lines), "step": step}
            write_atomic(self._directory / MIRRORED, seal_json(self._state))
            self._run.log(sent)

    def close(self) -> None:
        """Let the tracker finish; closing twice is fine."""
        run, self._run = self._run, None
        if run is not None and not self._failed:
            with self._watched():
                run.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Around what a tracker does: it prints nothing, and its failures are one line."""
        try:
            with _silence():
                yield
        except Exception as error:  # whatever it is, the run does not depend on it
            self._failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._say(
                f"{self._tracker} failed, and gets no more of this run until it is resumed "
                f"({reason}); {metrics_path(self._directory).name} has everything"
            )


def _read_state(directory: Path, tracker: str) -> dict[str, Any]:
    """What was sent of a run to this tracker; nothing, with an id of its own, before the first."""
    path = directory / MIRRORED
    new = {"tracker": tracker, "id": secrets.token_hex(4), "lines": 0, "step": 0}
    if not path.exists():
        return new
    state = read_sealed_json(path, "remove it: the tracker gets a run of its own")
    if any(type(state.get(key)) is not type(value) for key, value in new.items()):
        raise damaged(path, "remove it: the tracker gets a run of its own")
    return {key: state[key] for key in new} if state["tracker"] == tracker else new


def _numbers(lines: list[dict[str, Any]], first: int, step: int) -> tuple[list[Sent], int]:
    """What is sent of these lines, whose first has this number, and the last step."""
    found: list[Sent] = []
    for number, line in enumerate(lines, first):
        step = next((line[name] for name in _STEPS if type(line.get(name)) is int), step)
        numbers = {
            name: value
            for name, value in line.items()
            if type(value) in (int, float) and math.isfinite(value)
        }
        if numbers:
            found.append(Sent(number, step, numbers))
    return found, step


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what a tracker prints: stdout is for results, and stderr has one line of progress."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
