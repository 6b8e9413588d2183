"""Which settings of ``learn-corr`` others make meaningless, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corrtool.settings.generators import GAIN_SHIFT, SPATIAL, TONED

if TYPE_CHECKING:
    from corrtool.settings.correspondence import LearnCorrSettings


def unused_settings(settings: LearnCorrSettings, state_kind: str) -> dict[str, str]:
    """The names of those without effect on states of this kind, and why in a few words.

    Those of recipes apart.
    """
    unused = {"epochs": "--gradient-steps says how long"} if settings.gradient_steps else {}
    if not settings.eval_games:
        unused |= dict.fromkeys(("eval_epsilon", "max_idle_frames"), "--eval-games is 0")
        if "model" not in settings.loss_weights:
            unused["eval_every"] = "--eval-games is 0, and with --lambda-m 0 there is no score"
    if "q" not in settings.loss_weights:
        unused["q_loss"] = "--lambda-q is 0"
    if settings.generator in ("rotation", "affine", "gain-shift") or (
        settings.generator in ("auto", "linear") and state_kind == "vector"
    ):
        unused |= dict.fromkeys(("filters", "blocks"), f"--generator {settings.generator} has none")
    if "resnet" not in settings.generator and not (
        settings.generator == "auto" and state_kind != "vector"
    ):
        unused |= dict.fromkeys(
            ("skips", "framewise", "folded"), "it is for generators with a resnet"
        )
    elif settings.folded and state_kind == "image":
        unused["skips"] = "the folded resnet has none"
    if state_kind == "grid":
        unused["skips"] = "the resnet of small pictures keeps every pixel"
    if state_kind == "signal":
        unused["skips"] = "the resnet of signals always has them"
    if state_kind != "image":
        unused["folded"] = "it is for the resnet of large pictures"
        unused["norm"] = "it is for the convolutions of images, but of small ones"
    if state_kind != "vector":
        unused["linear_starts"] = "it is for generators of vectors"
    elif settings.linear_starts > 1 and "model" not in settings.loss_weights:
        unused["linear_starts"] = "--lambda-m is 0, and the model loss compares them"
    if settings.generator not in SPATIAL + GAIN_SHIFT:
        unused["spatial_learning_rate"] = (
            "it is for generators with a rotation, affine or gain-and-shift layer"
        )
    if settings.generator not in GAIN_SHIFT or "model" not in settings.loss_weights:
        unused["signal_starts"] = "it is for gain-and-shift layers and --lambda-m above 0"
    if settings.generator not in TONED:
        unused["tone"] = "it is for generators with an affine layer"
    return unused
