"""Grids: what is combined, what is skipped, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corrtool.errors import ArtifactError, UsageError
from corrtool.settings.grid import (
    Grid,
    as_text,
    parse_grid,
    points_of,
    read_grids,
    shown,
    varying,
)
from corrtool.settings.stages import LearnCorrSettings, TrainModelSettings


def grid(*axes: str, skip: tuple[str, ...] = ()) -> Grid:
    return parse_grid(LearnCorrSettings, [*axes], [*skip])


def test_all_combinations_the_last_axis_fastest() -> None:
    assert grid("lambda-cyc=0,10", "lambda-q=0,1").points() == [
        {"lambda_cyc": 0.0, "lambda_q": 0.0},
        {"lambda_cyc": 0.0, "lambda_q": 1.0},
        {"lambda_cyc": 10.0, "lambda_q": 0.0},
        {"lambda_cyc": 10.0, "lambda_q": 1.0},
    ]


def test_values_have_the_type_of_the_setting() -> None:
    axes = grid("lambda-q=1", "gradient-steps=40", "tone=on,false", "norm=batch", "q=a,b").axes
    assert axes == {
        "lambda_q": (1.0,),
        "gradient_steps": (40,),
        "tone": (True, False),
        "norm": ("batch",),
        "q": ("a", "b"),  # an input is named in the same way
    }
    assert type(axes["lambda_q"][0]) is float and type(axes["gradient_steps"][0]) is int


def test_no_axis_is_one_point_that_says_nothing() -> None:
    assert points_of([grid()]) == [{}]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 2), st.integers(0, 3), min_size=1),
)
def test_skipped_are_those_that_hold_every_value(sizes: list[int], skip: dict[int, int]) -> None:
    axes: dict[str, tuple[Any, ...]] = {f"a{i}": tuple(range(n)) for i, n in enumerate(sizes)}
    whole = Grid(axes).points()
    condition: dict[str, Any] = {f"a{i}": value for i, value in skip.items()}
    kept = Grid(axes, (condition,)).points()
    assert kept == [p for p in whole if not condition.items() <= p.items()]
    if condition.keys() <= axes.keys() and all(v < len(axes[k]) for k, v in condition.items()):
        free = [n for i, n in enumerate(sizes) if i not in skip]
        product = 1
        for n in free:
            product *= n
        assert len(whole) - len(kept) == product
    else:
        assert len(kept) == len(whole)


def test_a_skip_of_the_command_line() -> None:
    points = grid("lambda-m=0,1", "generator=mlp,linear", skip=("lambda-m=0,generator=mlp",))
    assert len(points.points()) == 3
    assert {"lambda_m": 0.0, "generator": "mlp"} not in points.points()


@pytest.mark.parametrize(
    ("axes", "skip", "says"),
    [
        (("lambda-x=1",), (), "learn-corr has no setting 'lambda-x'; did you mean"),
        (("lambda-q",), (), "--grid 'lambda-q' has no values"),
        (("lambda-q=",), (), "has no values"),
        (("lambda-q=0,zero",), (), "--lambda-q is 'zero'; give it a number"),
        (("lambda-q=-1",), (), "--lambda-q is -1.0; it must be at least 0"),
        (("gradient-steps=1.5",), (), "--gradient-steps is '1.5'; give it a whole number"),
        (("tone=maybe",), (), "--tone is 'maybe'; give it true or false"),
        (("norm=layer",), (), "--norm is 'layer'; choose one of instance, batch"),
        (("lambda-q=0,0",), (), "--grid lambda-q has a value twice"),
        (("lambda-q=1,1.0",), (), "--grid lambda-q has a value twice"),
        (("lambda-q=0", "lambda-q=1"), (), "--grid lambda-q is given twice"),
        (("lambda-q=0", "lambda_q=1"), (), "has a value twice"),
        (("lambda-q=0",), ("lambda-q",), "--skip 'lambda-q' is no condition"),
        (("lambda-q=0,1",), ("lambda-q=0,lambda-q=1",), "has a setting twice"),
        (("lambda-q=0",), ("lamda-q=0",), "learn-corr has no setting 'lamda-q'"),
        (("lambda-q=0",), ("lambda-q=0",), "the grid has no cells"),
    ],
)
def test_what_is_refused(axes: tuple[str, ...], skip: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        points_of([grid(*axes, skip=skip)])
    assert says in str(raised.value) and "\n" not in str(raised.value)


class TestFiles:
    def read(self, path: Path, text: str, *skips: str) -> list[dict[str, Any]]:
        path.write_text(text)
        return points_of(read_grids(LearnCorrSettings, path, [*skips]))

    def test_a_table_and_what_is_skipped(self, tmp_path: Path) -> None:
        text = """
            [grid]
            lambda-cyc = [0, 1]
            generator = ["mlp", "linear"]
            action-map = ["[1, 0]", "identity"]
            [[skip]]
            lambda-cyc = 0
            generator = "mlp"
        """
        points = self.read(tmp_path / "g.toml", text, "action-map=identity")
        assert len(points) == 3 and all(p["action_map"] == "[1, 0]" for p in points)

    def test_several_grids_for_settings_that_only_some_allow(self, tmp_path: Path) -> None:
        text = """
            [[grid]]
            generator = "rotation"
            [[grid]]
            generator = "affine"
            tone = [false, true]
        """
        points = self.read(tmp_path / "g.toml", text)
        assert points == [
            {"generator": "rotation"},
            {"generator": "affine", "tone": False},
            {"generator": "affine", "tone": True},
        ]
        assert varying(points) == {
            "generator": ["rotation", "affine"],
            "tone": [None, False, True],
        }

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("grid = 3", "grid is no table"),
            ("[other]", "has a table 'other'"),
            ("", "has no table 'grid'"),
            ("[grid", "is not valid TOML"),
            ("[grid]\nlambda-q = []", "has no values"),
            ("[grid]\nlambda-q = ['x']", "--lambda-q is 'x'"),
            ("[grid]\nlambda-q = [[1]]", "--lambda-q is [1]"),
            ("[grid]\nq = [1]", "--q is 1"),
            (
                "[[grid]]\nlambda-q = 1\n[[grid]]\nlambda-q = [1, 2]",
                "has the cell lambda-q=1 twice",
            ),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(UsageError) as raised:
            self.read(tmp_path / "g.toml", text)
        assert says in str(raised.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="cannot read --grid"):
            read_grids(LearnCorrSettings, tmp_path / "g.toml", [])


def test_inputs_are_those_of_the_stage() -> None:
    assert parse_grid(TrainModelSettings, ["memory=a"], []).axes == {"memory": ("a",)}
    with pytest.raises(UsageError, match="no setting 'q'"):
        parse_grid(TrainModelSettings, ["q=a"], [])


def test_points_as_text() -> None:
    assert as_text({"lambda_q": 0.5, "tone": True, "norm": "batch"}) == (
        "lambda-q=0.5 tone=true norm=batch"
    )
    assert [shown(v) for v in (1.0, 1e-5, 3, None, False)] == ["1", "1e-05", "3", "–", "false"]
