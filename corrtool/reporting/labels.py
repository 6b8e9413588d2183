"""Labels of figures."""

from __future__ import annotations

import textwrap

from corrtool.runtime.printable import printable


def wrapped(label: str, width: int) -> str:
    """A label in lines of at most ``width`` characters.

    Of cells that differ in many settings it names the first ones.
    """
    return textwrap.fill(plain(label), width, max_lines=3, placeholder=" …")


def plain(text: str) -> str:
    """``text`` as a figure shows it as it is: matplotlib takes what is between ``$`` for a formula.

    Names and settings may come from a project that somebody else made.
    """
    return printable(text).replace("$", r"\$")
