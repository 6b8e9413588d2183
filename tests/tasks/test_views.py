"""Views: what the agent sees instead of what the environment shows."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import (
    Affine,
    Flip,
    Invert,
    MosaicRotate,
    Permute,
    Rotate,
    Scale,
    View,
    parse_view,
)

ABCDEF = np.array([[[[1, 2, 3], [4, 5, 6]]]], dtype=np.uint8)  # one frame, one channel, 2×3
IMAGE = StateSpec("image", (1, 2, 3), 4)
VECTOR = StateSpec("vector", (3,))
HERE = Path()

fast = settings(deadline=None, max_examples=40)
batches = arrays(np.uint8, st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 6)] * 2))
vectors = arrays(np.float32, (2, 4), elements=st.floats(-100, 100, width=32))


def view(text: str) -> View:
    return parse_view(text, HERE)


class TestByHand:
    @pytest.mark.parametrize(
        "text, expected",
        [
            (
                "rotate:90",
                [[3, 6], [2, 5], [1, 4]],
            ),  # counter-clockwise: the right edge comes to the top
            ("rotate:-90", [[4, 1], [5, 2], [6, 3]]),
            ("rotate:180", [[6, 5, 4], [3, 2, 1]]),
            ("rotate:270", [[4, 1], [5, 2], [6, 3]]),
            ("rotate:360", [[1, 2, 3], [4, 5, 6]]),
            ("flip:h", [[3, 2, 1], [6, 5, 4]]),
            ("flip:v", [[4, 5, 6], [1, 2, 3]]),
            ("invert", [[254, 253, 252], [251, 250, 249]]),
            ("mosaic-rotate:90", [[3, 6], [2, 5], [1, 4]]),
        ],
    )
    def test_images(self, text: str, expected: list[Any]) -> None:
        shown = view(text).frames(ABCDEF)
        assert shown.dtype == np.uint8
        assert shown.flags.c_contiguous
        assert shown.tolist() == [[expected]]
        assert view(text).spec(IMAGE).frame_shape == shown.shape[1:]

    def test_other_angles_are_sampled_between_pixels(self) -> None:
        dot = np.zeros((1, 1, 5, 5), np.uint8)
        dot[0, 0, 2, 4] = 200  # two to the right of the centre
        shown = view("rotate:45").frames(dot)[0, 0]
        # It moves to (√2 right, √2 up): between columns 3 and 4, rows 0 and 1; the most of it falls
        # on (1, 3).
        assert shown.argmax() == 1 * 5 + 3
        assert shown[2:].max() == 0
        assert view("rotate:45").spec(IMAGE).frame_shape == (1, 2, 3)

    @pytest.mark.parametrize(("height", "width"), [(5, 7), (7, 5), (5, 5)])
    def test_the_centre_stays_where_it_is(self, height: int, width: int) -> None:
        dot = np.zeros((2, 3, height, width), np.uint8)
        dot[:, :, height // 2, width // 2] = 200
        for degrees in (30.0, 45.0, -100.0):
            shown = Rotate(degrees).frames(dot)
            assert (shown[:, :, height // 2, width // 2] == 200).all()

    @pytest.mark.parametrize(
        "text, expected",
        [
            (
                "permute:2,0,1",
                [[30.0, 10.0, 20.0]],
            ),  # coordinate i of what is seen is coordinate order[i]
            ("scale:-1,1,0.5", [[-10.0, 20.0, 15.0]]),
            ("scale:2", [[20.0, 40.0, 60.0]]),
        ],
    )
    def test_vectors(self, text: str, expected: list[Any]) -> None:
        shown = view(text).frames(np.array([[10, 20, 30]], np.float32))
        assert shown.dtype == np.float32
        assert shown.tolist() == expected
        assert view(text).spec(VECTOR) == VECTOR

    def test_affine(self, tmp_path: Path) -> None:
        (tmp_path / "view.json").write_text(
            json.dumps({"matrix": [[1, 0, 2], [0, -1, 0]], "offset": [100, 0.5]})
        )
        affine = parse_view("affine:view.json", tmp_path)
        # 1·10 + 2·30 + 100 = 170,   -20 + 0.5 = -19.5
        shown = affine.frames(np.array([[10, 20, 30]], np.float32))
        assert shown.tolist() == [[170.0, -19.5]]
        assert shown.dtype == np.float32
        assert affine.spec(VECTOR).frame_shape == (2,)

    def test_an_affine_file_as_windows_writes_it(self, tmp_path: Path) -> None:
        (tmp_path / "view.json").write_text('{"matrix": [[2]]}', encoding="utf-8-sig")
        assert parse_view("affine:view.json", tmp_path) == Affine(((2.0,),), (0.0,))

    def test_affine_without_an_offset(self, tmp_path: Path) -> None:
        (tmp_path / "view.json").write_text('{"matrix": [[0, 1, 0]]}')
        assert parse_view("affine:view.json", tmp_path).frames(
            np.array([[1, 2, 3]], np.float32)
        ).tolist() == [[2.0]]


class TestProperties:
    @fast
    @given(batches, st.integers(-5, 5))
    def test_rotation_by_quarter_turns_is_rot90(self, frames: np.ndarray, turns: int) -> None:
        assert np.array_equal(
            Rotate(90.0 * turns).frames(frames), np.rot90(frames, turns, axes=(-2, -1))
        )

    @fast
    @given(batches)
    def test_four_quarter_turns_change_nothing(self, frames: np.ndarray) -> None:
        turned = frames
        for _ in range(4):
            turned = Rotate(90.0).frames(turned)
        assert np.array_equal(turned, frames)

    @fast
    @given(batches, st.sampled_from(["h", "v"]))
    def test_flipping_twice_changes_nothing(self, frames: np.ndarray, axis: str) -> None:
        assert np.array_equal(Flip(axis).frames(Flip(axis).frames(frames)), frames)

    @fast
    @given(batches)
    def test_flipping_both_ways_is_half_a_turn(self, frames: np.ndarray) -> None:
        assert np.array_equal(
            Flip("h").frames(Flip("v").frames(frames)), Rotate(180.0).frames(frames)
        )

    @fast
    @given(batches)
    def test_inverting_twice_changes_nothing(self, frames: np.ndarray) -> None:
        assert np.array_equal(Invert().frames(Invert().frames(frames)), frames)

    @fast
    @given(vectors, st.permutations(range(4)))
    def test_a_permutation_and_its_inverse(self, frames: np.ndarray, order: list[int]) -> None:
        inverse = tuple(int(i) for i in np.argsort(order))
        assert np.array_equal(Permute(inverse).frames(Permute(tuple(order)).frames(frames)), frames)

    @fast
    @given(
        vectors,
        st.lists(st.floats(0.01, 100).map(lambda x: x * (-1) ** int(x)), min_size=4, max_size=4),
    )
    def test_scaling_and_scaling_back(self, frames: np.ndarray, factors: list[float]) -> None:
        there, back = Scale(tuple(factors)), Scale(tuple(1 / factor for factor in factors))
        np.testing.assert_allclose(back.frames(there.frames(frames)), frames, rtol=1e-5, atol=1e-30)

    @fast
    @given(batches, st.floats(-400, 400, allow_nan=False))
    def test_no_rotation_changes_the_shape_that_its_spec_says(
        self, frames: np.ndarray, degrees: float
    ) -> None:
        spec = StateSpec("image", frames.shape[1:])
        assert Rotate(degrees).frames(frames).shape[1:] == Rotate(degrees).spec(spec).frame_shape

    @fast
    @given(st.data(), st.sampled_from([-90, 0, 90, 180, 270, 360]))
    def test_a_mosaic_rotation_rotates_the_mosaic(self, data: st.DataObject, degrees: int) -> None:
        """The authors tile the four frames, oldest first, into 2×2 and turn the whole picture."""
        height, width = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 5))
        frames = data.draw(arrays(np.uint8, (4, 1, height, width)))
        mosaic = np.block([[frames[0, 0], frames[1, 0]], [frames[2, 0], frames[3, 0]]])
        turned = np.rot90(mosaic, degrees // 90)
        rows, columns = turned.shape[0] // 2, turned.shape[1] // 2
        expected = [turned[y : y + rows, x : x + columns] for y in (0, rows) for x in (0, columns)]

        mosaic_view = MosaicRotate(degrees)
        spec = mosaic_view.spec(StateSpec("image", (1, height, width), 4))
        state = spec.stack_frames(torch.from_numpy(mosaic_view.frames(frames))[None])
        assert state.shape == (1, *spec.state_shape)
        assert np.array_equal(state[0].numpy(), np.stack(expected))

    def test_two_mosaic_rotations_are_one_of_both_angles(self) -> None:
        spec = StateSpec("image", (1, 3, 3), 4)
        twice = MosaicRotate(90).spec(MosaicRotate(90).spec(spec))
        assert twice == MosaicRotate(180).spec(spec)


def test_a_quarter_turn_exchanges_height_and_width() -> None:
    oblong = StateSpec("image", (3, 20, 30), 4)
    for degrees in (90.0, -90.0, 270.0, 450.0):
        assert Rotate(degrees).spec(oblong).frame_shape == (3, 30, 20)
    for degrees in (0.0, 180.0, 45.0, 89.0):
        assert Rotate(degrees).spec(oblong).frame_shape == (3, 20, 30)
    assert MosaicRotate(90).spec(oblong).frame_shape == (3, 30, 20)


class TestErrors:
    def test_numbers_have_a_limit(self, tmp_path: Path) -> None:
        assert view("scale:1e30") == Scale((1e30,))
        with pytest.raises(UsageError, match="cannot be made"):
            view("scale:1.1e30")
        for number, refused in (("1e30", False), ("-1.1e30", True)):
            (tmp_path / "view.json").write_text(f'{{"matrix": [[{number}]]}}')
            with pytest.raises(UsageError, match="at most 1e") if refused else nullcontext():
                parse_view("affine:view.json", tmp_path)

    @pytest.mark.parametrize(
        "image_view", [Rotate(90.0), Rotate(10.0), Flip("h"), Invert(), MosaicRotate(90)]
    )
    def test_views_of_images_refuse_vectors(self, image_view: View) -> None:
        with pytest.raises(UsageError, match=f"'{image_view.identity()}' is for image states"):
            image_view.spec(StateSpec("vector", (3,), 4))

    @pytest.mark.parametrize(
        "vector_view", [Permute((0,)), Scale((2.0,)), Affine(((1.0,),), (0.0,))]
    )
    def test_views_of_vectors_refuse_images(self, vector_view: View) -> None:
        with pytest.raises(UsageError, match="is for vector states"):
            vector_view.spec(StateSpec("image", (1, 84, 84), 4))

    @pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (1, 2, 3), (0, 1, 2, 3), (-1, 0, 1)])
    def test_what_is_no_permutation_of_the_coordinates(self, order: tuple[int, ...]) -> None:
        with pytest.raises(UsageError, match="not a permutation of 3"):
            Permute(order).spec(VECTOR)

    def test_a_wrong_number_of_factors(self) -> None:
        with pytest.raises(UsageError, match="2 factors for 3 coordinates"):
            Scale((1.0, 2.0)).spec(VECTOR)

    @pytest.mark.parametrize("stack", [1, 2, 3, 5])
    def test_a_mosaic_of_frames_that_make_no_square(self, stack: int) -> None:
        with pytest.raises(UsageError, match="square number"):
            MosaicRotate(90).spec(StateSpec("image", (1, 84, 84), stack))

    def test_an_affine_view_of_other_vectors(self) -> None:
        with pytest.raises(UsageError, match="2 columns for 3 coordinates"):
            Affine(((1.0, 0.0),), (0.0,)).spec(VECTOR)

    def test_an_affine_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"nowhere\.json"):
            parse_view("affine:nowhere.json", tmp_path)

    def test_an_affine_file_that_is_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(UsageError, match="folder"):
            parse_view("affine:folder", tmp_path)

    @pytest.mark.parametrize(
        "content",
        [
            "", "{", "[]", "3", "null", "{}", '{"matrix": 3}', '{"matrix": [1, 2]}',
            '{"matrix": [["a"]]}', '{"matrix": [[1, 2], [3]]}', '{"matrix": []}',
            '{"matrix": [[]]}', '{"matrix": [[1]], "offset": [1, 2]}',
            '{"matrix": [[1]], "offset": 1}', '{"matrix": [[NaN]]}', '{"matrix": [[Infinity]]}',
            '{"matrix": [[1e999]]}', '{"matrix": [[1]], "offset": [NaN]}', '{"matrix": [[null]]}',
            "\xff\xfe",
        ],
    )  # fmt: skip
    def test_an_affine_file_that_makes_no_sense(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "view.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(UsageError, match=r"view\.json"):
            parse_view("affine:view.json", tmp_path)
