"""The task of examples/hearing.py, registered, for the tests of signals."""

from __future__ import annotations

import importlib.util
from pathlib import Path

HEARING = "Hearing-v0"
_FILE = Path(__file__).parents[2] / "examples" / "hearing.py"
_spec = importlib.util.spec_from_file_location("examples.hearing", _FILE)
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
