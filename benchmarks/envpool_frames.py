"""`python -m benchmarks.envpool_frames`: whether envpool shows what ale-py's emulator shows.

One lane of each, the same actions, no sticky ones, one no-op at most. It would have to, for
`collect` to take it in ale-py's place: an agent and its memories are of one emulator.
"""

from __future__ import annotations

from typing import Any

import ale_py
import envpool
import numpy as np
from ale_py.vector_env import AtariVectorEnv

STEPS = 400
GAMES = {"pong": "Pong-v5", "breakout": "Breakout-v5", "freeway": "Freeway-v5"}


def main() -> None:
    print(f"envpool {envpool.__version__}, ale-py {ale_py.__version__}")
    for game, theirs in GAMES.items():
        for by_area in (True, False):
            same, most = compare(game, theirs, by_area=by_area)
            resizing = "by area" if by_area else "bilinear"
            print(f"{game:9} {resizing:9} {sum(same)} of {len(same)} frames equal, by up to {most}")


def compare(game: str, theirs: str, *, by_area: bool) -> tuple[list[bool], int]:
    """Which frames are equal, until a game ends, and the greatest difference of a pixel."""
    same_settings: dict[str, Any] = {
        "num_envs": 1,
        "stack_num": 1,
        "noop_max": 1,
        "use_fire_reset": False,
    }
    ours = AtariVectorEnv(game, repeat_action_probability=0.0, **same_settings)
    peer = envpool.make(
        theirs,
        env_type="gymnasium",
        seed=0,
        repeat_action_probability=0.0,
        use_inter_area_resize=by_area,
        **same_settings,
    )
    random, same, most = np.random.default_rng(0), [], 0
    frame, _ = ours.reset(seed=np.array([0]))
    other, _ = peer.reset()
    over = False
    while not over:
        same.append(bool((frame == other).all()))
        most = max(most, int(np.abs(frame.astype(int) - other).max()))
        action = random.integers(0, peer.action_space.n, 1)
        frame, _, ended, _, _ = ours.step(action)
        other, _, also_ended, _, _ = peer.step(action.astype(np.int32))
        over = bool(ended[0] or also_ended[0]) or len(same) > STEPS
    return same, most


if __name__ == "__main__":
    main()
