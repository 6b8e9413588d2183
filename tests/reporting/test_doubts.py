"""When a score is uncertain, by what a manifest says of F."""

from __future__ import annotations

from typing import Any

import pytest

from corrtool.project.manifests import Manifest
from corrtool.reporting.doubts import doubt_of_model


@pytest.mark.parametrize(
    ("summary", "doubt"),
    [
        ({"l1_newest": 0.1, "l1_newest_persistence": 0.2}, None),
        ({"l1_newest": 0.2, "l1_newest_persistence": 0.2}, "no better than persistence"),
        ({"cut": True, "gradient_steps": 1380}, "cut short after 1,380 gradient steps"),
        ({"cut": True, "l1_newest": 0.1, "l1_newest_persistence": 0.2}, "was cut short"),
        ({"l1_newest": "0.3", "l1_newest_persistence": 0.2}, None),
        ({}, None),
        (None, None),
        ("cut", None),
    ],
)
def test_what_a_manifest_says_of_f(summary: Any, doubt: str | None) -> None:
    manifest: Manifest = {"summary": summary}
    found = doubt_of_model(manifest)
    assert found is None if doubt is None else found is not None and doubt in found
