"""Environments named ``module:Id`` import code.

That of installed packages is trusted, any other only once its user has said so.

A project is a directory that people pass on to each other, and its ``corrtool.toml`` names
environments. Without this, opening a project in a directory with a Python file of the right name
would run that file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import site
import sysconfig
from pathlib import Path

import typer

from corrtool.errors import UntrustedImportError
from corrtool.files.atomic import write_atomic

TRUST_VARIABLE = "CORRTOOL_TRUST"
_trusted_in_process: set[str] = set()  # by this process


def check_import(identifier: str) -> None:
    """Check that the module of the environment ``module:Id`` may be imported.

    Raises:
        UntrustedImportError: it lies outside the installed packages, and nobody has allowed it.
    """
    module = module_of(identifier)
    origin = untrusted_origin(module) if module else None
    if (
        origin is not None
        and module not in _trusted_in_environment()
        and str(origin) not in {*_trusted_in_process, *_trusted_before()}
    ):
        raise UntrustedImportError(identifier, origin)


def trust(identifier: str) -> None:
    """Remember that the module of ``module:Id``, where it lies now, may be imported.

    Nothing for any other environment.

    Where nothing can be written at home, this process alone remembers; others ask again, or are
    told by ``CORRTOOL_TRUST``.
    """
    module = module_of(identifier)
    origin = untrusted_origin(module) if module else None
    if origin is None or str(origin) in _trusted_before():
        return
    _trusted_in_process.add(str(origin))
    with contextlib.suppress(OSError):
        write_atomic(_trust_file(), json.dumps(sorted({*_trusted_before(), str(origin)})).encode())


def module_of(identifier: str) -> str | None:
    """``package.module:Id`` → ``package``, the name that importing begins with.

    None where nothing is to be imported.
    """
    module, separator, _ = identifier.partition(":")
    return module.partition(".")[0] if separator else None


def untrusted_origin(module: str) -> Path | None:
    """The origin of a top-level module, if part of it is outside the installed packages.

    Imports nothing.

    Only places count: any directory on the path can hold a name, or metadata, that looks installed.
    A file must lie there by the name it is imported by, and also where links lead. Packages that
    are installed as editable are elsewhere, and so not among them.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # there is none, which whoever imports it will say
    if spec is None or spec.origin in ("built-in", "frozen"):
        return None
    places = [*([spec.origin] if spec.origin else []), *(spec.submodule_search_locations or [])]
    return next(
        (Path(place).absolute() for place in places if not _is_installed(Path(place))), None
    )


def _is_installed(path: Path) -> bool:
    paths = sysconfig.get_paths()
    folders = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders.append(Path(site.getusersitepackages()))
    as_named = Path(os.path.normpath(path.absolute()))
    return any(as_named.is_relative_to(f) for f in folders) and any(
        path.resolve().is_relative_to(f.resolve()) for f in folders
    )


def _trusted_in_environment() -> list[str]:
    return [name.strip() for name in os.environ.get(TRUST_VARIABLE, "").split(",")]


def _trust_file() -> Path:
    return Path(typer.get_app_dir("corrtool")) / "trusted.json"


def _trusted_before() -> list[str]:
    try:
        value = json.loads(_trust_file().read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return []
    return [str(origin) for origin in value] if isinstance(value, list) else []
