"""What `learn-corr --recipe auto` tries: generators and losses for each kind of states.

In their order: from what changes least to what may change everything. The first that explains
enough is taken (corrtool/correspondence/portfolio.py), so that a task seen from another side gets
an exact map, and only what no such map explains a network. What led to them: docs/choosing.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS_LEARNED = "actions learned"  # of a candidate's name, where it finds the map of the actions
CLEARLY_BETTER = 0.02  # by which a later recipe, which can do more, has to beat an earlier one


@dataclass(frozen=True)
class Recipe:
    """A member of the portfolio: its name, and the settings of ``learn-corr`` that it decides."""

    name: str
    settings: Mapping[str, Any]


def _recipe(name: str, lambdas: tuple[float, float, float], **settings: Any) -> Recipe:
    weights = dict(zip(("lambda_cyc", "lambda_q", "lambda_m"), lambdas, strict=True))
    return Recipe(name, {**weights, **settings})


_PICTURES = (
    _recipe(
        "affine",
        (10, 0, 10),
        generator="affine",
        model_loss="relative",
        tone=True,
        spatial_learning_rate=1e-4,  # a tenth: it starts nearly where it should be
    ),
    _recipe("affine-resnet", (1, 0, 1), generator="affine-resnet", tone=True),
    _recipe("resnet", (1, 1, 1), generator="resnet"),
)
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "image": _PICTURES,
    "grid": _PICTURES,
    "signal": (
        _recipe(
            "gain-shift",
            (10, 0, 10),
            generator="gain-shift",
            model_loss="relative",
            spatial_learning_rate=1e-4,  # as of an affine layer
        ),
        _recipe("gain-shift-resnet", (1, 0, 1), generator="gain-shift-resnet"),
        _recipe("resnet", (1, 1, 1), generator="resnet"),
    ),
    "vector": (
        _recipe("linear", (0, 0, 100), generator="linear"),
        _recipe("mlp", (1, 1, 100), generator="mlp"),
    ),
}
# What a recipe may decide: whoever says one of these wants no recipe. How many maps of vectors and
# pitches of signals a search looks at is no such thing: recipes search among so many as are said.
DECIDED = (
    "generator",
    "lambda_cyc",
    "lambda_q",
    "lambda_m",
    "model_loss",
    "angle_init",
    "angle_starts",
    "spatial_learning_rate",
    "tone",
)
