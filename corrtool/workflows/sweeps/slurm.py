"""``--engine slurm``: a sweep as a job array that submitit submits, with a task for each cell.

A task is the same command as in the script of ``--print-sbatch``, so that nothing of SLURM's or
submitit's state matters. It is no engine that a sweep waits for: the command returns at once.
submitit keeps a folder of pickles, which hold words alone (:mod:`.cell_task`); nothing of corrtool
ever reads them.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corrtool.errors import CorrtoolError, UsageError
from corrtool.files.atomic import inside
from corrtool.workflows.sweeps.sbatch import SIGNAL_SECONDS, cell_log, missing_cells
from corrtool.workflows.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from pathlib import Path

    from submitit import Executor

    from corrtool.workflows.sweeps.cell_task import CellTask

MOST_TURNS = 1000  # that the time limit ends; each goes on from the last one's checkpoint
DEFAULT_MINUTES = 60  # submitit's own default is 5

_LISTS = ("slurm_setup", "slurm_teardown", "slurm_srun_args")
_NOT_FOR_USERS = {
    "slurm_array_parallelism": "give it as --jobs",
    **dict.fromkeys(("slurm_time", "slurm_timeout_min"), "give it as timeout_min"),
    **dict.fromkeys(("name", "slurm_name", "slurm_job_name"), "a job is called like its sweep"),
    **dict.fromkeys(
        ("nodes", "tasks_per_node", "slurm_nodes", "slurm_tasks_per_node", "slurm_ntasks_per_node"),
        "a cell is one task on one node",
    ),
    "slurm_additional_parameters": "a text cannot hold them; --print-sbatch writes a script",
}
_OF_LOCAL = ("timeout_min", "slurm_signal_delay_s", "gpus_per_node")


@dataclass(frozen=True)
class Resources:
    """What ``--slurm`` says.

    Attributes:
        cluster: ``slurm``, or ``local`` for processes of this machine, to try it out.
        said: parameters of submitit's ``update_parameters``.
    """

    cluster: str
    said: Mapping[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """What was said, and what holds where nothing was."""
        defaults = {"timeout_min": DEFAULT_MINUTES, "slurm_signal_delay_s": SIGNAL_SECONDS}
        return defaults | dict(self.said)


def parse_resources(texts: Sequence[str]) -> Resources:
    """What texts such as ``mem_gb=8`` say.

    Raises:
        UsageError: one of them says nothing that submitit or the cluster knows.
    """
    cluster, parameters = "slurm", dict[str, Any]()
    for text in texts:
        key, equals, said = text.partition("=")
        if not (equals and key and said):
            raise UsageError(f"--slurm is {text!r}", "give it KEY=VALUE, such as timeout_min=120")
        if key in _NOT_FOR_USERS:
            raise UsageError(f"--slurm {key} is not to be given", _NOT_FOR_USERS[key])
        if key in _LISTS:
            parameters.setdefault(key, []).append(said)
        elif key in parameters:
            raise UsageError(f"--slurm {key} is given twice", "give it once")
        elif key == "cluster":
            cluster = said
        else:
            parameters[key] = _value(said)
    if cluster not in ("slurm", "local"):
        raise UsageError(f"--slurm cluster is {cluster!r}", "it can be slurm or local")
    useless = [key for key in parameters if key not in _OF_LOCAL]
    if cluster == "local" and useless:
        raise UsageError(
            f"--slurm {useless[0]} has no effect with cluster=local",
            f"what has one is {', '.join(_OF_LOCAL)}",
        )
    return Resources(cluster, parameters)


def _value(said: str) -> object:
    for kind in (int, float):
        try:
            return kind(said)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(said, said)


def check_submission(resources: Resources, jobs: int | None) -> None:
    """Check that submitit is there and takes these parameters, and that SLURM is there.

    Args:
        jobs: how many tasks run at once; None for as many as SLURM lets.

    Raises:
        UsageError: it is not so.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "--engine slurm needs submitit", "pip install 'corrtool[slurm]', or use --print-sbatch"
        ) from None
    _update(submitit.AutoExecutor("unused", cluster="debug"), resources.parameters)
    seconds = resources.parameters["slurm_signal_delay_s"]
    if not (isinstance(seconds, int) and 0 < seconds < 60 * resources.parameters["timeout_min"]):
        raise UsageError(
            f"--slurm slurm_signal_delay_s is {seconds!r}",
            "give it seconds before the end of timeout_min, at which a task begins to save",
        )
    if resources.cluster == "local" and jobs is not None:
        raise UsageError("--jobs has no effect with cluster=local", "all cells run at once")
    absent = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if resources.cluster == "slurm" and absent:
        raise UsageError(
            f"there is no {absent[0]} here: this machine is no login node of SLURM",
            "submit from one, take a script there that --print-sbatch writes, or try it out with "
            "--slurm cluster=local",
        )


def submit_sweep(
    sweep: Sweep,
    command: list[str],
    variables: Mapping[str, str],
    resources: Resources,
    jobs: int | None,
) -> list[str]:
    """Submit a task for each cell that is not done; returns the ids of the jobs, in their order.

    Args:
        command: with ``--cell NUMBER`` behind it what a task runs.
        variables: of the environment, that a task is to have whatever a node has.
        jobs: how many tasks run at once; None for as many as SLURM lets.

    Raises:
        UsageError: all cells are done, or SLURM does not know a parameter.
        CorrtoolError: SLURM has refused the job.
    """
    tasks = cell_tasks(sweep, command, variables)
    folder = inside(sweep.project.root, cell_log(sweep, "0").parent / "submitit")
    name = f"corrtool-{sweep.name}"
    return submit_tasks(tasks, folder, resources, name, jobs, begin=sweep.write)


def submit_tasks(
    tasks: Sequence[CellTask],
    folder: Path,
    resources: Resources,
    name: str,
    jobs: int | None,
    begin: Callable[[], object],
) -> list[str]:
    """Submit tasks as one job array; returns the ids of the jobs, in their order.

    Args:
        folder: of what submitit keeps; is made.
        jobs: how many run at once; None for as many as SLURM lets.
        begin: called once the parameters are known to be good, before anything is submitted.

    Raises:
        UsageError: SLURM does not know a parameter.
        CorrtoolError: SLURM has refused the job.
    """
    if "%" in str(folder):
        raise UsageError(f"{folder}: SLURM replaces what follows a %", "move the project")
    executor = executor_of(folder, resources, name, jobs or len(tasks))
    begin()
    folder.mkdir(parents=True, exist_ok=True)
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        submitted = executor.submit_array(list(tasks))
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        raise CorrtoolError(f"SLURM has refused the job: {said[-1]}", "see --slurm") from None
    return [job.job_id for job in submitted]


def cell_tasks(sweep: Sweep, command: list[str], variables: Mapping[str, str]) -> list[CellTask]:
    """A task for each cell that is not done, which runs those that wait for it as well.

    Raises:
        UsageError: all of them are done.
    """
    from corrtool.workflows.sweeps.cell_task import CellTask

    setting = [f"{name}={value}" for name, value in variables.items()]
    return [
        CellTask(
            [*(["env", *setting] if setting else []), *command, "--cell", str(number)],
            str(cell_log(sweep, str(number))),
        )
        for number in missing_cells(sweep)
    ]


def executor_of(folder: Path, resources: Resources, name: str, at_once: int) -> Executor:
    """What submits the tasks, with its parameters.

    Raises:
        UsageError: a parameter is not known.
    """
    import submitit

    said = resources.parameters
    executor: Executor
    if resources.cluster == "local":  # through AutoExecutor it takes no time of the signal
        executor = submitit.LocalExecutor(folder, max_num_timeout=MOST_TURNS)
        said = {key.removeprefix("slurm_"): value for key, value in said.items()}
    else:
        executor = submitit.AutoExecutor(
            folder, cluster=resources.cluster, slurm_max_num_timeout=MOST_TURNS
        )
        said |= {
            "name": name,
            "slurm_array_parallelism": at_once,
            "slurm_additional_parameters": {"requeue": True},
        }
    _update(executor, said)
    return executor


def _update(executor: Executor, parameters: Mapping[str, Any]) -> None:
    """Give an executor its parameters; what it says against them becomes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it only warns of names without their prefix
            executor.update_parameters(**parameters)
    except (NameError, AssertionError, ValueError, TypeError, UserWarning) as error:
        line = str(error).partition("\n")[0]
        raise UsageError(f"--slurm: {line}", "it takes what submitit's AutoExecutor does") from None
