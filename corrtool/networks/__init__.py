"""The paper's networks (appendix 6.1) and their twins for vector states.

Each module has a ``build_…`` function that takes the states' :class:`~corrtool.states.StateSpec` and an architecture's
name; the arguments it was built with travel in the manifest, so that loading never guesses.
"""

from corrtool.networks.discriminators import build_discriminator
from corrtool.networks.environment_model import build_environment_model
from corrtool.networks.generators import build_generator, rotation_angle_degrees
from corrtool.networks.q_function import build_q_function

__all__ = [
    "build_discriminator",
    "build_environment_model",
    "build_generator",
    "build_q_function",
    "rotation_angle_degrees",
]
