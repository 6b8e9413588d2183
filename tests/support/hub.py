"""A stand-in of the Hugging Face Hub on this machine: the parts of its HTTP API that are used."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support.commands import run_in_process

TOKEN = "hf_writes"
REPOSITORY = "someone/cartpole"
WEIGHTS = [
    "weights/corr/map.safetensors",
    "weights/model/f.safetensors",
    "weights/q/agent.safetensors",
]


def pushed(lab: Path, *more: object) -> None:
    """Push a project to :data:`REPOSITORY`."""
    assert run_in_process("push", REPOSITORY, *more, "-p", lab, "--quiet") == 0


class Hub:
    """Repositories by ``OWNER/REPO``, each a list of commits, the newest last.

    A commit is its SHA and the files it has, all of them. Tests change them at will.

    Attributes:
        private: the repositories that only the token opens.
        asked: method and path of every request.
    """

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.url = ""

    def files(self, repository: str) -> dict[str, bytes]:
        """The files of the newest commit."""
        return self.commits[repository][-1][1]

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit that has these files; returns its SHA."""
        commits = self.commits.setdefault(repository, [])
        named = sorted((path, hashlib.sha1(content).hexdigest()) for path, content in files.items())
        sha = hashlib.sha1(repr((len(commits), named)).encode()).hexdigest()
        commits.append((sha, files))
        return sha

    def at(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that is called so."""
        commits = self.commits.get(repository, [])
        if revision == "main":
            return commits[-1] if commits else ("0" * 40, {})
        return next((commit for commit in commits if commit[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._path()
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif not self._is_authorized():
            self._json({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked['organization']}/{asked['name']}"
            self.hub.commits[repository] = []
            if asked.get("visibility") == "private":
                self.hub.private.add(repository)
            self._json({"url": f"{self.hub.url}/{repository}", "id": repository})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            sha = self._committed(found[1], [json.loads(line) for line in body.splitlines()])
            self._json({"commitUrl": f"{self.hub.url}/{found[1]}/commit/{sha}", "commitOid": sha})
        else:
            self._json({"error": "not found"}, 404)

    def _committed(self, repository: str, lines: list[dict[str, Any]]) -> str:
        """Take the files of a commit, which come as one JSON object a line."""
        commits = self.hub.commits[repository]
        files = dict(commits[-1][1]) if commits else {}
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        return self.hub.commit(repository, files)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = about or file
        repository = "" if found is None else found[1]
        is_open = repository not in self.hub.private or self._is_authorized()
        if found is None or repository not in self.hub.commits or not is_open:
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")
            return
        commit = self.hub.at(repository, unquote(found[2] or "main"))
        if commit is None:
            self._json({"error": "Invalid rev id"}, 404, "RevisionNotFound")
        elif about is not None:
            listed = [
                {"rfilename": name, "size": len(content)} for name, content in commit[1].items()
            ]
            private = repository in self.hub.private
            self._json({"id": repository, "sha": commit[0], "private": private, "siblings": listed})
        elif (content := commit[1].get(unquote(found[3]))) is None:
            self._json({"error": "Entry not found"}, 404, "EntryNotFound")
        else:
            self._answer(content, 200, {"X-Repo-Commit": commit[0]})

    def _is_authorized(self) -> bool:
        return bool(self.headers.get("Authorization") == f"Bearer {TOKEN}")

    def _path(self) -> str:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        return path

    def _json(self, value: Any, status: int = 200, error: str = "") -> None:
        self._answer(json.dumps(value).encode(), status, {"X-Error-Code": error} if error else {})

    def _answer(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        kind = "application/octet-stream" if "X-Repo-Commit" in headers else "application/json"
        etag = hashlib.sha1(content).hexdigest()
        of_content = {"Content-Type": kind, "Content-Length": str(len(content)), "ETag": etag}
        for name, value in (of_content | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *_: Any) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers on this machine, at its ``url``."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
