"""The pictures of terminals in the documents can be made, and show what they say they do."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from support.commands import ROOT
from support.recordings import picture, record

SAYS = {
    "help": "move an agent's knowledge across it",
    "transfer": "random play on the target",
    "status": "target: CartPole-v1 permute:2,3,0,1",
    "explain": "records of M_T",
}


def words_of(svg: str) -> str:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return " ".join(unescape("".join(texts)).replace("\xa0", " ").split())


def test_pictures_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRTOOL_PRESET", "tiny")
    monkeypatch.setenv("CORRTOOL_DEVICE", "cpu")
    made = {path.stem: path.read_text(encoding="utf-8") for path in record(tmp_path, tmp_path)}
    assert made.keys() == SAYS.keys()
    for name, svg in made.items():
        assert SAYS[name] in words_of(svg)
        assert "http" not in svg.replace("http://www.w3.org/", "").replace(
            "https://www.textualize.io", ""
        )


def test_a_picture_keeps_colours() -> None:
    svg = picture("corrtool status", "\x1b[31mdamaged\x1b[0m <b>")
    assert "damaged" in words_of(svg) and "<b>" in words_of(svg)
    assert len(set(re.findall(r"fill: (#\w+)", svg))) > 2


def test_those_in_the_documents_are_of_the_same_commands() -> None:
    shown = {path.stem: path for path in (ROOT / "docs/figures/terminal").glob("*.svg")}
    assert shown.keys() == SAYS.keys()
    for name, path in shown.items():
        assert SAYS[name] in words_of(path.read_text(encoding="utf-8"))
        assert path.stat().st_size < 200_000
