"""Value ranges of states: the only place where one changes.

Three ranges exist, and every tensor of states is in exactly one of them:

=====  ==================  =========================  =============================
range  image               vector, signal             who works in it
=====  ==================  =========================  =============================
raw    uint8 in [0, 255]   float32, the task's units  memories, environments
model  float32 in [-1, 1]  standardised: (x - μ) / σ  generators, discriminators, F
q      float32 in [0, 1]   float32, the task's units  Q-functions
=====  ==================  =========================  =============================

Each coordinate of a vector has a μ and a σ of its own, of a signal each channel. The units of a
signal whose full scale is known are -1 to 1 (:mod:`corrtool.tasks.signals`).

A Q-function that halves its pictures takes them raw as well (:func:`q_input`).

The paper's authors train F on [-1, 1] and feed it [0, 1] inside the model loss, which no test could
see. Here a stage never scales anything itself: it asks the :class:`StateScaling` of the task.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corrtool.states import IMAGE, SIGNAL, VECTOR, StateSpec


class StateScaling(nn.Module):
    """Convert states of one task between the three ranges (see the module's table).

    For images the conversion is fixed. For vectors it standardises with the mean and the standard
    deviation of the task's own memory, because a coordinate's unit says nothing about its
    importance; both are buffers, so they travel with the weights of F and of the correspondence.
    For signals it does so channel by channel, over all samples and frames, so that single frames
    (…, C, L) can be converted as well as states, as those of images can.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, spec: StateSpec, mean: Tensor | None = None, deviation: Tensor | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        if spec.kind != IMAGE:
            shape = spec.state_shape if spec.kind == VECTOR else (spec.frame_shape[0], 1)
            self.register_buffer("mean", torch.zeros(shape) if mean is None else mean.float())
            self.register_buffer(
                "deviation", torch.ones(shape) if deviation is None else deviation.float()
            )

    @classmethod
    def from_states(cls, spec: StateSpec, states: Tensor) -> StateScaling:
        """Scaling with the statistics of raw ``states`` (N, *state_shape).

        Coordinates, or channels, that never change get σ = 1.
        """
        if spec.kind == IMAGE:
            return cls(spec)
        if spec.kind == SIGNAL:
            return cls(spec, *_of_channels(spec, states.float()))
        deviation = states.float().std(dim=0, unbiased=False)
        return cls(spec, states.float().mean(dim=0), torch.where(deviation > 1e-6, deviation, 1.0))

    def raw_to_model(self, raw: Tensor) -> Tensor:
        """uint8 [0, 255] → [-1, 1]; a vector or a signal is standardised."""
        if self.spec.kind == IMAGE:
            return raw.float().mul_(2.0 / 255.0).sub_(1.0)
        return (raw - self._for(raw, self.mean)) / self._for(raw, self.deviation)

    def model_to_raw(self, model: Tensor) -> Tensor:
        """The inverse of :meth:`raw_to_model`; images are rounded to uint8."""
        if self.spec.kind == IMAGE:
            return ((model + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return model * self._for(model, self.deviation) + self._for(model, self.mean)

    def model_to_q(self, model: Tensor) -> Tensor:
        """[-1, 1] → [0, 1]; all but an image goes back to the task's units. Differentiable."""
        if self.spec.kind == IMAGE:
            return (model + 1.0) * 0.5
        return model * self._for(model, self.deviation) + self._for(model, self.mean)

    def _for(self, states: Tensor, statistic: Tensor) -> Tensor:
        """A statistic as states need it: that of a signal's channels once for each frame."""
        if self.spec.kind == VECTOR:
            return statistic
        return statistic.repeat(states.shape[-2] // len(statistic), 1)

    def raw_to_q(self, raw: Tensor) -> Tensor:
        """uint8 [0, 255] → [0, 1]; all but an image stays as it is."""
        return raw_to_q(self.spec, raw)


def raw_to_q(spec: StateSpec, raw: Tensor) -> Tensor:
    """Raw states to the range of a Q-function: uint8 [0, 255] → [0, 1]; others stay as they are."""
    if spec.kind == IMAGE:
        return raw.float().mul_(1.0 / 255.0)
    return raw


def q_input(q_function: nn.Module, spec: StateSpec, raw: Tensor) -> Tensor:
    """Raw states as ``q_function`` takes them: scaled, but for one that scales bytes itself."""
    return raw if getattr(q_function, "takes_bytes", False) else raw_to_q(spec, raw)


def _of_channels(spec: StateSpec, states: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ of each channel of signals (N, K·c, L), as (c, 1): the same for all K frames."""
    frames = spec.frames_of(states)
    mean, deviation = frames.mean((0, 1, 3)), frames.std((0, 1, 3), unbiased=False)
    return mean[:, None], torch.where(deviation > 1e-6, deviation, 1.0)[:, None]
