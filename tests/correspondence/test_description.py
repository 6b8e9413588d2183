"""How generators are described: what the settings mean, and what a manifest holds."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest

from corrtool.correspondence.description import GENERATORS, GeneratorDescription
from corrtool.settings.stages import LearnCorrSettings
from corrtool.states import StateSpec

IMAGES = StateSpec("image", (1, 36, 36), 2)
VECTORS = StateSpec("vector", (3,))


def test_every_kind_can_be_asked_for() -> None:
    kinds = typing.get_args(typing.get_type_hints(LearnCorrSettings)["generator"])
    assert set(kinds) == {"auto"}.union(*GENERATORS.values())


@pytest.mark.parametrize(("states", "kind"), [(IMAGES, "resnet"), (VECTORS, "linear")])
def test_auto_depends_on_the_states(states: StateSpec, kind: str) -> None:
    assert GeneratorDescription.of(LearnCorrSettings(), states).kind == kind
    assert GeneratorDescription.of(LearnCorrSettings(generator="mlp"), states).kind == "mlp"


def test_a_manifest_gives_it_back() -> None:
    description = GeneratorDescription.of(
        LearnCorrSettings(generator="affine", angle_init=30.0), IMAGES
    )
    manifest = description.to_json()
    assert list(manifest) == [
        "kind",
        "filters",
        "blocks",
        "norm",
        "skips",
        "framewise",
        "angle_init",
    ]
    assert GeneratorDescription.from_json(manifest) == description
    assert description.reversed_direction() == replace(description, angle_init=-30.0)


def test_a_tone_layer_is_before_one_way_and_after_the_other() -> None:
    settings = LearnCorrSettings(generator="affine", tone=True)
    description = GeneratorDescription.of(settings, IMAGES)
    assert description.tone == "before" and description.to_json()["tone"] == "before"
    assert description.reversed_direction().tone == "after"
    assert description.reversed_direction().reversed_direction() == description
    assert GeneratorDescription.from_json(description.to_json()) == description
    assert GeneratorDescription.of(LearnCorrSettings(tone=True), IMAGES).tone == "none"


def test_only_resnets_of_large_pictures_are_folded() -> None:
    resnet, affine = LearnCorrSettings(folded=True), LearnCorrSettings("none", generator="affine")
    description = GeneratorDescription.of(resnet, IMAGES)
    assert description.folded and description.to_json()["folded"] is True
    assert GeneratorDescription.from_json(description.to_json()) == description
    grid = StateSpec("image", (4, 10, 10))
    for settings, states in ((resnet, grid), (replace(affine, folded=True), IMAGES)):
        assert "folded" not in GeneratorDescription.of(settings, states).to_json()


def test_what_an_older_manifest_does_not_say_is_as_it_was_then() -> None:
    old = GeneratorDescription.from_json(
        {"kind": "resnet", "filters": 8, "blocks": 2, "norm": "batch"}
    )
    assert (old.skips, old.framewise, old.angle_init) == (False, False, 0.0)
