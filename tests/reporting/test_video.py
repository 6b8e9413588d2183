"""Videos of games, read back."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from corrtool.errors import UsageError
from corrtool.reporting.video import GameVideo

WHITE, BLACK = np.full((20, 20, 3), 255, np.uint8), np.zeros((20, 20, 3), np.uint8)


def write(path: Path) -> None:
    with GameVideo(path) as video:
        for step in range(6):
            video.add([("target", WHITE if step % 2 else BLACK), ("source", BLACK)], f"action: {step}")


def test_mp4(tmp_path: Path) -> None:
    write(tmp_path / "game.mp4")
    film = cv2.VideoCapture(str(tmp_path / "game.mp4"))
    pictures = [film.read()[1] for _ in range(6)]
    assert not film.read()[0]
    assert [bool(picture[60, 40].mean() > 128) for picture in pictures] == [False, True] * 3
    assert all(picture[60, 130].mean() < 64 for picture in pictures)
    assert {path.name for path in tmp_path.iterdir()} == {"game.mp4"}


def test_gif(tmp_path: Path) -> None:
    write(tmp_path / "game.gif")
    with Image.open(tmp_path / "game.gif") as film:
        assert film.n_frames == 6
        film.seek(1)
        assert film.convert("L").getpixel((20, 30)) > 200


@pytest.mark.parametrize("name", ["game.avi", "game"])
def test_what_cannot_be_written_is_said_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        GameVideo(tmp_path / name)


def test_a_game_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), GameVideo(tmp_path / "game.mp4") as video:
        video.add([("target", WHITE)], "action: 0")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
