"""Which views there are, and how they are written: a new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corrtool.errors import UsageError
from corrtool.tasks.views.actions import PermuteActions
from corrtool.tasks.views.background import Background
from corrtool.tasks.views.base import MAX_NUMBER, View
from corrtool.tasks.views.camera import Camera
from corrtool.tasks.views.noise import Noise, Pad
from corrtool.tasks.views.pictures import (
    MAX_ZOOM,
    Channels,
    Flip,
    Invert,
    MosaicRotate,
    Rotate,
    Shift,
    Zoom,
)
from corrtool.tasks.views.signals import MAX_PITCH, Delay, Gain, Pitch
from corrtool.tasks.views.vectors import Affine, Orthogonal, Permute, Scale


@dataclass(frozen=True)
class ViewForm:
    """How a view is written.

    Attributes:
        parse: makes it of the argument after the colon; see :meth:`View.parse`.
        usage: for people who read a message.
        takes: which numbers it can be given, where not all of them.
    """

    parse: Callable[[str, Path], View]
    usage: str
    takes: str = ""


_FACTORS = f"no factor may be 0, or beyond ±{MAX_NUMBER:g}"
_SEED = "SEED is a whole number from 0"

VIEWS = {
    "rotate": ViewForm(Rotate.parse, "rotate:DEG", "DEG is a finite number"),
    "flip": ViewForm(Flip.parse, "flip:h, flip:v"),
    "invert": ViewForm(Invert.parse, "invert"),
    "mosaic-rotate": ViewForm(MosaicRotate.parse, "mosaic-rotate:DEG (quarter turns)"),
    "shift": ViewForm(Shift.parse, "shift:DX,DY"),
    "zoom": ViewForm(Zoom.parse, "zoom:FACTOR", f"FACTOR is from {1 / MAX_ZOOM:g} to {MAX_ZOOM:g}"),
    "channels": ViewForm(Channels.parse, "channels:1,0,…"),
    "camera": ViewForm(Camera.parse, "camera:SEED", _SEED),
    "background": ViewForm(Background.parse, "background:SEED", _SEED),
    "noise": ViewForm(Noise.parse, "noise:SIGMA", f"SIGMA is above 0, and {MAX_NUMBER:g} at most"),
    "permute": ViewForm(Permute.parse, "permute:1,0,…"),
    "scale": ViewForm(Scale.parse, "scale:-1,…", _FACTORS),
    "orthogonal": ViewForm(Orthogonal.parse, "orthogonal:SEED", _SEED),
    "pad": ViewForm(Pad.parse, "pad:N", "N is a whole number from 1"),
    "affine": ViewForm(Affine.parse, "affine:FILE"),
    "gain": ViewForm(Gain.parse, "gain:FACTOR,…", _FACTORS),
    "pitch": ViewForm(
        Pitch.parse, "pitch:FACTOR", f"FACTOR is from {1 / MAX_PITCH:g} to {MAX_PITCH:g}"
    ),
    "delay": ViewForm(Delay.parse, "delay:N"),
    "actions": ViewForm(PermuteActions.parse, "actions:1,0,…"),
}


def parse_view(text: str, directory: Path) -> View:
    """A view from its text, such as ``rotate:90``; files are looked up in ``directory``.

    Raises :class:`UsageError`.
    """
    name, _, argument = text.partition(":")
    if name in VIEWS:
        try:
            return VIEWS[name].parse(argument, directory)
        except ValueError:
            form = VIEWS[name]
            takes = f"; {form.takes}" if form.takes else ""
            raise UsageError(
                f"view {text!r} cannot be made", f"write {form.usage}{takes}"
            ) from None
    *others, last = (form.usage for form in VIEWS.values())
    raise UsageError(f"unknown view {text!r}", f"write {', '.join(others)} or {last}")
