"""Observations that are signals: how they are recognised, scaled and seen through views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hearing import HEARING

from corrtool.errors import UsageError
from corrtool.settings.preprocessing import Preprocessing
from corrtool.states import SIGNAL, StateSpec
from corrtool.tasks import Lanes, parse_task
from corrtool.tasks.atari import SoundOfSteps
from corrtool.tasks.observations import as_frames
from corrtool.tasks.signals import looks_like_signal, signal_layout
from corrtool.tasks.views import parse_view

STEREO = StateSpec(SIGNAL, (2, 40))
PONG_SOUND = {"id": "ALE/Pong-v5", "preprocessing": {"observation_key": "sound"}}


def box(*shape: int, low: float = -1, high: float = 1, dtype: str = "float32") -> spaces.Box:
    return spaces.Box(low, high, shape, np.dtype(dtype).type)


class TestLayout:
    @pytest.mark.parametrize(
        ("space", "said", "shape"),
        [
            (box(64), None, (1, 64)),
            (box(2, 64), None, (2, 64)),
            (box(64, 2), None, (2, 64)),
            (box(64, 64), "last", (64, 64)),
            (box(40, 64), "first", (64, 40)),
        ],
    )
    def test_time_is_the_longer_axis_or_what_is_said(
        self, space: spaces.Box, said: str | None, shape: tuple[int, int]
    ) -> None:
        layout = signal_layout(space, said)
        assert layout.to_floats(np.zeros(space.shape)).shape == shape

    @pytest.mark.parametrize(
        ("space", "match"),
        [(box(64, 64), "time cannot"), (box(2, 31), "too short"), (box(2, 9, 40), "no signal")],
    )
    def test_what_is_unclear_or_no_signal_is_refused(self, space: spaces.Box, match: str) -> None:
        with pytest.raises(UsageError, match=match):
            signal_layout(space)

    @pytest.mark.parametrize(
        ("space", "value", "expected"),
        [
            (box(64, low=0, high=255, dtype="uint8"), [0, 128, 192], [-1, 0, 0.5]),
            (box(64, low=-32768, high=32767, dtype="int16"), [-32768, 0, 16384], [-1, 0, 0.5]),
            (box(64, low=-5, high=5), [-5, 0, 2.5], [-1, 0, 0.5]),
            (box(64, low=0, high=1), [0, 0.5, 1], [-1, 0, 1]),
            (box(64, low=-np.inf, high=np.inf), [-7, 0, 3], [-7, 0, 3]),
        ],
    )
    def test_full_scale_is_from_minus_one_to_one(
        self, space: spaces.Box, value: list[float], expected: list[float]
    ) -> None:
        signal = np.resize(np.array(value, space.dtype), 64)
        floats = signal_layout(space).to_floats(signal)
        assert floats.dtype == np.float32
        assert floats[0, :3].tolist() == expected


def test_what_looks_like_a_signal_is_only_told_of() -> None:
    assert looks_like_signal((2, 64)) and looks_like_signal((32, 8))
    assert not any(looks_like_signal(shape) for shape in ((64,), (9, 64), (2, 31), (2, 9, 64)))
    env = gymnasium.make(HEARING)
    _, notes = as_frames(env, HEARING, Preprocessing.for_environment(False, {}))
    assert notes == [
        "a box of the shape (2, 128) is taken as 256 numbers; if these are samples in time, give "
        "--signal"
    ]


class Dictionary(gymnasium.Env[Any, Any]):
    observation_space = spaces.Dict(ear=box(2, 64), eye=box(9, 9, low=0, high=255, dtype="uint8"))
    action_space = spaces.Discrete(2)

    def reset(self, **more: Any) -> Any:
        return self.observation_space.sample(), {}


def shown(**preprocessing: Any) -> spaces.Space[Any]:
    wanted = Preprocessing.for_environment(False, preprocessing)
    return as_frames(Dictionary(), "Dictionary", wanted)[0].observation_space


def test_a_key_chooses_a_part_of_a_dictionary() -> None:
    assert shown(observation_key="ear", signal=True).shape == (2, 64)
    assert shown(observation_key="ear").shape == (128,)  # as numbers
    assert shown(observation_key="eye").shape == (9, 9, 1)  # a picture
    assert shown().shape == (2 * 64 + 81,)
    (note,) = as_frames(Dictionary(), "Dictionary", Preprocessing.for_environment(False, {}))[1]
    assert note.endswith("--observation-key shows one part alone, such as ear or eye")
    with pytest.raises(UsageError, match="no 'nose'"):
        shown(observation_key="nose")
    with pytest.raises(UsageError, match="no signal") as raised:
        shown(signal=True)
    assert raised.value.hint == "give --observation-key with one of ear, eye"


@pytest.mark.parametrize(
    ("is_atari", "given"),
    [
        (False, {"time_axis": "first"}),
        (True, {"time_axis": "first"}),
        (True, {"signal": True}),
        (True, {"observation_key": "image"}),
    ],
)
def test_what_says_nothing_about_the_task_is_refused(is_atari: bool, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Preprocessing.for_environment(is_atari, given)


def test_a_task_without_them_is_described_as_before_there_were_signals() -> None:
    for is_atari in (True, False):
        described = Preprocessing.for_environment(is_atari, {}).to_json(is_atari)
        assert not {"signal", "observation_key", "time_axis"} & described.keys()


def test_pong_is_heard_frame_after_frame() -> None:
    """At rest ale-py's bytes are 128, which is silence; 512 of them come with each frame."""
    task = parse_task("source", PONG_SOUND, Path())
    with Lanes(task, 1) as lanes:
        assert lanes.spec == StateSpec(SIGNAL, (1, 4 * 512), 4)
        assert lanes.frames_per_step == 4
        assert (lanes.reset([0]) == 0).all()
        heard = [lanes.step(np.array([step % 6])).frames for step in range(80)]
    signals = np.concatenate(heard)
    assert signals.dtype == np.float32 and np.abs(signals).max() <= 1
    loud = (signals != 0).any(axis=(1, 2))
    assert 0 < loud.sum() < len(loud)  # the ball hits something now and then


class Beeping(gymnasium.Env[Any, Any]):
    """Four samples a frame, all of them its number; a life is lost at frame 6, the last at 9."""

    observation_space = spaces.Dict(sound=box(4, low=0, high=255, dtype="uint8"))
    action_space = spaces.Discrete(1)

    def reset(self, **more: Any) -> Any:
        self.frame, self.ale = 0, self
        return self.see(), {}

    def see(self) -> dict[str, np.ndarray]:
        return {"sound": np.full(4, self.frame, np.uint8)}

    def lives(self) -> int:
        return 3 - (self.frame >= 6)

    def step(self, action: int) -> Any:
        self.frame += 1
        return self.see(), 1.0, self.frame == 9, False, {}


@pytest.mark.parametrize("life_ends", [False, True])
def test_a_step_is_heard_whole_and_silent_where_the_game_is_over(life_ends: bool) -> None:
    env = SoundOfSteps(Beeping(), 4, life_ends)
    assert env.observation_space == box(16, low=0, high=255, dtype="uint8")
    assert env.reset()[0][::4].tolist() == [128, 128, 128, 0]
    heard, rewards, ended = [], [], []
    for _ in range(2 if life_ends else 3):
        sound, reward, terminated, truncated, _ = env.step(0)
        assert sound.shape == (16,) and not truncated
        heard.append(sound[::4].tolist())
        rewards.append(reward)
        ended.append(terminated)
    if life_ends:
        assert heard == [[1, 2, 3, 4], [5, 6, 128, 128]]
        assert (rewards, ended) == ([4, 2], [False, True])
    else:
        assert heard == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 128, 128, 128]]
        assert (rewards, ended) == ([4, 4, 1], [False, False, True])


def test_sound_without_a_key_is_refused() -> None:
    task = parse_task("source", {"id": "ALE/Pong-v5", "kwargs": {"sound_obs": True}}, Path())
    with pytest.raises(UsageError, match="shows a dictionary"):
        Lanes(task, 1)


def test_lanes_show_signals_through_views() -> None:
    table = {
        "id": HEARING,
        "preprocessing": {"signal": True, "stack": 2},
        "views": ["channels:1,0", "gain:2", "delay:3"],
    }
    plain = {**table, "views": []}
    seen = []
    for of in (plain, table):
        with Lanes(parse_task("source", of, Path()), 2) as lanes:
            assert lanes.spec == StateSpec(SIGNAL, (2, 128), 2)
            seen.append(lanes.reset([3, 4]))
    expected = np.zeros_like(seen[0])
    expected[..., 3:] = 2 * seen[0][:, ::-1, :-3]
    assert np.array_equal(seen[1], expected)


class TestViews:
    ramp = np.stack([np.arange(40), -np.arange(40)])[None].astype(np.float32)

    def seen(self, text: str, frames: Any = None) -> np.ndarray:
        view = parse_view(text, Path())
        assert view.spec(STEREO) == STEREO
        found: np.ndarray = view.frames(self.ramp if frames is None else frames)
        assert found.dtype == np.float32
        one: np.ndarray = found[0]
        return one

    def test_pitch_is_read_where_it_says(self) -> None:
        high, low = self.seen("pitch:2"), self.seen("pitch:0.5")
        assert high[0, :20].tolist() == list(range(0, 40, 2))
        assert not high[:, 20:].any()
        assert low[0, :5].tolist() == [0, 0.5, 1, 1.5, 2]

    def test_what_is_over_fades_into_silence(self) -> None:
        """Sample 26 is half a sample after the last, 39 · ½; then nothing is left."""
        assert self.seen("pitch:1.519230769")[0, 26] == pytest.approx(39 / 2, abs=1e-3)

    @pytest.mark.parametrize("text", ["gain:2,-3", "gain:0.5", "channels:1,0"])
    def test_an_inverse_gives_the_frames_back(self, text: str) -> None:
        inverse = {
            "gain:2,-3": f"gain:0.5,{-1 / 3}",
            "gain:0.5": "gain:2",
            "channels:1,0": "channels:1,0",
        }[text]
        back = self.seen(inverse, self.seen(text)[None])
        assert np.allclose(back, self.ramp[0], rtol=1e-6)

    @settings(deadline=None)
    @given(st.integers(-39, 39))
    def test_a_delay_and_its_opposite_lose_one_edge_only(self, samples: int) -> None:
        back = self.seen(f"delay:{-samples}", self.seen(f"delay:{samples}")[None])
        kept = slice(0, 40 - samples) if samples >= 0 else slice(-samples, 40)
        assert np.array_equal(back[:, kept], self.ramp[0][:, kept])
        assert np.count_nonzero(back) <= np.count_nonzero(self.ramp)

    @settings(deadline=None)
    @given(st.floats(1, 4))
    def test_a_higher_pitch_is_undone_by_its_reciprocal(self, factor: float) -> None:
        """Linear interpolation of a ramp is exact, but where it fell silent."""
        back = self.seen(f"pitch:{1 / factor!r}", self.seen(f"pitch:{factor!r}")[None])
        kept = int(40 - 2 * factor)
        assert np.allclose(back[:, :kept], self.ramp[0][:, :kept], atol=1e-3)

    @pytest.mark.parametrize("text", ["gain:2", "pitch:2", "delay:3"])
    @pytest.mark.parametrize("spec", [StateSpec("image", (1, 40, 40)), StateSpec("vector", (40,))])
    def test_other_states_are_refused(self, text: str, spec: StateSpec) -> None:
        with pytest.raises(UsageError, match="is for signal states"):
            parse_view(text, Path()).spec(spec)

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("gain:1,2,3", "factors for 2"),
            ("delay:40", "out of hearing"),
            ("channels:0,0", "permutation"),
            ("rotate:90", "image states"),
            ("permute:1,0", "vector states"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, text: str, match: str) -> None:
        with pytest.raises(UsageError, match=match):
            parse_view(text, Path()).spec(STEREO)
        with pytest.raises(UsageError, match="signals of several channels"):
            parse_view("channels:0", Path()).spec(StateSpec(SIGNAL, (1, 40)))
