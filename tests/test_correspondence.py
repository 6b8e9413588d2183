"""Translating the states of games as they go on, against translating each state as a whole."""

import pytest
import torch

from corrtool.correspondence import Correspondence, PlayTranslator
from corrtool.memory import StateStacker
from corrtool.states import StateScaling, StateSpec

SPEC = StateSpec("image", (1, 20, 20), 3)


class Counting(torch.nn.Module):
    """Counts the pictures that a network gets."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.pictures = network, 0

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.pictures += len(pictures)
        return self.network(pictures)


@pytest.mark.parametrize("framewise", [False, True])
def test_play_is_translated_as_each_state_is(framewise: bool) -> None:
    description = {"kind": "resnet", "filters": 4, "blocks": 1, "skips": True, "framewise": framewise}
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description).eval()
    if framewise:
        generator = correspondence.target_to_source
        generator.frame_generator = Counting(generator.frame_generator)
    translate, stacker = PlayTranslator(correspondence), StateStacker(SPEC, 2, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    games = torch.randint(0, 256, (8, 2, 1, 20, 20), dtype=torch.uint8, generator=random).numpy()
    episode_steps = torch.tensor(
        [[step, step if step < 5 else step - 5] for step in range(8)]
    ).numpy()  # a new game at 5
    states = [stacker.push(games[0])] + [
        stacker.push(frames, steps) for frames, steps in zip(games[1:], episode_steps[1:], strict=True)
    ]
    with torch.inference_mode():
        played = [translate(state) for state in states]
        pictures = generator.frame_generator.pictures if framewise else None
        for state, translated in zip(states, played, strict=True):
            torch.testing.assert_close(translated, correspondence.translate(state), atol=1e-5, rtol=1e-5)
        first_of_others = PlayTranslator(correspondence)(states[0][:1])  # another number of games
    torch.testing.assert_close(first_of_others, played[0][:1], atol=1e-5, rtol=1e-5)
    # whole states (3 frames of 2 games) at first and where a game begins, otherwise the newest frame of each
    assert pictures in (None, 2 * 6 + 6 * 2)
