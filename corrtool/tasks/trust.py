"""Environments named ``module:Id`` import code. That of installed packages is trusted, any other only once its user has said so.

A project is a directory that people pass on to each other, and its ``corrtool.toml`` names environments. Without this, opening a
project in a directory with a Python file of the right name would run that file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import site
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import typer

from corrtool.errors import UntrustedImportError
from corrtool.project.files import write_atomic

TRUST_VARIABLE = "CORRTOOL_TRUST"


def check_import(identifier: str) -> None:
    """Whether the module of the environment ``module:Id`` may be imported.

    Raises:
        UntrustedImportError: it lies outside the installed packages, and nobody has said yet that it may.
    """
    module = module_of(identifier)
    origin = foreign_origin(module) if module else None
    if origin is not None and module not in _named_in_environment() and str(origin) not in _remembered():
        raise UntrustedImportError(identifier, origin)


def trust(identifier: str) -> None:
    """Remembers that the module of ``module:Id``, where it lies now, may be imported; nothing for any other environment."""
    module = module_of(identifier)
    origin = foreign_origin(module) if module else None
    if origin is not None and str(origin) not in _remembered():
        write_atomic(_memory(), json.dumps(sorted({*_remembered(), str(origin)})).encode())


def module_of(identifier: str) -> str | None:
    """``package.module:Id`` → ``package``, the name that importing begins with; None where nothing is to be imported."""
    module, separator, _ = identifier.partition(":")
    return module.partition(".")[0] if separator else None


def foreign_origin(module: str) -> Path | None:
    """Where a top-level module would be imported from, if that is outside the installed packages. Imports nothing."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # there is none, which whoever imports it will say
    places = [] if spec is None else [*([spec.origin] if spec.origin else []), *(spec.submodule_search_locations or [])]
    if spec is None or spec.origin in ("built-in", "frozen") or not places:
        return None
    origin = Path(places[0]).resolve()
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed.append(Path(site.getusersitepackages()).resolve())
    inside = any(origin.is_relative_to(folder) for folder in installed)
    return None if inside or module in packages_distributions() else origin


def _named_in_environment() -> list[str]:
    return os.environ.get(TRUST_VARIABLE, "").split(",")


def _memory() -> Path:
    return Path(typer.get_app_dir("corrtool")) / "trusted.json"


def _remembered() -> list[str]:
    try:
        value = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(origin) for origin in value] if isinstance(value, list) else []
