"""Sheets of example pictures: their labels, and what the report cuts out of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from corrtool.files.pictures import newest_frames, target_and_translation, write_sheet
from corrtool.states import SIGNAL, StateSpec


def shades(*values: int) -> np.ndarray:
    """One row: pictures of 60 × 80, each of one shade."""
    return np.array([np.full((60, 80, 3), value, np.uint8) for value in values])


def test_rows_are_labelled_and_the_middle_state_is_found(tmp_path: Path) -> None:
    path = tmp_path / "step-1.png"
    write_sheet(
        path,
        [shades(1, 2, 3, 4), shades(11, 12, 13, 14), shades(21, 22, 23, 24)],
        ["one", "two", "three"],
    )
    sheet = cv2.imread(str(path))
    assert sheet is not None
    labels = [
        sheet[row * 140 : row * 140 + 16] for row in range(3)
    ]  # 16 of label, 4 of gap and 120 of picture
    assert all(label.max() == 255 and label.min() < 64 for label in labels)
    pair = target_and_translation(sheet, examples=4)
    assert pair.shape == (120, 160 + 8 + 160, 3)
    assert [set(part.flatten().tolist()) for part in np.split(pair, [160, 168], axis=1)] == [
        {3}, {255}, {13},
    ]  # fmt: skip


def test_small_pictures_are_enlarged_by_a_whole_number(tmp_path: Path) -> None:
    for side, scale in ((10, 16), (84, 2), (90, 2), (200, 2), (36, 5)):
        write_sheet(tmp_path / "sheet.png", [np.zeros((1, side, side, 3), np.uint8)], ["one"])
        sheet = cv2.imread(str(tmp_path / "sheet.png"))
        assert sheet is not None and sheet.shape[1] == 4 + side * scale + 4


def test_sheets_of_earlier_versions_have_no_labels() -> None:
    sheet = np.full((4 + 3 * 24, 4 + 4 * 24, 3), 128, np.uint8)
    sheet[4:24, 52:72], sheet[28:48, 52:72] = 3, 13
    pair = target_and_translation(sheet, examples=4)
    assert pair.shape == (20, 20 + 8 + 20, 3) and set(pair.flatten().tolist()) == {3, 13, 255}


def test_signals_are_drawn_as_waveforms() -> None:
    """Two channels of 256 samples: a column shows two of them, from the least to the most."""
    spec = StateSpec(SIGNAL, (2, 256), 2)
    states = torch.zeros(1, 4, 256)
    states[0, 0] = 9.0  # an older frame
    states[0, 2, :2] = torch.tensor([1.0, -1.0])
    states[0, 3] = 0.5
    (picture,) = newest_frames(states, spec)
    assert picture.shape == (64, 128, 3) and picture.dtype == np.uint8
    first, second = picture[:32, :, 0], picture[32:, :, 0]
    assert (first[:, 0] == 255).all()  # both edges of its band
    assert np.flatnonzero(first[:, 1]).tolist() == [16]  # silence, in the middle
    assert np.flatnonzero(second[:, 0]).tolist() == [8]  # half of the loudest
    assert not newest_frames(torch.zeros(1, 4, 256), spec)[0, :8].any()
