"""Tasks: environments, the views through which they are seen, and what a transition is."""

from corrtool.tasks.environments import Lanes, LaneStep
from corrtool.tasks.probing import action_names, probe
from corrtool.tasks.task import Task, parse_task
from corrtool.tasks.turns import lanes_in_turns

__all__ = ["LaneStep", "Lanes", "Task", "action_names", "lanes_in_turns", "parse_task", "probe"]
