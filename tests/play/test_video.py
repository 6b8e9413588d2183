"""Videos of games, read back."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from corrtool.errors import UsageError
from corrtool.play.video import GameVideo, _enlarged, plays_in_browsers

WHITE = np.full((20, 20, 3), 255, np.uint8)
BLACK = np.zeros((20, 20, 3), np.uint8)


def write(path: Path) -> None:
    with GameVideo(path) as video:
        for step in range(6):
            video.add(
                [("target", WHITE if step % 2 else BLACK), ("source", BLACK)], f"action: {step}"
            )


def test_mp4(tmp_path: Path) -> None:
    write(tmp_path / "game.mp4")
    film = cv2.VideoCapture(str(tmp_path / "game.mp4"))
    pictures = [film.read()[1] for _ in range(6)]
    assert not film.read()[0]
    assert [bool(picture[60, 40].mean() > 128) for picture in pictures] == [False, True] * 3
    assert all(picture[60, 500].mean() < 64 for picture in pictures)
    assert {path.name for path in tmp_path.iterdir()} == {"game.mp4"}


@pytest.mark.parametrize(
    ("codecs", "box"), [(("vp09", "mp4v"), b"vp09"), (("none", "mp4v"), b"mp4v")]
)
def test_an_mp4_plays_in_a_browser_where_opencv_can_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codecs: tuple[str, ...], box: bytes
) -> None:
    monkeypatch.setattr("corrtool.play.video.CODECS", codecs)
    write(tmp_path / "game.mp4")
    assert (
        box in (tmp_path / "game.mp4").read_bytes()
    )  # the name of the sample entry in the table of contents
    assert plays_in_browsers(tmp_path / "game.mp4") == (box == b"vp09")


def test_what_is_no_video_plays_nowhere(tmp_path: Path) -> None:
    (tmp_path / "game.mp4").write_bytes(b"no video")
    assert not plays_in_browsers(tmp_path / "game.mp4")
    assert not plays_in_browsers(tmp_path / "missing.mp4")


def test_gif(tmp_path: Path) -> None:
    write(tmp_path / "game.gif")
    with Image.open(tmp_path / "game.gif") as film:
        assert getattr(film, "n_frames", 1) == 6
        film.seek(1)
        assert np.asarray(film.convert("L"))[30, 20] > 200


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import cv2  # as in a stage, where pictures and emulators have it before
import numpy as np
from corrtool.errors import CorrtoolError
from corrtool.play.video import GameVideo, _enlarged, plays_in_browsers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0)
try:
    with GameVideo(Path(sys.argv[1])) as video:
        for _ in range(40):
            picture = noise.integers(0, 256, (84, 84, 3), dtype=np.uint8)
            video.add([("target", picture)], "action: NOOP")
except (CorrtoolError, OSError) as error:
    print("refused", error)
"""


@pytest.mark.parametrize("name", ["game.mp4", "game.gif"])
def test_a_full_disk_keeps_the_video_that_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"an older one")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / name)], capture_output=True, text=True
    )
    assert done.stdout.startswith("refused"), done.stderr
    assert "FFmpeg" not in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"an older one"}


@pytest.mark.parametrize("name", ["game.avi", "game"])
def test_what_cannot_be_written_is_said_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        GameVideo(tmp_path / name)


def test_a_game_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), GameVideo(tmp_path / "game.mp4") as video:
        video.add([("target", WHITE)], "action: 0")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("side", "shown"), [(200, 200), (84, 336), (60, 300), (10, 330), (5, 335)])
def test_small_pictures_are_enlarged_by_a_whole_factor(side: int, shown: int) -> None:
    assert _enlarged(np.zeros((side, side, 3), np.uint8)).shape == (shown, shown, 3)
