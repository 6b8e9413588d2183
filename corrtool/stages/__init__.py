"""One module per step of the paper, named like its subcommand; each reads as one page: build → loop → save."""
