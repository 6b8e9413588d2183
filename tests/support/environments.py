"""Environments of the tests, under names of Gymnasium's."""

from collections.abc import Callable
from typing import Any

import gymnasium


def register(name: str, environment: Callable[..., gymnasium.Env[Any, Any]], **more: Any) -> None:
    """Register an environment; Gymnasium's own types ask for one that takes any argument."""
    entry_point: Any = environment
    gymnasium.register(name, entry_point, **more)
