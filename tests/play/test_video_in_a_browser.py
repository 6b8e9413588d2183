"""``evaluate --video replay.mp4`` in a real browser, which is what the Hub's page is shown in."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

from corrtool.play.video import plays_in_browsers

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
# Plays, then goes back to the middle, looks at the picture there, and tells.
PAGE = b"""<!doctype html><video muted></video><script>
const video = document.querySelector("video"), told = {};
const tell = () => fetch("/told", {method: "POST", body: JSON.stringify(told)});
video.onerror = () => { told.error = video.error.message; tell(); };
video.onended = () => { told.ended = video.currentTime; video.currentTime /= 2; };
video.onseeked = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [told.width, told.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const shown = context.getImageData(0, 0, canvas.width, canvas.height).data;
  told.greatest = shown.reduce((a, b, at) => (at % 4 < 3 && b > a ? b : a), 0);
  told.duration = video.duration;
  tell();
};
fetch("/video").then((answer) => answer.blob()).then((blob) => {
  video.src = URL.createObjectURL(blob);
  video.play();
});
</script>"""


class _Handler(BaseHTTPRequestHandler):
    video: bytes
    told: queue.Queue[dict[str, Any]]

    def do_GET(self) -> None:
        kind, content = ("video/mp4", self.video) if self.path == "/video" else ("text/html", PAGE)
        self._answer(kind, content)

    def do_POST(self) -> None:
        self.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer("text/plain", b"")

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: Any) -> None:
        """Nothing: a test's output is its own."""


def played(video: bytes, directory: Path) -> dict[str, Any]:
    """What a browser tells of a video that it has played."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    handler = type("Handler", (_Handler,), {"video": video, "told": told})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        browser = subprocess.Popen(
            [
                str(BROWSER),
                *("--headless=new", "--no-sandbox", "--disable-gpu"),
                "--autoplay-policy=no-user-gesture-required",
                f"--user-data-dir={directory / 'browser'}",
                f"http://127.0.0.1:{server.server_port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return told.get(timeout=60)
        finally:
            browser.terminate()
            browser.wait(30)
            server.shutdown()
            thread.join()


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_the_video_of_a_game_plays_to_its_end(cartpole_lab: Path, tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    path = tmp_path / "replay.mp4"
    evaluate = ("evaluate", "-p", cartpole_lab, "--task", "source", "--games", 1, "--device", "cpu")
    assert run_in_process(*evaluate, "--video", path, "--quiet") == 0
    if not plays_in_browsers(path):
        pytest.skip("OpenCV has no codec of browsers here")
    told = played(path.read_bytes(), tmp_path)
    assert "error" not in told
    assert told["ended"] == pytest.approx(told["duration"], abs=0.1)
    assert told["duration"] > 0.3  # 15 pictures a second, and a game has some ten at least
    assert min(told["width"], told["height"]) > 100
    assert told["greatest"] > 200, "there is something in its picture"


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_what_does_not_play_is_noticed(tmp_path: Path) -> None:
    assert "error" in played(b"no video", tmp_path)
