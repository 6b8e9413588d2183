"""Preprocessing of observations: flags of ``init``, and the table ``preprocessing`` of a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_type_hints

from corrtool.errors import UsageError
from corrtool.settings.base import checked, setting

ATARI_SOUND = "sound"  # the key of ale-py's dictionary


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of observations into frames and states, and the length of a game.

    Every value is recorded with the task.

    The Atari values are those of the DQN papers, Mnih et al. 2013 [23] and 2015; other environments
    do not know all of them.
    """

    frame_skip: int = setting(4, "frames that each action lasts", minimum=1, maximum=1_000)
    max_pool: bool = setting(True, "show the maximum of the last two frames")
    noop_max: int = setting(30, "no-ops at an episode's start, at most", minimum=0, maximum=10_000)
    repeat_action_probability: float = setting(
        0.0,
        "sticky actions: each step repeats the last action with this probability; for every task",
        minimum=0,
        maximum=1,
    )
    fire_reset: bool = setting(False, "press FIRE at an episode's start")
    terminal_on_life_loss: bool = setting(False, "a lost life ends the episode")
    full_action_space: bool = setting(False, "all 18 actions")
    max_episode_frames: int = setting(
        108_000, "frames after which an episode is cut off", minimum=1, maximum=10**8
    )
    max_episode_steps: int | None = setting(
        None, "steps after which an episode is cut off; for every task", minimum=1, maximum=10**8
    )
    screen_size: int | None = setting(84, "height and width of a frame", minimum=16, maximum=4_096)
    channels_axis: Literal["first", "last"] | None = setting(
        None, "where pictures have their channels, if that is not their shortest axis"
    )
    observation_key: str | None = setting(
        None,
        "which part of a dictionary of observations is shown; of Atari games sound, which takes "
        "the place of their pictures",
    )
    signal: bool = setting(
        False, "observations are signals, samples in time of one or several channels, as of a sound"
    )
    time_axis: Literal["first", "last"] | None = setting(
        None, "where signals have their samples, if that is not their longer axis"
    )
    grayscale: bool = setting(True, "grey frames")
    stack: int = setting(4, "frames that make a state", minimum=1, maximum=64)

    ATARI_ONLY: ClassVar[tuple[str, ...]] = (
        "frame_skip",
        "max_pool",
        "noop_max",
        "fire_reset",
        "terminal_on_life_loss",
        "full_action_space",
        "max_episode_frames",
    )
    ADDED_LATER: ClassVar[tuple[str, ...]] = (  # what older tasks did not say was as by default
        "repeat_action_probability",
        "max_episode_steps",
        "channels_axis",
        "observation_key",
        "signal",
        "time_axis",
    )

    @classmethod
    def for_environment(cls, is_atari: bool, given: dict[str, Any]) -> Preprocessing:
        """The defaults for an Atari game or for any other environment, with what is given.

        Raises:
            UsageError: an unknown name, a value that makes no sense, or an Atari setting for
                another environment.
        """
        fields, hints = {f.name: f for f in dataclasses.fields(cls)}, get_type_hints(cls)
        for name, value in given.items():
            if name not in fields:
                raise UsageError(
                    f"unknown preprocessing setting {name!r}", f"choose from {', '.join(fields)}"
                )
            if not is_atari and name in cls.ATARI_ONLY:
                raise UsageError(
                    f"preprocessing {name} is for Atari games only",
                    "leave it out for this environment",
                )
            if is_atari and name in ("channels_axis", "time_axis") and value is not None:
                raise UsageError(f"preprocessing {name} is not for Atari games", "leave it out")
            checked(
                fields[name], hints[name], value, f"preprocessing {name}"
            )  # kept as written: 0 and 0.0 are two tasks
        _check_signal(is_atari, given)
        if is_atari:
            return cls(**given)
        return cls(**({"screen_size": None, "grayscale": False, "stack": 1} | given))

    def to_json(self, is_atari: bool) -> dict[str, Any]:
        """The values that apply to the environment."""
        values = dataclasses.asdict(self)
        usual = {f.name: f.default for f in dataclasses.fields(self)}
        later = self.ADDED_LATER[1:] if is_atari else self.ADDED_LATER
        values = {k: v for k, v in values.items() if k not in later or v != usual[k]}
        return values if is_atari else {k: v for k, v in values.items() if k not in self.ATARI_ONLY}


def _check_signal(is_atari: bool, given: dict[str, Any]) -> None:
    """Refuse what contradicts itself about signals. Raises :class:`UsageError`."""
    if is_atari and given.get("observation_key") not in (None, ATARI_SOUND):
        raise UsageError(
            f"preprocessing observation_key of Atari games is {ATARI_SOUND!r}, or left out",
            "without it they show pictures",
        )
    if is_atari and given.get("signal"):
        raise UsageError(
            "preprocessing signal is not for Atari games",
            f"give --observation-key {ATARI_SOUND} to hear one",
        )
    if given.get("time_axis") is not None and not given.get("signal"):
        raise UsageError("preprocessing time_axis is for signals only", "give --signal as well")
