"""Views as texts: what is read, what is refused, and the text that tells two tasks apart."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.cli import init
from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import (
    VIEWS,
    Camera,
    Channels,
    Delay,
    Gain,
    MosaicRotate,
    Noise,
    Orthogonal,
    Pad,
    Permute,
    PermuteActions,
    Pitch,
    Rotate,
    Scale,
    Shift,
    View,
    Zoom,
    parse_view,
)

fast = settings(deadline=None, max_examples=200)
whole = st.integers(0, 2**70)
signed = st.integers(-(10**6), 10**6)
orders = st.lists(whole, min_size=1, max_size=5).map(tuple)
factors = st.floats(1e-3, 1e30) | st.floats(-1e30, -1e-3)
ANY_VIEW: st.SearchStrategy[View] = st.one_of(
    st.builds(Rotate, st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(MosaicRotate, signed.map(lambda turns: 90 * turns)),
    st.builds(Shift, signed, signed),
    st.builds(Zoom, st.floats(0.01, 100)),
    st.builds(Channels, orders),
    st.builds(Camera, whole),
    st.builds(Noise, st.floats(0, 1e30, exclude_min=True)),
    st.builds(Permute, orders),
    st.builds(Scale, st.lists(factors, min_size=1, max_size=4).map(tuple)),
    st.builds(Orthogonal, whole),
    st.builds(Pad, st.integers(1, 2**70)),
    st.builds(Gain, st.lists(factors, min_size=1, max_size=4).map(tuple)),
    st.builds(Pitch, st.floats(1 / 16, 16)),
    st.builds(Delay, signed),
    st.builds(PermuteActions, orders),
    st.sampled_from(["flip:h", "flip:v", "invert"]).map(lambda text: view(text)),
)


def view(text: str) -> View:
    return parse_view(text, Path())


class TestIdentity:
    """Two tasks are the same where their views have the same identity."""

    @pytest.mark.parametrize(
        "text",
        [
            "rotate:90", "flip:h", "flip:v", "invert", "permute:1,0", "mosaic-rotate:180",
            "scale:-1,2.5", "shift:-3,4", "zoom:0.5", "channels:2,0,1", "camera:7",
            "background:7", "noise:12.5", "orthogonal:3", "pad:2", "gain:2,-0.5", "pitch:1.3",
            "delay:-4", "actions:2,0,1",
        ],
    )  # fmt: skip
    def test_is_the_text_for_most_views(self, text: str) -> None:
        assert view(text).identity() == text

    @fast
    @given(ANY_VIEW)
    def test_reads_as_the_view_itself(self, any_view: View) -> None:
        assert view(any_view.identity()) == any_view

    @pytest.mark.parametrize(
        "one, other",
        [("rotate:33.333333", "rotate:33.333334"), ("scale:1.0000001,1", "scale:1.0000002,1")],
    )
    def test_tells_close_numbers_apart(self, one: str, other: str) -> None:
        assert view(one) != view(other)
        assert view(one).identity() != view(other).identity()

    def test_of_an_affine_view_is_its_content(self, tmp_path: Path) -> None:
        texts = {
            "a": '{"matrix": [[1]]}',
            "b": '{"matrix": [[1.0]], "offset": [0]}',
            "c": '{"matrix": [[2]]}',
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        a, b, c = (parse_view(f"affine:{name}", tmp_path).identity() for name in "abc")
        assert a == b != c
        assert a == "affine:[[[1.0]], [0.0]]"


@pytest.mark.parametrize(
    "text",
    [
        "", "mirror", "rotate", "rotate:", "rotate:up", "rotate:nan", "rotate:inf", "flip",
        "flip:x", "invert:1", "mosaic-rotate:45", "mosaic-rotate:90.5", "mosaic-rotate:",
        "permute:", "permute:a,b", "permute:0,1.5", "scale:", "scale:0", "scale:1,0",
        "scale:nan", "scale:inf", "scale:a", "affine", "affine:",
        "shift", "shift:1", "shift:1,2,3", "shift:0.5,1", "zoom", "zoom:0", "zoom:-1", "zoom:nan",
        "zoom:0.0099", "zoom:100.1", "channels", "channels:a", "camera", "camera:-1", "camera:1.5",
        "noise", "noise:0", "noise:-1", "noise:nan", "noise:inf", "noise:1.1e30", "orthogonal",
        "orthogonal:-1", "orthogonal:x", "pad", "pad:0", "pad:-1", "pad:1.5", "actions", "actions:",
        "actions:a", "actions:0,1.5", "background", "background:-1", "background:x", "gain",
        "gain:0", "gain:1,inf", "gain:a", "pitch", "pitch:0", "pitch:-1", "pitch:nan",
        "pitch:16.1", "delay", "delay:1.5", "delay:a",
    ],
)  # fmt: skip
def test_unknown_views(text: str) -> None:
    known = VIEWS.get(text.partition(":")[0])
    with pytest.raises(UsageError, match="cannot be made" if known else "unknown view") as raised:
        view(text)
    wanted = [known] if known else VIEWS.values()
    assert all(form.usage in raised.value.hint for form in wanted)


def test_the_help_of_init_names_every_view() -> None:
    """It is a text of its own, as the views import torch, which ``--help`` does without."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(Path(init.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    (help_text,) = (text for text in texts if text.startswith("View of the target task"))
    for form in VIEWS.values():
        assert form.usage.partition(" (")[0] in help_text


def test_what_a_view_does_not_change_stays() -> None:
    """States of one of actions, actions of one of states."""
    spec, frames, actions = StateSpec("vector", (2,)), np.ones((1, 2)), np.array([1, 0])
    of_actions, of_states = view("actions:1,0"), view("permute:1,0")
    assert of_actions.spec(spec) is spec and of_actions.frames(frames) is frames
    assert of_states.action_count(5) == 5 and of_states.environment_actions(actions) is actions
    assert view("noise:1").spec(spec) is spec
