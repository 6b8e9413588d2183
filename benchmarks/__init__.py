"""Speed and size beside what people would use instead.

``python -m benchmarks`` runs every row and prints a table.

One file per row. A row measures ours and the peer's in one process, alternating, because absolute
times drift with the machine and ratios do not.
"""
