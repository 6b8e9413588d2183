"""The command line. Importing this package imports neither torch nor gymnasium.

``--help`` and completion stay fast.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Container, Sequence
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any

import typer

from corrtool import __version__
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UntrustedImportError, UsageError, as_corrtool_error, check_encoding
from corrtool.runtime.signals import exit_on_signals, exit_without_cleanup
from corrtool.stages.registry import STAGES

_debug = False
_MODULES = {"import": "imports", "export": "exports"}  # of groups; `import` names no module


def _version(wanted: bool) -> None:
    if wanted:
        print(f"corrtool {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
    debug: bool = typer.Option(
        False, "--debug", envvar="CORRTOOL_DEBUG", help="Show a traceback when something fails."
    ),
) -> None:
    global _debug
    _debug = debug


def build_app(words: Container[str] = SUMMARIES) -> typer.Typer:
    """The command line with the subcommands among ``words``.

    Of the others it only knows that they are there.

    Hundreds of options take longer to describe than all else that ``--help`` and completion do.
    """
    app = typer.Typer(
        name="corrtool",
        help=(
            "Learn the state correspondence between two reinforcement-learning tasks, and move "
            "an agent's knowledge across it.\n\n"
            f"The usual order: {', '.join(['init', *STAGES])}."
        ),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, summary in SUMMARIES.items():
        if name not in words:
            app.command(name, help=summary)(_placeholder)
        elif name in STAGES:
            from corrtool.cli.stage_command import add_stage

            add_stage(app, STAGES[name])
        else:
            import_module(f"corrtool.cli.{_MODULES.get(name, name)}").add(app)
    return app


def _placeholder() -> None:
    """Placeholder of a subcommand that the command line does not name."""


def _words_to_complete() -> list[str]:
    """The words of the command line that a shell is completing."""
    return [
        word
        for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
        for word in os.environ.get(name, "").split()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with the documented code."""
    _open_closed_streams()
    _reserve_stdout()
    _tolerate_missing_home()
    exit_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # λ and ° must not end a command where the locale is ASCII
    code = run(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, _OwnStdout):
        sys.stdout.ended = True
    if os.environ.get("WORLD_SIZE", "1") != "1":  # under torchrun
        exit_without_cleanup(code)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Redirect a standard stream that the caller closed to the null device.

    The next file that is opened would get its place and its output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


class _OwnStdout(io.TextIOWrapper):
    """stdout for what corrtool prints: the main thread, until the command has ended.

    What threads of an environment print, and what it prints as the process exits, goes to stderr.
    """

    ended = False
    _main_thread = get_ident()

    def write(self, text: str) -> int:
        if self.ended or get_ident() != self._main_thread:
            return sys.stderr.write(text)
        return super().write(text)


def _reserve_stdout() -> None:
    """Redirect to stderr what anything but corrtool writes to stdout, such as a simulator in C.

    ``--json`` prints one object.
    """
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = _OwnStdout(
        os.fdopen(kept, "wb"),
        encoding=sys.stdout.encoding,
        errors="replace",
        line_buffering=os.isatty(kept),
    )


def _tolerate_missing_home() -> None:
    """A user without a name, as in containers, may have no home.

    Libraries that look for one take one that cannot be written.

    Matplotlib says at length that it cannot keep its cache there, and does without.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not Path(os.path.expanduser("~")).is_absolute():  # noqa: PTH111 - Path.home() raises
        os.environ["HOME"] = os.devnull


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code.

    An error becomes one line on stderr, and a traceback with ``--debug``.
    """
    try:
        for argument in arguments:
            check_encoding(argument)
        _check_current_directory()
        code = build_app([*arguments, *_words_to_complete()])(
            args=list(arguments), prog_name="corrtool", standalone_mode=False
        )
        if code == 130:
            print(
                "corrtool: interrupted; what had finished is kept, run the same command again to "
                "resume",
                file=sys.stderr,
            )
        return code if isinstance(code, int) else 0
    except UntrustedImportError as error:
        if sys.stdin.isatty() and sys.stderr.isatty() and _user_trusts(error):
            return run(arguments)
        return _fail(str(error), error.exit_code, error)
    except KeyboardInterrupt as error:
        return _fail("interrupted", 130, error)
    except BrokenPipeError:
        from corrtool.runtime.console import discard_stdout

        discard_stdout()  # the reader went away; nothing more to say
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # an error of Typer's own parser
            text = _parser_message(error)
            return (
                _fail(text, getattr(error, "exit_code", 2), error)
                if text
                else getattr(error, "exit_code", 2)
            )
        known = as_corrtool_error(error)
        if known is not None:
            return _fail(str(known), known.exit_code, error)
        return _fail(
            f"unexpected {type(error).__name__}: {error}; run with 'corrtool --debug …' and "
            "report it",
            1,
            error,
        )


def _check_current_directory() -> None:
    """Importing torch crashes where it was removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current directory is gone", "change into one that exists") from None


def _user_trusts(error: UntrustedImportError) -> bool:
    from corrtool.runtime.printable import printable
    from corrtool.tasks.trust import trust

    question = f"{error.message}. Run it, now and whenever it is named?"
    if not typer.confirm(f"corrtool: {printable(question)}", err=True):
        return False
    trust(error.identifier)
    return True


def _parser_message(error: Any) -> str:
    """The parser's message, and the environment variable if the value comes from one."""
    text: str = error.format_message().replace("Value error, ", "")
    option, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if option is None or context is None or not option.envvar or option.envvar in text:
        return text
    if getattr(context.get_parameter_source(option.name), "name", "") != "ENVIRONMENT":
        return text
    return f"{text.removesuffix('.')}; this is the value of {option.envvar}"


def _fail(message: str, code: int, error: BaseException) -> int:
    if _debug:
        import traceback

        traceback.print_exception(error)
    from corrtool.runtime.printable import printable

    with contextlib.suppress(
        OSError
    ):  # nobody may read the log any more; the exit code still tells
        print(f"corrtool: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)
    return code
