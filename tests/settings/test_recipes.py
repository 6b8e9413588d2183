"""Which settings `learn-corr --recipe auto` tries, and who wants no recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from corrtool.settings.base import flag_name
from corrtool.settings.recipes import DECIDED, RECIPES
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import LearnCorrSettings

SEARCHED: dict[str, dict[str, Any]] = {"vector": {"linear_starts": 8}}  # what others do anyway


def resolved(given: dict[str, Any], kind: str = "image") -> LearnCorrSettings:
    return resolve(
        LearnCorrSettings, preset="default", state_kind=kind, project_values={}, given=given
    )


@pytest.mark.parametrize(
    "given",
    [{"generator": "resnet"}, {"lambda_q": 1.0}, {"model_loss": "relative"}],
    ids=lambda given: next(iter(given)),
)
def test_whoever_says_what_a_recipe_decides_gets_that_and_the_papers_actions(
    given: dict[str, Any],
) -> None:
    assert resolved({}).recipe == "auto" and resolved({}).action_map == "auto"
    settings = resolved(given)
    assert (settings.recipe, settings.action_map) == ("none", "identity")
    assert resolved({**given, "action_map": "learned"}).action_map == "learned"
    assert resolved({"gradient_steps": 10}).recipe == "auto"


def test_the_help_names_all_that_recipes_decide() -> None:
    (told,) = [
        field.metadata["help"]
        for field in dataclasses.fields(LearnCorrSettings)
        if field.name == "recipe"
    ]
    named = {name for name in DECIDED if flag_name(name) in told}
    assert named == {name for name in DECIDED if not name.startswith("lambda_")}
    assert "a λ" in told


@pytest.mark.parametrize(
    ("kind", "name"), [("vector", "linear_starts"), ("signal", "signal_starts")]
)
def test_how_many_starts_are_compared_is_no_recipes_decision(kind: str, name: str) -> None:
    settings = resolved({name: 8}, kind)
    assert settings.recipe == "auto"
    tried = settings.candidates(kind, same_actions=True).values()
    assert {getattr(own, name) for own in tried} == {8}


@pytest.mark.parametrize("kind", RECIPES)
def test_every_recipe_is_tried_with_the_identity_first(kind: str) -> None:
    settings = LearnCorrSettings(recipe="auto", action_map="auto", **SEARCHED.get(kind, {}))
    tried = settings.candidates(kind, same_actions=True)
    names = [recipe.name for recipe in RECIPES[kind]]
    assert [name for name in tried if "," not in name] == names
    first = names[0]
    assert list(tried)[:2] == [first, f"{first}, actions learned"]
    assert tried[first].action_map == "identity"
    assert tried[f"{first}, actions learned"].action_map == "learned"
    assert all(own.recipe == "none" for own in tried.values())
    others = settings.candidates(kind, same_actions=False)
    assert {own.action_map for own in others.values()} == {"learned"}


def test_a_single_recipe_is_the_settings_themselves() -> None:
    settings = LearnCorrSettings(generator="resnet")
    assert settings.candidates("image", same_actions=True) == {"": settings}
    assert settings.may_need("q") and not LearnCorrSettings(lambda_q=0).may_need("q")
    assert LearnCorrSettings(recipe="auto", lambda_q=0).may_need("q")
