"""The search for a start where tones and the map of the actions are open as well."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.falling_ball import LargeBallFalls, ball_falls_turned

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.spatial_starts import candidate_starts
from corrtool.correspondence.start_search import (
    ANGLE_STARTS,
    StartSearch,
)
from corrtool.correspondence.tones import ChannelFeatures, Tone, candidate_tones
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


class Colours(torch.nn.Module):
    """An exact environment model of 2 channels: red falls, green is moved by the action.

    By more to the right than to the left, or the mirror image would be as good.
    """

    actions = 3

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        moved = [
            torch.roll(state[1], (0, -4, 8)[int(action)], dims=1)
            for state, action in zip(states, actions, strict=True)
        ]
        return torch.stack([torch.roll(states[:, 0], 8, dims=1), torch.stack(moved)], dim=1)


def colours_seen(
    degrees: int, inverted: bool, channels: tuple[int, ...], source_of: tuple[int, ...]
) -> ReplayMemory:
    """A memory of that game, of 300 records: turned, inverted, exchanged, with other actions."""
    spec, random = StateSpec("image", (2, 84, 84), 1), np.random.default_rng(0)
    records, bar = 300, 40
    frames = torch.zeros(records, 2, 84, 84, dtype=torch.uint8)
    actions, times = random.integers(3, size=records), np.arange(records) % 4
    for row, time in enumerate(times):
        bar = 40 if time == 0 else bar + (0, -4, 8)[source_of[actions[row - 1]]]
        frames[row, 0, 16 + 8 * time : 28 + 8 * time, 24:40] = 255
        frames[row, 0, 16 + 8 * time : 22 + 8 * time, 40:52] = 128
        frames[row, 1, 70:76, bar : bar + 10] = 255
    frames = torch.rot90(frames, degrees // 90, (2, 3))[:, list(channels)]
    fields: dict[str, np.ndarray] = {
        name: np.zeros(records, dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:], fields["episode_steps"][:] = times < 3, times
    fields["actions"][:] = actions
    shown = (255 - frames if inverted else frames).contiguous().numpy()
    return ReplayMemory.from_rows(MemoryRows(spec, 1, shown, fields), torch.device("cpu"))


@pytest.mark.parametrize("kind", ["affine", "affine-resnet"])
def test_turned_inverted_and_exchanged_with_other_actions(kind: str) -> None:
    source_of = (1, 2, 0)
    source = colours_seen(0, False, (0, 1), (0, 1, 2))
    target = colours_seen(90, True, (1, 0), source_of)
    random = np.random.default_rng(0)
    tones = candidate_tones(
        ChannelFeatures.of_memory(source, random), ChannelFeatures.of_memory(target, random)
    )
    scaling = StateScaling(source.spec)
    correspondence = Correspondence(
        scaling,
        StateScaling(source.spec),
        GeneratorDescription(kind, filters=2, blocks=1, framewise=True, tone="before"),
        ActionMap.unknown(3, 3),
    )
    advanced: list[int] = []
    search = StartSearch(
        correspondence, ScaledModel(Colours(), scaling), target,
        candidate_starts(correspondence, 0.0, 8), np.random.default_rng(0), advanced.append,
        tones=tuple(tones), find_actions=True,
    )  # fmt: skip
    start, compared = search.run()
    assert str(start) == (
        "-90.0°, channels 1,0, inverted, target actions are [1, 2, 0] of the source"
    )
    assert sum(advanced) == search.length
    assert compared["start_action_map"] == [1, 2, 0]
    assert len(compared["model_losses"]) == len(search.starts)  # all other tones are far off
    assert compared["start_tone"]["channels"] == [1, 0]
    assert len(compared["tones"]) == len(compared["tone_model_losses"]) == len(tones)
    assert correspondence.action_map == ActionMap(source_of, 3)

    seen, rows = scaling.raw_to_model(target.states(np.arange(4))), np.arange(4)
    translated = correspondence.target_to_source(seen)
    assert torch.allclose(translated[:, 0], scaling.raw_to_model(source.states(rows))[:, 0],
                          atol=1e-4)  # fmt: skip
    assert torch.allclose(correspondence.source_to_target(translated), seen, atol=1e-3)


def test_turned_and_inverted_is_found_with_the_actions_as_they_are() -> None:
    target = ball_falls_turned(94.0, 200, scaling := StateScaling(StateSpec("image", (1, 84, 84))))
    inverted = ReplayMemory.from_rows(
        replace(target.newest_records(200), frames=255 - target.newest_records(200).frames),
        torch.device("cpu"),
    )
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine", tone="before")
    )
    search = StartSearch(
        correspondence, ScaledModel(LargeBallFalls(), scaling), inverted,
        candidate_starts(correspondence, 0.0, ANGLE_STARTS), np.random.default_rng(0),
        tones=(Tone.plain((0,)), Tone.plain((0,), -1.0)),
    )  # fmt: skip
    start, compared = search.run()
    assert start.tone == Tone.plain((0,), -1.0) and start.action_map is None
    assert abs(start.degrees) == pytest.approx(94, abs=1.5)  # what falls mirrored falls too
    assert len(compared["model_losses"]) == 2 * len(search.starts)  # both are near
    assert correspondence.action_map is None


def test_the_length_of_a_search_of_tones() -> None:
    target = ball_falls_turned(0.0, 32, scaling := StateScaling(StateSpec("image", (1, 84, 84))))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine", tone="before")
    )
    tones = tuple(Tone.plain((0,), gain) for gain in (1.0, -1.0, 0.5))
    for count, tried, length in (
        (1, 1, 16 + 24),
        (2, 1, 2 * 24 + 2 * 16 + 2 * 24),
        (3, 1, 3 * 24 + 2 * 16 + 2 * 24),
        (3, 20, 3 * 8 * 24 + 2 * 40 * 16 + 8 * 24 + 6 * 24),
    ):
        search = StartSearch(
            correspondence, ScaledModel(LargeBallFalls(), scaling), target,
            candidate_starts(correspondence, 0.0, tried), np.random.default_rng(0),
            tones=tones[:count],
        )  # fmt: skip
        assert search.length == length
        advanced: list[int] = []
        replace(search, advance=advanced.append).run()
        assert sum(advanced) == length
