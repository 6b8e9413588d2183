"""Text that a terminal, a page or a figure shows as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment


def printable(text: str) -> str:
    """``text`` without what a terminal would obey.

    Names and commands may come from a project that somebody else made.
    """
    return _UNUSUAL.sub(_as_printable, text)


_UNUSUAL = re.compile(r"[^\n\t -~]")  # a page is long, and nearly all of it is none of these


def _as_printable(found: re.Match[str]) -> str:
    return c if (c := found[0]).isprintable() else c.encode("unicode_escape").decode()


class PrintableConsole(RichConsole):
    """Prints lines and tables as they are: nothing that a terminal, or rich, would obey."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """As rich has it, each text printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
