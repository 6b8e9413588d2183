"""Videos of a game: the target as seen, its translation, and the chosen action, side by side."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corrtool.errors import CorrtoolError, UsageError
from corrtool.files.atomic import PARTIAL_SUFFIX, publish_file

FRAMES_PER_SECOND = 15  # Atari's 60 by the usual frame skip of 4
_SCALE = 4
_GAP = 8
_LINE = 22
_SMALL = 180  # pixels; larger pictures are shown as they are
_ENLARGED = 336  # pixels, to which smaller ones than Atari's are brought at most
_NUMBERS_WIDTH = 190
_MAX_NUMBERS = 24
KINDS = (".mp4", ".gif")
MPEG4 = "mp4v"
CODECS = ("vp09", MPEG4)  # VP9 plays in browsers; MPEG-4 does not, but every OpenCV writes it


def check_video(path: Path) -> None:
    """Check that a video can be written under this name.

    Raises :class:`UsageError`.
    """
    if path.suffix.lower() not in KINDS:
        raise UsageError(
            f"--video {path} is of no known kind", f"let its name end in {' or '.join(KINDS)}"
        )


class GameVideo:
    """Write one picture per step to an MP4 or a GIF.

    Use as a context manager; the file appears when it is whole.

    Attributes:
        plays_in_browsers: False where OpenCV has no codec here that they have.

    Raises:
        UsageError: the file's name ends in neither ``.mp4`` nor ``.gif``.
        CorrtoolError: the video could not be written whole; what was there stays.
    """

    def __init__(self, path: Path) -> None:
        check_video(path)
        _silence_opencv()
        self.plays_in_browsers = True
        self._frames = 0
        self._path = path
        self._partial = path.with_name(
            f".{path.stem}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}{path.suffix.lower()}"
        )
        self._mp4: cv2.VideoWriter | None = None
        self._gif: list[Image.Image] = []

    def add(self, panels: list[tuple[str, NDArray[np.uint8]]], caption: str) -> None:
        """One step: pictures (height, width, 3), RGB, each with a title, and a line below them."""
        picture = _compose(panels, caption)
        if self._path.suffix.lower() == ".gif":
            small = Image.fromarray(picture).reduce(
                2
            )  # a GIF keeps every frame whole: a quarter of the size
            self._gif.append(small.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
            return
        if self._mp4 is None:
            height, width = picture.shape[:2]
            self._mp4 = self._opened(width, height)
        self._mp4.write(picture[..., ::-1])
        self._frames += 1

    def _opened(self, width: int, height: int) -> cv2.VideoWriter:
        """A writer of the first codec that OpenCV has here."""
        for codec in CODECS:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self._partial), code, FRAMES_PER_SECOND, (width, height))
            if writer.isOpened():
                self.plays_in_browsers = codec != MPEG4
                return writer
        raise UsageError(f"OpenCV cannot write {self._path} here", "choose a .gif")

    def __enter__(self) -> GameVideo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._mp4 is not None:
                self._mp4.release()
            if kind is None:
                self._finish()
                publish_file(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._gif:
            first, *rest = self._gif
            first.save(
                self._partial,
                save_all=True,
                append_images=rest,
                duration=1000 // FRAMES_PER_SECOND,
                loop=0,
            )
        elif (
            _frames_in(self._partial) != self._frames
        ):  # OpenCV goes on in silence when the disk is full
            raise CorrtoolError(
                f"{self._path} could not be written whole", "see whether the disk is full"
            )


def _silence_opencv() -> None:
    """A disk that is full is said in our one line, not by OpenCV and FFmpeg for every frame."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def plays_in_browsers(video: Path) -> bool:
    """True for a file that OpenCV can read and whose codec browsers have: VP9, AV1 or H.264."""
    _silence_opencv()
    reader = cv2.VideoCapture(str(video))
    try:
        code = (
            int(reader.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") if reader.isOpened() else b""
        )
    finally:
        reader.release()
    return code.lower() in (b"vp09", b"vp90", b"av01", b"avc1", b"h264")


def _frames_in(video: Path) -> int:
    reader = cv2.VideoCapture(str(video))
    try:
        return int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
    finally:
        reader.release()


def numbers_panel(columns: list[tuple[str, list[float]]]) -> NDArray[np.uint8]:
    """Vectors beside each other as a picture of their numbers, each below its title.

    Of a long one the first numbers.
    """
    most = max(len(values) for _, values in columns)
    lines = min(most, _MAX_NUMBERS)
    sheet = np.full((_LINE * (lines + 2), _NUMBERS_WIDTH * len(columns), 3), 24, np.uint8)
    for column, (title, values) in enumerate(columns):
        cells = [
            title,
            *(f"{value: .3f}" for value in values[:lines]),
            *(["..."] if len(values) > lines else []),
        ]
        for row, cell in enumerate(cells):
            _write(sheet, cell, column * _NUMBERS_WIDTH, _LINE * (row + 1) - 7)
    return sheet


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge by a whole factor: four for Atari's 84 pixels, more for the few of grids."""
    side = max(picture.shape[:2])
    scale = 1 if side > _SMALL else max(_SCALE, _ENLARGED // side)
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _compose(panels: list[tuple[str, NDArray[np.uint8]]], caption: str) -> NDArray[np.uint8]:
    """The panels beside each other with their titles above and the caption below.

    Even sides, as MP4 wants them.
    """
    pictures = [_enlarged(picture) for _, picture in panels]
    width = sum(p.shape[1] for p in pictures) + _GAP * (len(pictures) + 1)
    height = max(p.shape[0] for p in pictures) + 2 * _LINE + _GAP
    sheet = np.full((height + height % 2, width + width % 2, 3), 24, np.uint8)
    left = _GAP
    for (title, _), picture in zip(panels, pictures, strict=True):
        sheet[_LINE : _LINE + picture.shape[0], left : left + picture.shape[1]] = picture
        _write(sheet, title, left, _LINE - 7)
        left += picture.shape[1] + _GAP
    _write(sheet, caption, _GAP, height - 12)
    return sheet


def _write(sheet: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    cv2.putText(
        sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA
    )
