"""Tasks: environments, the views through which they are seen, and what a transition is."""

from corrtool.tasks.environments import Lanes, LaneStep, action_names, probe
from corrtool.tasks.task import Preprocessing, Task, parse_task

__all__ = ["LaneStep", "Lanes", "Preprocessing", "Task", "action_names", "parse_task", "probe"]
