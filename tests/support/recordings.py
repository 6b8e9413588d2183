"""Pictures of what a person sees in a terminal, as SVG: docs/figures/terminal.

``PYTHONPATH=tests python -m support.recordings docs/figures/terminal`` makes them from a CartPole
project of the default size, in some minutes; ``CORRTOOL_PRESET=tiny`` makes worse ones in seconds.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from support.commands import ROOT

COLUMNS = 100
VIEWS = ("--target-view", "permute:2,3,0,1", "--target-view", "scale:-1,1,-1,1")
# The fonts that rich's SVG asks another server for; pages show the reader's own.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_SHOWN = {
    "help": ("--help",),
    "transfer": ("transfer",),
    "status": ("status",),
    "explain": ("explain",),
}


def said(project: Path, *words: str) -> str:
    """What a command prints as its result in a terminal of :data:`COLUMNS`, with its colours.

    Raises :class:`subprocess.CalledProcessError` where it fails.
    """
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "corrtool", *words],
        cwd=project,
        env=os.environ | terminal | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.replace(str(project.resolve()), f"~/{project.name}")


def picture(command: str, printed: str) -> str:
    """A terminal in which a command has printed this, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), command))
    console.print(Text.from_ansi(printed.rstrip()))
    return console.export_svg(title="corrtool", code_format=_FORMAT, unique_id="terminal")


def record(folder: Path, workplace: Path) -> list[Path]:
    """Make a project in ``workplace``, and a picture of each command in ``folder``."""
    said(workplace, "init", "cart", "--source", "CartPole-v1", *VIEWS)
    made = []
    for name, words in _SHOWN.items():
        path = folder / f"{name}.svg"
        shown = picture(" ".join(("corrtool", *words)), said(workplace / "cart", *words))
        path.write_text(shown, encoding="utf-8")
        made.append(path)
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        record(Path(sys.argv[1]), Path(place))
