"""Space to depth (Shi et al. 2016): neighbouring pixels become channels of fewer positions.

No pixel is lost, as by strides, and no layer behind it works at full resolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FOLD = 2  # of large pictures. With 4 an F of Pong learnt that nothing moves, or later and worse,
# and a generator of inverted Pong learnt nothing in 1,500 steps


def fold_pixels(pictures: Tensor, fold: int) -> Tensor:
    """(B, C, H, W) → (B, C · fold², ⌈H/fold⌉, ⌈W/fold⌉).

    Sides that ``fold`` does not divide are continued by their last pixels.
    """
    height, width = pictures.shape[-2:]
    below, right = -height % fold, -width % fold
    if below or right:
        pictures = F.pad(pictures, (0, right, 0, below), mode="replicate")
    return F.pixel_unshuffle(pictures, fold)


def unfold_pixels(folded: Tensor, fold: int, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`fold_pixels`, for pictures of ``size`` (H, W)."""
    height, width = size
    return F.pixel_shuffle(folded, fold)[..., :height, :width]
