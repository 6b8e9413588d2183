"""Links between the documents: each leads to a file, and to a heading that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
IN_HTML = re.compile(r'(?:src|href)="([^"]+)"')


def text_of(document: Path) -> str:
    """A document without its blocks of code."""
    text = document.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("(", " "), text)


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of each link that stays within the repository."""
    text = text_of(document)
    for link in [*LINK.findall(text), *IN_HTML.findall(text)]:
        if "://" not in link and not link.startswith("mailto:"):
            path, _, anchor = link.partition("#")
            yield (document.parent / path if path else document), anchor


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = list[str]()
    for heading in re.findall(r"^#+ +(.+?) *$", text_of(document), flags=re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        again = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None
                    for other in found)  # fmt: skip
        found.append(f"{anchor}-{again}" if again else anchor)
    return {*found}


def test_anchors_by_hand(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# A, b\n## `init`\n### M_S's [link](a.md)\n```\n# no\n```\n## `init`\n")
    assert anchors(document) == {"a-b", "init", "m_ss-link", "init-1"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in links(document):
        assert path.exists(), f"{document.name} links to {path}, which is not there"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{document.name}: {path.name} has no heading #{anchor}"
