"""Fixtures: a small project, and a stand-in of the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from corrtool.project.directory import Project
from corrtool.project.manifests import Manifest
from corrtool.project.weights import save_weights
from support.commands import run_in_process
from support.hub import TOKEN, Hub, running_hub

os.environ["HF_HUB_DISABLE_XET"] = "1"  # huggingface_hub reads it as it is imported


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, which the Hub's client of this process talks to."""
    pytest.importorskip("huggingface_hub")
    with running_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


@pytest.fixture
def hub_lab(tmp_path: Path) -> Path:
    """CartPole with made-up weights: a correspondence, its parents, and one more Q-function."""
    root = tmp_path / "lab"
    view = ("--target-view", "scale:-1,1,1,1")
    assert run_in_process("init", root, "--source", "CartPole-v1", *view, "--quiet") == 0
    tasks = {role: Project(root).task(role).to_json() for role in ("source", "target")}
    made: Manifest = {"created": "2026-01-01", "stage": "train-dqn", "seed": 3, "tasks": tasks}
    q, _, model = (
        save_weights(root, kind, name, {"w": torch.tensor([value])}, made)
        for kind, name, value in (("q", "agent", 1.0), ("q", "other", 2.0), ("model", "f", 3.0))
    )
    parents = {"q": q.reference(), "model": model.reference()}
    save_weights(
        root,
        "corr",
        "map",
        {"w": torch.tensor([4.0])},
        {"created": "2026-01-02", "tasks": tasks, "parents": parents, "selection": "best"},
    )
    return root
