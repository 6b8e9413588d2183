"""Tasks: environments, the views through which they are seen, and what a transition is."""

from corrtool.tasks.environments import Lanes, LaneStep, action_names, probe
from corrtool.tasks.task import Task, parse_task

__all__ = ["LaneStep", "Lanes", "Task", "action_names", "parse_task", "probe"]
