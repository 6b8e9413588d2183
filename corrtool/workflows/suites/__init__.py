"""The suite: many pairs of tasks, several methods, and what each comes to."""
