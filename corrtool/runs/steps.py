"""What depends on how many gradient steps are done."""

from __future__ import annotations


def learning_rate_share(step: int, total: int, constant_share: float) -> float:
    """Linear decay to zero over ``total`` steps, constant for the first ``constant_share``."""
    constant = constant_share * total
    return 1.0 if step < constant else max(0.0, (total - step) / max(1.0, total - constant))
