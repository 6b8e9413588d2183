"""Kinds of generators that have a layer whose start is searched for, by that layer."""

SPATIAL = ("rotation", "affine", "resnet-rotation", "affine-resnet")  # with a spatial layer
TONED = ("affine", "affine-resnet")  # that may have a tone layer
GAIN_SHIFT = ("gain-shift", "gain-shift-resnet")  # with a gain-and-shift layer, for signals
