"""Tasks: environments, the views through which they are seen, and what a transition is."""

from corrtool.tasks.environments import Lanes, LaneStep, probe
from corrtool.tasks.task import Preprocessing, Task, parse_task

__all__ = ["LaneStep", "Lanes", "Preprocessing", "Task", "parse_task", "probe"]
