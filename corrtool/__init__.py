"""Learn the state correspondence between two RL tasks and move an agent's knowledge across it.

The method is that of Ruman & Guy, "Learning State Correspondence of Reinforcement Learning Tasks
for Knowledge Transfer" (arXiv 2209.06604). ``docs/paper_map.md`` maps its equations to functions.

From Python: :func:`init_project` and :func:`open_project` (docs/api.md). What needs torch is
imported when it is first asked for, so that ``import corrtool`` and ``corrtool --help`` stay fast.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corrtool.api import (
        OpenedProject,
        init_project,
        load_correspondence,
        load_q_function,
        open_project,
        pull,
    )
    from corrtool.correspondence.model import Correspondence
    from corrtool.errors import CorrtoolError

try:
    from corrtool._version import VERSION as __version__
except ImportError:  # a source tree that nothing was built from, as on PYTHONPATH
    __version__ = "0+unknown"

__all__ = [
    "Correspondence",
    "CorrtoolError",
    "OpenedProject",
    "__version__",
    "init_project",
    "load_correspondence",
    "load_q_function",
    "open_project",
    "pull",
]

_PLACES = {
    "Correspondence": "corrtool.correspondence.model",
    "CorrtoolError": "corrtool.errors",
    "OpenedProject": "corrtool.api",
}  # the others are functions of corrtool.api


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    return globals().setdefault(name, _imported_when_called(name))


def _imported_when_called(name: str) -> Callable[..., Any]:
    """Return a function of :mod:`corrtool.api`, whose torch is imported by the first call."""

    def function(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module("corrtool.api"), name)(*arguments, **named)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"See :func:`corrtool.api.{name}`."
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
