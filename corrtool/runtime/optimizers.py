"""torch's optimizers without torch's compiler.

Each method of ``torch.optim`` first keeps the compiler from looking into it, for which it imports
it: two seconds at every start of a stage that learns. corrtool compiles no optimizer.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

O = TypeVar("O", bound=torch.optim.Optimizer)  # noqa: E741

_KEPT_FROM_THE_COMPILER = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def _without_compiler(kind: type[O]) -> type[O]:
    """``kind``, whose methods are those below the wrappers for the compiler."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _KEPT_FROM_THE_COMPILER}
    step = torch.no_grad()(inspect.unwrap(kind.step))  # as the wrapper does
    return type(kind.__name__, (kind,), {**methods, "step": step})


Adam = _without_compiler(torch.optim.Adam)
LBFGS = _without_compiler(torch.optim.LBFGS)
RMSprop = _without_compiler(torch.optim.RMSprop)
SGD = _without_compiler(torch.optim.SGD)
