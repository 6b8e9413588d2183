"""A task: a Gymnasium environment, its preprocessing, and the views through which it is seen."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.settings.preprocessing import Preprocessing
from corrtool.tasks.views import View, parse_view


class TaskDescription(TypedDict):
    """A task in manifests and records of runs, where its role is the key."""

    id: str
    kwargs: dict[str, Any]
    preprocessing: dict[str, Any]
    views: list[str]


@dataclass(frozen=True)
class Task:
    """An environment id with keyword arguments, preprocessing and views.

    Attributes:
        role: ``"source"`` or ``"target"``, its section in ``corrtool.toml``.
        id: any registered Gymnasium id, or ``module:Id``, which imports ``module``.
        kwargs: keyword arguments of ``gymnasium.make``.
        preprocessing: see :class:`Preprocessing`.
        view_texts: the views as written, applied in order.
        views: the views themselves.
    """

    role: str
    id: str
    is_atari: bool
    kwargs: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    view_texts: tuple[str, ...] = ()
    views: tuple[View, ...] = ()

    def to_json(self) -> TaskDescription:
        """The task without its role: two tasks are the same if this is equal."""
        return {
            "id": self.id,
            "kwargs": self.kwargs,
            "preprocessing": self.preprocessing.to_json(self.is_atari),
            "views": [view.identity() for view in self.views],
        }

    @functools.cached_property
    def sha256(self) -> str:
        """Identify the task in manifests."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def shows_signal(self) -> bool:
        """True if its observations are signals; of an Atari game the only key is its sound."""
        p = self.preprocessing
        return p.signal or (self.is_atari and p.observation_key is not None)

    @property
    def runs_by_itself(self) -> bool:
        """True if its emulators step in threads of ale-py, while Python does something else."""
        return self.is_atari and not self.kwargs and not self.shows_signal

    def environment_actions(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The environment's actions (N,) for those that an agent of the task chose.

        The last view is the nearest to the agent, so what it chose goes through them backwards.
        """
        for view in reversed(self.views):
            actions = view.environment_actions(actions)
        return actions

    def with_full_games(self) -> Task:
        """The same task with games that end when they are over.

        Learning may end them at a lost life, what is reported must not.
        """
        return self._with_preprocessing(terminal_on_life_loss=False)

    def with_sticky_actions(self, probability: float) -> Task:
        """The same task with sticky actions.

        Each step repeats the last action with this probability (Machado et al. 2018).
        """
        kwargs = dict(self.kwargs)
        kwargs.pop("repeat_action_probability", None)  # Atari's own would come first
        return dataclasses.replace(self, kwargs=kwargs)._with_preprocessing(
            repeat_action_probability=probability
        )

    def is_compatible_with(self, sha256: Any, description: Any) -> bool:
        """True if an artifact was made on this task, or on one that differs only in sticky actions.

        States and actions are the same then, and an agent that was trained with them plays without.

        Args:
            sha256, description: the :attr:`sha256` and :meth:`to_json` of the artifact's task, as
                its manifest has them.
        """
        if sha256 == self.sha256:
            return True
        return isinstance(description, dict) and _without_sticky_actions(
            description
        ) == _without_sticky_actions(self.to_json())

    def _with_preprocessing(self, **values: Any) -> Task:
        return dataclasses.replace(
            self, preprocessing=dataclasses.replace(self.preprocessing, **values)
        )

    def __str__(self) -> str:
        return " ".join([self.id, *self.view_texts])


def _without_sticky_actions(description: Mapping[str, Any]) -> dict[str, Any]:
    """:meth:`Task.to_json` without sticky actions."""
    tables = {name: description.get(name) for name in ("kwargs", "preprocessing")}
    return dict(description) | {
        name: {key: value for key, value in table.items() if key != "repeat_action_probability"}
        for name, table in tables.items()
        if isinstance(table, dict)
    }


def parse_task(role: str, table: dict[str, Any], directory: Path) -> Task:
    """A task from its table in ``corrtool.toml``: ``id``, ``kwargs``, ``views``, ``preprocessing``.

    Raises:
        UsageError: the environment is unknown, or a part of the table cannot be understood.
    """
    from corrtool.tasks.making import is_atari

    unknown = set(table) - {"id", "kwargs", "views", "preprocessing"}
    if unknown:
        raise UsageError(
            f"[{role}] has no setting {sorted(unknown)[0]!r}",
            "it knows id, kwargs, views and preprocessing",
        )
    identifier, kwargs = table.get("id"), table.get("kwargs", {})
    views, preprocessing = table.get("views", []), table.get("preprocessing", {})
    if not isinstance(identifier, str) or not identifier:
        raise UsageError(
            f"[{role}] needs the id of an environment", f'write id = "ALE/Pong-v5" under [{role}]'
        )
    if not isinstance(kwargs, dict) or not isinstance(preprocessing, dict):
        raise UsageError(f"[{role}.kwargs] and [{role}.preprocessing] must be tables")
    try:
        json.dumps(kwargs)
    except (TypeError, ValueError):
        raise UsageError(
            f"[{role}.kwargs] holds a date or a time", "write it as a text, in quotes"
        ) from None
    if not isinstance(views, list) or not all(isinstance(view, str) for view in views):
        raise UsageError(f"[{role}] views must be a list of texts", 'write views = ["rotate:90"]')
    atari = is_atari(identifier)
    return Task(
        role=role,
        id=identifier,
        is_atari=atari,
        kwargs=kwargs,
        preprocessing=Preprocessing.for_environment(atari, preprocessing),
        view_texts=tuple(views),
        views=tuple(parse_view(view, directory) for view in views),
    )
