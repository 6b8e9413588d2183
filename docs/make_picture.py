"""Draws docs/picture.svg from a real frame of Pong: ``python docs/make_picture.py``."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from corrtool.tasks import Lanes, parse_task

PAGE = 'viewBox="0 0 980 210" font-family="system-ui, sans-serif"'
STYLE = (
    "text{text-anchor:middle;fill:#1e293b} "
    ".big{font-size:20px;font-weight:600} .small{font-size:14px}"
)
MARKER = 'viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto"'


def png(frame: np.ndarray) -> str:
    """A frame as a data URI."""
    big = cv2.resize(frame, (336, 336), interpolation=cv2.INTER_NEAREST)
    return (
        "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", big)[1].tobytes()).decode()
    )


def main() -> None:
    frames = {}
    for name, views in (("source", []), ("target", ["rotate:90"])):
        with Lanes(parse_task(name, {"id": "ALE/Pong-v5", "views": views}, Path()), 1) as lanes:
            random = np.random.default_rng(3)
            lanes.reset([3])
            for _ in range(130):
                step = lanes.step(random.integers(0, lanes.actions, 1))
            frames[name] = png(step.frames[0, 0])

    def box(x: int, label: str, below: str) -> str:
        return (
            f'<rect x="{x}" y="60" width="170" height="84" rx="10" '
            f'fill="#eef2ff" stroke="#4f46e5" stroke-width="2"/>'
            f'<text x="{x + 85}" y="98" class="big">{label}</text>'
            f'<text x="{x + 85}" y="124" class="small">{below}</text>'
        )

    def arrow(x: int, width: int = 40) -> str:
        line = f"M{x} 102 h{width - 8}"
        return f'<path d="{line}" stroke="#334155" stroke-width="3" marker-end="url(#a)"/>'

    svg = f"""<svg xmlns="http://www.w3.org/2000/svg" {PAGE}>
<style>{STYLE}</style>
<defs><marker id="a" {MARKER}>
<path d="M0 0 L8 4 L0 8 z" fill="#334155"/></marker></defs>
<rect width="980" height="210" fill="#ffffff"/>
<image href="{frames["target"]}" x="16" y="22" width="160" height="160"/>
<text x="96" y="202" class="small">a state of the target task</text>
{arrow(184)}
{box(232, "G_T", "correspondence")}
{arrow(410)}
<image href="{frames["source"]}" x="458" y="22" width="160" height="160"/>
<text x="538" y="202" class="small">its twin in the source task</text>
{arrow(626)}
{box(674, "Q_S", "learnt long ago")}
{arrow(852)}
<text x="932" y="100" class="big">move</text><text x="932" y="124" class="small">the paddle</text>
</svg>
"""
    (Path(__file__).parent / "picture.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
