"""How an environment model is described: what the settings mean, and what a manifest holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from corrtool.environment_model.saved import ModelDescription, held_out_loss
from corrtool.project.artifacts import Artifact
from corrtool.project.manifests import Manifest
from corrtool.settings.stages import TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (3,), 2)


def test_a_manifest_gives_it_back() -> None:
    settings = TrainModelSettings(filters=4, blocks=1)
    description = ModelDescription.of(settings, SPEC, 5)
    manifest = description.to_json()
    assert manifest["states"] == SPEC.to_json()
    assert manifest["architecture"] == "mlp"
    others = manifest.keys() - {"states", "actions", "architecture"}
    assert {name: manifest[name] for name in others} == {
        name: getattr(settings, name)
        for name in (
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


def test_an_older_f_of_small_pictures_keeps_every_pixel() -> None:
    spec = StateSpec("image", (1, 24, 24))
    new = ModelDescription.of(TrainModelSettings(filters=2, blocks=1), spec, 5)
    assert new.architecture == "folded"
    old = ModelDescription.from_json(new.to_json() | {"architecture": "auto"})
    assert next(old.build().network.parameters()).shape[1] == 1 + 5  # not the 4 + 5 of a folded one


def test_the_scaling_is_the_given_one_or_is_to_be_loaded() -> None:
    scaling = StateScaling(SPEC, torch.full((6,), 2.0), torch.full((6,), 3.0))
    description = ModelDescription(SPEC, 5, filters=4, blocks=1)
    assert description.build(scaling).scaling is scaling
    assert not description.build().scaling.mean.any()


def _artifact(kind: str, name: str, **manifest: Any) -> Artifact:
    return Artifact(kind, name, Path(name), cast(Manifest, {"sha256": name, **manifest}))


def test_what_it_held_out_of_a_memory_is_known_for_those_it_learnt_from() -> None:
    agents, random, other = (_artifact("memory", name) for name in ("agent", "random", "other"))
    errors = {"l1_moving": 1.0, "l1_moving_persistence": 4.0}
    one = _artifact("model", "one", parents={"source_memory": agents.reference()}, summary=errors)
    assert held_out_loss(one, agents) == 0.25
    assert held_out_loss(one, other) is None

    parents = {"source_memory": agents.reference(), "random_memory": random.reference()}
    apart = {"random_memory": {"l1_moving": 3.0, "l1_moving_persistence": 4.0}}
    both = _artifact(
        "model", "both", parents=parents, summary={**errors, "validation_by_memory": apart}
    )
    assert held_out_loss(both, random) == 0.75
    assert held_out_loss(both, agents) is None  # too few records: none was held out of it

    still = {"l1_moving": 1.0, "l1_moving_persistence": 0.0}
    nothing_moves = _artifact("model", "still", parents=one.manifest["parents"], summary=still)
    assert held_out_loss(nothing_moves, agents) is None
