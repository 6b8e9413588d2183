"""The process: device, precision, ranks, seeds, signals, console."""
