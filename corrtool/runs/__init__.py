"""Runs: what one is asked for, its record, checkpoints, loop and metrics."""
