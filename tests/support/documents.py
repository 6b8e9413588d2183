"""Code in documents: what a page tells its reader to type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A section of a page, without the sections before and after it.

    Attributes:
        title: the words of its heading.
        commands: its blocks of bash, one after the other.
        code: its blocks of Python that no file is named for.
        files: those that have a name, by it.
    """

    title: str
    commands: str
    code: list[str]
    files: dict[str, str]


def sections(page: Path) -> list[Section]:
    """The sections of a page that have a heading of the second level."""
    text = page.read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        blocks = _BLOCK.findall(part)
        found.append(
            Section(
                part.partition("\n")[0],
                "".join(code for language, _, code in blocks if language == "bash"),
                [code for language, name, code in blocks if language == "python" and not name],
                {name: code for _, name, code in blocks if name},
            )
        )
    return found
