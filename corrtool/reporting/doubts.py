"""Doubts about a score: what is known of the F that it is measured by.

A score says how much of the target F explains, as a share of what it explains of the source. By an
F that has hardly learnt anything both are small, and their share can be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corrtool.project.manifests import Manifest


def is_useless(errors: Mapping[str, Any]) -> bool:
    """True if F predicts what changes no better than persistence; False where that is unknown.

    Args:
        errors: :class:`corrtool.runs.results.NewestFrameErrors`, or the summary of a manifest.
    """
    error, persistence = errors.get("l1_newest"), errors.get("l1_newest_persistence")
    if not (isinstance(error, int | float) and isinstance(persistence, int | float)):
        return False
    return error >= persistence


def doubt_of_model(manifest: Manifest) -> str | None:
    """Why a score by the F of this manifest is uncertain, in words; None where nothing says so."""
    summary: Any = manifest.get("summary")
    if not isinstance(summary, dict):
        return None
    if summary.get("cut") is True:
        steps = summary.get("gradient_steps")
        after = f" after {steps:,} gradient steps" if type(steps) is int else ""
        return f"the training of F was cut short{after}"
    if is_useless(summary):
        return "F predicts what changes no better than persistence"
    return None
