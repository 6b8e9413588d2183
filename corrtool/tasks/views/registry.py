"""Which views there are, and how they are written: a new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corrtool.errors import UsageError
from corrtool.tasks.views.actions import PermuteActions
from corrtool.tasks.views.background import Background
from corrtool.tasks.views.base import View
from corrtool.tasks.views.camera import Camera
from corrtool.tasks.views.noise import Noise, Pad
from corrtool.tasks.views.pictures import (
    Channels,
    Flip,
    Invert,
    MosaicRotate,
    Rotate,
    Shift,
    Zoom,
)
from corrtool.tasks.views.signals import Delay, Gain, Pitch
from corrtool.tasks.views.vectors import Affine, Orthogonal, Permute, Scale


@dataclass(frozen=True)
class ViewForm:
    """How a view is written.

    Attributes:
        parse: makes it of the argument after the colon; see :meth:`View.parse`.
        usage: for people who read a message.
    """

    parse: Callable[[str, Path], View]
    usage: str


VIEWS = {
    "rotate": ViewForm(Rotate.parse, "rotate:DEG"),
    "flip": ViewForm(Flip.parse, "flip:h, flip:v"),
    "invert": ViewForm(Invert.parse, "invert"),
    "mosaic-rotate": ViewForm(MosaicRotate.parse, "mosaic-rotate:DEG (quarter turns)"),
    "shift": ViewForm(Shift.parse, "shift:DX,DY"),
    "zoom": ViewForm(Zoom.parse, "zoom:FACTOR"),
    "channels": ViewForm(Channels.parse, "channels:1,0,…"),
    "camera": ViewForm(Camera.parse, "camera:SEED"),
    "background": ViewForm(Background.parse, "background:SEED"),
    "noise": ViewForm(Noise.parse, "noise:SIGMA"),
    "permute": ViewForm(Permute.parse, "permute:1,0,…"),
    "scale": ViewForm(Scale.parse, "scale:-1,…"),
    "orthogonal": ViewForm(Orthogonal.parse, "orthogonal:SEED"),
    "pad": ViewForm(Pad.parse, "pad:N"),
    "affine": ViewForm(Affine.parse, "affine:FILE"),
    "gain": ViewForm(Gain.parse, "gain:FACTOR,…"),
    "pitch": ViewForm(Pitch.parse, "pitch:FACTOR"),
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
            raise UsageError(
                f"view {text!r} cannot be made", f"write {VIEWS[name].usage}"
            ) from None
    *others, last = (form.usage for form in VIEWS.values())
    raise UsageError(f"unknown view {text!r}", f"write {', '.join(others)} or {last}")
