"""One module per step of the paper, named like its subcommand.

Each reads as one page: build → loop → save.
"""
