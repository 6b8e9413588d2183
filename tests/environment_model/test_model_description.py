"""How an environment model is described: what the settings mean, and what a manifest holds."""

from __future__ import annotations

import pytest
import torch

from corrtool.environment_model.saved import ModelDescription
from corrtool.settings.stages import TrainModelSettings
from corrtool.states import StateScaling, StateSpec

SPEC = StateSpec("vector", (3,), 2)


def test_a_manifest_gives_it_back() -> None:
    settings = TrainModelSettings(filters=4, blocks=1)
    description = ModelDescription.of(settings, SPEC, 5)
    manifest = description.to_json()
    assert manifest["states"] == SPEC.to_json()
    assert {name: manifest[name] for name in manifest if name not in ("states", "actions")} == {
        name: getattr(settings, name)
        for name in (
            "architecture",
            "filters",
            "blocks",
            "action_block",
            "norm",
            "prediction",
            "skips",
        )
    }
    assert ModelDescription.from_json(manifest) == description
    with pytest.raises(TypeError):
        ModelDescription.from_json(manifest | {"depth": 3})


def test_the_scaling_is_the_given_one_or_is_to_be_loaded() -> None:
    scaling = StateScaling(SPEC, torch.full((6,), 2.0), torch.full((6,), 3.0))
    description = ModelDescription(SPEC, 5, filters=4, blocks=1)
    assert description.build(scaling).scaling is scaling
    assert not description.build().scaling.mean.any()
