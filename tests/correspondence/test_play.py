"""Translating the states of games as they go on, against translating each state as a whole."""

import numpy as np
import pytest
import torch

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play import PlayTranslator
from corrtool.memory import StateStacker
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 20, 20), 3)


class Counting(torch.nn.Module):
    """A count of the pictures that a network gets."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.pictures = network, 0

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.pictures += len(pictures)
        translated: torch.Tensor = self.network(pictures)
        return translated


@pytest.mark.parametrize("framewise", [False, True])
def test_play_is_translated_as_each_state_is(framewise: bool) -> None:
    description = GeneratorDescription(
        "resnet", filters=4, blocks=1, skips=True, framewise=framewise
    )
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description).eval()
    if framewise:
        generator = correspondence.target_to_source
        generator.frame_generator = counting = Counting(generator.get_submodule("frame_generator"))
    translate, stacker = PlayTranslator(correspondence), StateStacker(SPEC, 2, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    games = torch.randint(0, 256, (8, 2, 1, 20, 20), dtype=torch.uint8, generator=random).numpy()
    episode_steps = torch.tensor(
        [[step, step if step < 5 else step - 5] for step in range(8)]
    ).numpy()  # a new game at 5
    states = [stacker.push(games[0])] + [
        stacker.push(frames, steps)
        for frames, steps in zip(games[1:], episode_steps[1:], strict=True)
    ]
    with torch.inference_mode():
        played = [translate(state) for state in states]
        pictures = counting.pictures if framewise else None
        for state, translated in zip(states, played, strict=True):
            torch.testing.assert_close(
                translated, correspondence.translate(state), atol=1e-5, rtol=1e-5
            )
        first_of_others = PlayTranslator(correspondence)(states[0][:1])  # another number of games
    torch.testing.assert_close(first_of_others, played[0][:1], atol=1e-5, rtol=1e-5)
    # whole states (3 frames of 2 games) at first, and of the game that begins; otherwise the newest
    # frame of each
    assert pictures in (None, 2 * 3 + 6 * 2 + 1 * (1 + 3))


def test_games_that_are_over_are_not_translated() -> None:
    description = GeneratorDescription("resnet", filters=4, blocks=1, skips=True, framewise=True)
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description).eval()
    generator = correspondence.target_to_source
    generator.frame_generator = counting = Counting(generator.get_submodule("frame_generator"))
    translate, stacker = PlayTranslator(correspondence), StateStacker(SPEC, 3, torch.device("cpu"))
    frames = torch.randint(
        0, 256, (6, 3, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    going_on = [[0, 1, 2], [0, 1, 2], [0, 2], [0, 2], [2], [2]]
    with torch.inference_mode():
        for step, games in enumerate(going_on):
            states = stacker.push(frames[step].numpy(), np.full(3, step))[games]
            counting.pictures = 0
            played = translate(states, np.array(games))
            assert counting.pictures == (9 if step == 0 else len(games))
            torch.testing.assert_close(
                played, correspondence.translate(states), atol=1e-5, rtol=1e-5
            )


def test_more_games_than_before_are_translated_anew() -> None:
    description = GeneratorDescription("resnet", filters=4, blocks=1, skips=True, framewise=True)
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description).eval()
    states = torch.randint(
        0, 256, (3, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    translate = PlayTranslator(correspondence)
    with torch.inference_mode():
        for count in (1, 3, 2, 2):
            torch.testing.assert_close(
                translate(states[:count]),
                correspondence.translate(states[:count]),
                atol=1e-5,
                rtol=1e-5,
            )
