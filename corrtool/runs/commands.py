"""The command that made something.

As it is recorded, as it is shown to others, and as it goes on with an interrupted run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corrtool.errors import ArtifactError
from corrtool.project.directory import find_project
from corrtool.settings.base import flag_name, variable_name

if TYPE_CHECKING:
    from corrtool.project.manifests import Origin
    from corrtool.runs.records import RunRecord

_OF_ANOTHER_LENGTH = {
    "--name": 1, "--env-steps": 1, "--max-minutes": 1, "--extend": 0, "--overwrite": 0
}  # fmt: skip
_COMMON_VARIABLES = ("CORRTOOL_PRESET", "CORRTOOL_SEED", "CORRTOOL_DEVICE")


_recorded_command: ContextVar[list[str] | None] = ContextVar("recorded", default=None)


@contextmanager
def recording_command(words: list[str]) -> Iterator[None]:
    """Around a stage that is called from Python.

    The command line that would do the same, since the process has another.
    """
    token = _recorded_command.set(words)
    try:
        yield
    finally:
        _recorded_command.reset(token)


def this_command(stage: str) -> str:
    """This process's command for a shell, after the environment variables that affect ``stage``."""
    recorded = _recorded_command.get()
    if recorded is not None:
        return shlex.join(recorded)
    prefix = variable_name(stage, "")
    spoken = {
        name: value
        for name, value in sorted(os.environ.items())
        if value and (name in _COMMON_VARIABLES or name.startswith(prefix))
    }
    return _joined(spoken, ["corrtool", *sys.argv[1:]])


def option_words(said: Mapping[str, Any], off: Container[str] = ()) -> list[str]:
    """Options as words of a command line.

    Args:
        said: the options by name; what is None is not given.
        off: those that have a ``--no-…``.
    """
    words = list[str]()
    for name, value in said.items():
        if isinstance(value, bool) and (value or name in off):
            words.append(flag_name(name if value else f"no_{name}"))
        elif value is not None and not isinstance(value, bool):
            words += [flag_name(name), str(value)]
    return words


def without_project(command: str) -> str:
    """A command without the directory of the project, which is nobody else's."""
    try:
        variables, words = _split(command)
    except ValueError:  # sealed by somebody else
        return command
    return _joined(variables, _without_project(words))


def without_options(command: str, options: Mapping[str, int]) -> str:
    """A command without some options, each with the number of words that follow it."""
    try:
        variables, words = _split(command)
    except ValueError:  # sealed by somebody else
        return command
    return _joined(variables, _without(words, options))


def _without(words: list[str], options: Mapping[str, int]) -> list[str]:
    """The words that are none of these options, nor one of the words that follow them."""
    kept, rest = [], iter(words)
    for word in rest:
        if word in options:
            for _ in range(options[word]):
                next(rest, None)
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def _option(words: list[str], flag: str) -> list[str]:
    """An option and its value, as ``--seed 1`` or ``--seed=1``; nothing where it is not given."""
    for at, word in enumerate(words):
        if word == flag:
            return words[at : at + 2]
        if word.startswith(f"{flag}="):
            return [word]
    return []


def resume_command(root: Path, record: RunRecord) -> str:
    """The command that resumes, from here, the run of the project ``root`` with this ``record``.

    Its name and inputs are spelt out: newer ones may have been made since.
    """
    recorded, stage = str(record["command"]), str(record["stage"])
    try:
        variables, words = _split(recorded)
    except ValueError:  # sealed by somebody else
        return recorded
    if stage not in words[1:2]:
        return recorded  # `reproduce`, `quickstart` and `transfer` go on by themselves
    inputs = {use: parent["name"] for use, parent in record["parents"].items()}
    flags = {"--name": record["name"], **_input_flags(stage, inputs)}
    words = _without_project(words)
    if record["settings"].get("mixed_memories") and "random_memory" not in record["parents"]:
        words.append("--no-mixed-memories")  # one may have been made since
    for flag, name in flags.items():
        if flag not in words and not any(word.startswith(f"{flag}=") for word in words):
            words += [flag, name]
    return _joined(variables, words + _project_words(root))


def longer_training_command(root: Path, made: Origin, name: str, env_steps: int | None) -> str:
    """The ``train-dqn`` command that makes, from here, the training ``name`` longer.

    Args:
        made: the record of that training, or a manifest of its.
        env_steps: in all; None for one that its time limit cut short: it goes on without one.
    """
    try:
        variables, words = _split(str(made["command"]))
    except ValueError:  # sealed by somebody else
        variables, words = {}, []
    if words[1:2] == ["train-dqn"]:
        given = _without_project(_without(words[2:], _OF_ANOTHER_LENGTH))
    else:  # of `transfer` and others the part that counts
        given = [word for flag in ("--preset", "--seed") for word in _option(words, flag)]
    longer = [] if env_steps is None else ["--extend", "--env-steps", str(env_steps)]
    named = ["corrtool", "train-dqn", *given, "--name", name]
    return _joined(variables, [*named, *longer, *_project_words(root)])


def anew_command(
    root: Path,
    stage: str,
    said: list[str],
    taken: Iterable[str],
    name: str,
    inputs: Mapping[str, str],
) -> str:
    """The command that replaces, from here, a run of the project ``root``.

    Args:
        said: the options that it is asked for with, as words.
        taken: the environment variables that count; others of the stage are made empty, which is
            as if they were not there.
        name: of the run; not one that is made up from what was made since.
        inputs: names of artifacts by use.
    """
    counting = set(taken)
    variables = {
        variable: value if variable in counting else ""
        for variable, value in sorted(os.environ.items())
        if value and variable.startswith(variable_name(stage, ""))
    }
    words = ["corrtool", stage, *said]
    for flag, value in {"--name": name, **_input_flags(stage, inputs)}.items():
        if flag not in said:
            words += [flag, value]
    return _joined(variables, [*words, *_project_words(root), "--overwrite"])


def _split(command: str) -> tuple[dict[str, str], list[str]]:
    """The variables before a command, and its words.

    Raises :class:`ValueError` where no shell could read it.
    """
    words, variables = shlex.split(command), {}
    while words and words[0].startswith("CORRTOOL_") and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return variables, words


def _joined(variables: dict[str, str], words: list[str]) -> str:
    return " ".join(
        [*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(words)]
    )


def _without_project(words: list[str]) -> list[str]:
    kept, rest = [], iter(words)
    for word in rest:
        if word in ("-p", "--project"):
            next(rest, None)
        elif not word.startswith("--project=") and not (
            word.startswith("-p") and not word.startswith("--")
        ):
            kept.append(word)
    return kept


def _project_words(root: Path) -> list[str]:
    """What says which project a command is for, where it is not found from here."""
    with contextlib.suppress(ArtifactError):
        if find_project(None).root == root:
            return []
    return ["--project", str(root)]


def _input_flags(stage: str, inputs: Mapping[str, str]) -> dict[str, str]:
    """``learn-corr``, ``source_memory`` → ``--source-memory``.

    What ``train-model`` calls its memory is a source memory all the same. The Q-function of
    ``collect`` is named by its ``--policy``.
    """
    if stage == "collect":
        return {}
    renamed = {("train-model", "source_memory"): "memory"}
    return {flag_name(renamed.get((stage, use), use)): name for use, name in inputs.items()}
