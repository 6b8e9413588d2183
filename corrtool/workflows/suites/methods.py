"""What the suite compares on each pair, as the commands that make and play it.

``ours`` is ``corrtool transfer``, as anybody would type it. The others are learnt in the same
project from the same agent: the paper's networks and losses at corrtool's size, and learning from
nothing in as many environment steps of the target as the memory M_T has records.
"""

from __future__ import annotations

from corrtool.experiments.pairs import Pair
from corrtool.settings.stages import CollectSettings

OURS, SCRATCH = "ours", "scratch"
_AS_PRINTED = {  # the paper's generator, for each kind of states
    "image": ("--generator", "resnet", "--no-framewise", "--no-skips", "--no-folded"),
    "grid": ("--generator", "resnet", "--no-framewise"),
    "signal": ("--generator", "resnet"),
    "vector": ("--generator", "mlp"),
}
_LAMBDAS = {"gan": (0, 0, 0), "cyclegan": (10, 0, 0), "paper": (1, 1, 1)}  # λ_Cyc, λ_Q, λ_M
METHODS = (OURS, *_LAMBDAS, SCRATCH)


def name_of(method: str) -> str:
    """The name that its artifact has in a pair's project; that of ``ours`` is ``transfer``'s."""
    return f"suite-{method}"


def commands_of(method: str, pair: Pair) -> list[list[str]]:
    """The commands of a method, in order, of which the last plays; without project and seed."""
    name = name_of(method)
    if method == OURS:
        return [["transfer"]]
    if method == SCRATCH:
        steps = str(CollectSettings().records)
        learn = ["finetune", "--from-scratch", "--env-steps", steps, "--name", name]
        return [learn, ["evaluate", "--q", name]]
    weights = zip(("cyc", "q", "m"), _LAMBDAS[method], strict=True)
    learn = ["learn-corr", "--name", name, "--recipe", "none", "--action-map", "identity"]
    learn += ["--no-match-play", "--cycle-loss", "printed", *_AS_PRINTED[pair.source.kind]]
    learn += [word for loss, weight in weights for word in (f"--lambda-{loss}", str(weight))]
    return [learn, ["evaluate", "--corr", name]]
