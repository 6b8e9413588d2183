"""The sheet of example pictures that learn-corr draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.pictures import write_example_pictures
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 10, 10))


def test_below_the_translations_stand_states_of_the_source(tmp_path: Path) -> None:
    scalings = StateScaling(SPEC), StateScaling(SPEC)
    correspondence = Correspondence(*scalings, GeneratorDescription("resnet", filters=1))
    source, target = (torch.full((3, 1, 10, 10), grey, dtype=torch.uint8) for grey in (200, 50))
    write_example_pictures(tmp_path / "sheet.png", correspondence, source, target)
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    rows = np.array_split(sheet, 4)
    middles = [int(row[len(row) // 2, row.shape[1] // 6]) for row in rows]
    assert (middles[0], middles[3]) == (50, 200)
