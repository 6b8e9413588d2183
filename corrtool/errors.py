"""Errors a user can act on: one line that says what happened and what to do, and an exit code.

Exit codes (docs/cli.md): 0 done, 1 failed, 2 usage, 3 artifact missing, damaged or not fitting,
4 device not there, 5 locked by another process, 130/143 interrupted and resumable.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping
from pathlib import Path


class CorrtoolError(Exception):
    """A failure that is reported as one line on stderr. ``hint`` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.message}; {self.hint}" if self.hint else self.message
        return " ".join(line.split())


class UsageError(CorrtoolError):
    """The command, its settings or ``corrtool.toml`` ask for something that makes no sense."""

    exit_code = 2


def check_encoding(text: str) -> None:
    """Refuse a name that is not encoded in UTF-8: JSON, Zarr and OpenCV cannot write it.

    Raises ``UsageError``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!a} is not encoded in UTF-8", "rename it, or move the project"
        ) from None


class NameTakenError(UsageError):
    """A run's name, or that of what it makes, is another run's.

    ``name`` is that of the run that was asked for, ``inputs`` are the names of what it would read,
    by use. ``anew`` is a command that makes it in the place of the other, where the call is known.
    """

    def __init__(self, message: str, name: str, inputs: Mapping[str, str]) -> None:
        self.name, self.inputs, self.anew = name, inputs, ""
        super().__init__(message, "choose another --name, or --overwrite it")


class UntrustedImportError(UsageError):
    """A project names an environment whose code lies outside the installed packages."""

    def __init__(self, identifier: str, origin: Path) -> None:
        self.identifier, self.origin = identifier, origin
        module = identifier.partition(":")[0].partition(".")[0]
        super().__init__(
            f"the environment {identifier} runs code in {origin}, outside the installed packages",
            f"if you trust it, answer y in a terminal or set CORRTOOL_TRUST={module}",
        )


class ArtifactError(CorrtoolError):
    """A project, memory, weights file or environment model is missing, damaged or does not fit."""

    exit_code = 3


class DamagedError(ArtifactError):
    """A file that corrtool wrote is not what it was, or gone.

    ``anew`` is a command that makes the run again whose file it is, where that is known.
    """

    def __init__(self, path: Path, what: str, hint: str = "") -> None:
        self.path, self.anew = path, ""
        super().__init__(f"{path} {what}", hint)


class MissingInputError(ArtifactError):
    """Artifacts that a stage reads are not there.

    ``missing`` has what each is in words, and what to do, all of them at once; ``names`` those of
    them that were asked for by name.
    """

    def __init__(self, missing: list[tuple[str, str]], names: tuple[str, ...] = ()) -> None:
        self.missing, self.names = missing, names
        super().__init__(
            "; ".join(what for what, _ in missing),
            "; ".join(dict.fromkeys(hint for _, hint in missing)),
        )


class NewerFormatError(ArtifactError):
    """A file was written by a version whose format this one does not know."""


class ForeignFileError(ArtifactError):
    """A whole safetensors file in the place of weights, made by something else than corrtool."""


class DeviceError(CorrtoolError):
    """The device asked for, or the compiler for it, is not there.

    There is never a silent fall-back to another one.
    """

    exit_code = 4


class LockedError(CorrtoolError):
    """Another process is writing the same artifact."""

    exit_code = 5


class TrainingDivergedError(CorrtoolError):
    """A loss or a weight became NaN or infinite; the last good state is kept."""


class InterruptedRunError(CorrtoolError):
    """A signal asked the run to stop; the same command goes on from what is saved.

    Args:
        directory: where it is saved.
        saved: how much, such as ``3 of 30 games are saved``.
    """

    def __init__(
        self, signal_number: int, directory: str, saved: str = "everything is saved"
    ) -> None:
        super().__init__(
            f"interrupted by signal {signal_number}, resumable: {saved} in {directory}",
            "run the same command again to resume",
        )
        self.exit_code = exit_code(signal_number)


def exit_code(number: int) -> int:
    """130 for SIGINT, 143 for the others: shells report an interrupted command so."""
    return 130 if number == signal.SIGINT else 143


def as_corrtool_error(error: Exception) -> CorrtoolError | None:
    """The ``CorrtoolError`` for an error of Python's or torch's own, such as a full disk.

    None if the cause is not known.
    """
    if isinstance(error, CorrtoolError):
        return error
    if isinstance(error, OSError):
        if error.errno == errno.ENAMETOOLONG:
            return UsageError(f"{error.filename}: the name is too long", "choose a shorter one")
        where = f"{error.filename}: " if error.filename else ""
        return CorrtoolError(
            f"{where}{error.strerror or error}",
            "mend that and run the same command again; what was written before is kept",
        )
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "alloc_cpu" in str(error)
    ):
        return CorrtoolError(
            "the device ran out of memory",
            "use a smaller --batch-size, --filters or --memory-capacity",
        )
    if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
        reason = str(error).strip().partition("\n")[0]  # what follows is for developers of torch
        return DeviceError(f"--compile failed ({reason})", "fix the compiler, or use --no-compile")
    return None
