"""Views: transforms of what an agent sees or does, which make a target of a known environment.

A view works on a batch of frames, before they are stacked, so that a memory holds each frame once.
Images are ``(N, C, H, W)`` uint8, signals ``(N, C, L)`` float32, vectors ``(N, n)`` float32. A view
of actions works on what the agent chooses, before the environment sees it. Each view is written as
``name:argument``.
"""

from corrtool.tasks.views.actions import PermuteActions
from corrtool.tasks.views.background import Background
from corrtool.tasks.views.base import Frames, View
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
from corrtool.tasks.views.registry import VIEWS, parse_view
from corrtool.tasks.views.signals import Delay, Gain, Pitch
from corrtool.tasks.views.vectors import Affine, Orthogonal, Permute, Scale

__all__ = [
    "VIEWS",
    "Affine",
    "Background",
    "Camera",
    "Channels",
    "Delay",
    "Flip",
    "Frames",
    "Gain",
    "Invert",
    "MosaicRotate",
    "Noise",
    "Orthogonal",
    "Pad",
    "Permute",
    "PermuteActions",
    "Pitch",
    "Rotate",
    "Scale",
    "Shift",
    "View",
    "Zoom",
    "parse_view",
]
