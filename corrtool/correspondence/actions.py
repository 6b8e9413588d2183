"""The action part of a correspondence: which source action each target action is.

The printed (13) lets actions pass unchanged, ``C(s_T, a_T) = (G_T(s_T), a_T)``, which takes tasks
with the same actions in the same order. Here it is ``C(s_T, a_T) = (G_T(s_T), m(a_T))``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrtool.errors import UsageError
from corrtool.files.atomic import regular_file

IDENTITY = "identity"
LEARNED = "learned"
AUTO = "auto"


@dataclass(frozen=True)
class ActionMap:
    """The map m of eq. (13) from target actions to source actions, both counted from 0.

    Several target actions may be one source action, and some source actions none, so the tasks may
    have different numbers of them.

    Attributes:
        source_of: of each of the A_T target actions the source action.
        source_count: A_S, how many actions the source has.

    Raises:
        ValueError: an action is not a whole number, or none of the source's.
    """

    source_of: tuple[int, ...]
    source_count: int

    def __post_init__(self) -> None:
        for action in self.source_of:
            if type(action) is not int:
                raise ValueError(f"{action!r} is not a whole number")
            if not 0 <= action < self.source_count:
                raise ValueError(
                    f"action {action} is none of the source's, which are 0 to "
                    f"{self.source_count - 1}"
                )

    @classmethod
    def identity(cls, count: int) -> ActionMap:
        """The printed map, of two tasks with ``count`` actions each."""
        return cls(tuple(range(count)), count)

    @classmethod
    def unknown(cls, source_count: int, target_count: int) -> ActionMap:
        """Where learning a map begins: actions in their order, again from 0 after the last."""
        return cls(tuple(k % source_count for k in range(target_count)), source_count)

    @classmethod
    def parse(cls, text: str, source_count: int, target_count: int) -> ActionMap:
        """The map of a setting: a JSON list such as ``[2, 0, 1, 1]``, or a file with one.

        Raises:
            UsageError: the file cannot be read, or the list does not fit these numbers of actions.
        """
        is_list = text.lstrip().startswith("[")
        what = "the action map" if is_list else text
        listed = _json(text if is_list else _read(Path(text)), what)
        try:
            action_map = cls(tuple(listed), source_count)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{what}: {error}", _hint(target_count)) from None
        if action_map.target_count != target_count:
            raise UsageError(
                f"{what} has {action_map.target_count} actions, and the target {target_count}",
                _hint(target_count),
            )
        return action_map

    @property
    def target_count(self) -> int:
        """A_T, how many actions the target has."""
        return len(self.source_of)

    @property
    def is_identity(self) -> bool:
        """True if every action is itself, and the source has no others."""
        return self.target_count == self.source_count and all(
            source == target for target, source in enumerate(self.source_of)
        )  # a hostile manifest may have any source_count

    def exchanged(self, a: int, b: int) -> ActionMap:
        """The map in which the target actions ``a`` and ``b`` are each other's."""
        return self.with_source(a, self.source_of[b]).with_source(b, self.source_of[a])

    def with_source(self, target: int, source: int) -> ActionMap:
        """The map in which a ``target`` action is another ``source`` action."""
        changed = list(self.source_of)
        changed[target] = source
        return ActionMap(tuple(changed), self.source_count)

    def to_setting(self) -> str:
        """The map as a setting says it, whatever file it is from."""
        return IDENTITY if self.is_identity else json.dumps(list(self.source_of))

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {"source_of": list(self.source_of), "source_count": self.source_count}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ActionMap:
        """The inverse of :meth:`to_json`.

        Raises KeyError, TypeError or ValueError where it is none.
        """
        if type(value["source_count"]) is not int:
            raise TypeError("the number of an action map's source actions is no whole number")
        return cls(tuple(value["source_of"]), value["source_count"])


def _read(path: Path) -> str:
    try:
        return regular_file(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"--action-map cannot read {path}: {error.strerror or error}",
            "give 'identity', or a file with a JSON list",
        ) from None
    except ValueError:  # not UTF-8, or a zero in its name
        raise UsageError(f"--action-map cannot read {str(path)!a}", "give a JSON file") from None


def _json(text: str, what: str) -> list[Any]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise UsageError(f"{what} is no JSON list", "write source actions into it: [2, 0, 1, 1]")
    return listed


def _hint(target_count: int) -> str:
    return f"list {target_count} source actions, one for each target action"
