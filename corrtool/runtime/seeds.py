"""Seeds and random generators, derived from one seed."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive_seeds(seed: int, purpose: str, count: int, *position: int) -> list[int]:
    """``count`` independent environment seeds below 2³¹ for one purpose of one run.

    Streams of different purposes never meet: the games that choose a checkpoint are not the games
    reported. What tells them apart is hashed as a whole: numpy would join the numbers of a list and
    fill up with zeros, so that a position of 0 were none.

    Args:
        seed: the run's ``--seed``.
        purpose: for example ``"collect"``, ``"select"`` or ``"evaluate"``.
        position: what else tells the streams apart, such as the number of resumptions or the
            gradient step.
    """
    key = json.dumps([seed, purpose, *position]).encode()
    entropy = int.from_bytes(hashlib.sha256(key).digest(), "little")
    state = np.random.SeedSequence(entropy).generate_state(count, np.uint32)
    return [int(value) & 0x7FFFFFFF for value in state]


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A random generator for one purpose of one run; see :func:`derive_seeds`."""
    return np.random.default_rng(derive_seeds(seed, purpose, 4, *position))
