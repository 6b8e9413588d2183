"""``python -m corrtool``."""

from corrtool.cli import main

if __name__ == "__main__":
    main()
