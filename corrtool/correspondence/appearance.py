"""What goes with any start beside its place: a tone and a map of the actions, kept and told."""

from __future__ import annotations

from typing import Any

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.tones import Tone


def appearance_state(tone: Tone | None, action_map: ActionMap | None) -> dict[str, Any]:
    """As a run keeps them until it has a checkpoint."""
    return {
        "tone": None if tone is None else tone.to_json(),
        "action_map": None if action_map is None else action_map.to_json(),
    }


def appearance_from_state(state: dict[str, Any]) -> tuple[Tone | None, ActionMap | None]:
    """The inverse of :func:`appearance_state`.

    Raises KeyError, TypeError or ValueError where it is none.
    """
    tone, action_map = state["tone"], state["action_map"]
    return (
        None if tone is None else Tone.from_json(tone),
        None if action_map is None else ActionMap.from_json(action_map),
    )


def appearance_words(tone: Tone | None, action_map: ActionMap | None) -> list[str]:
    """What is unusual about them, for people."""
    words = [] if tone is None or not str(tone) else [str(tone)]
    if action_map is not None and not action_map.is_identity:
        words.append(f"target actions are {list(action_map.source_of)} of the source")
    return words


def same_map(one: ActionMap | None, other: ActionMap | None) -> bool:
    """True if two starts have the same map of the actions; none is the identity."""
    maps = [None if m is None or m.is_identity else m for m in (one, other)]
    return maps[0] == maps[1]
