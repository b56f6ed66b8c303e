"""A stand-in of the Hugging Face Hub on this machine: as much of its protocol as the unmodified client needs.

Repositories are created, files arrive as `regular` ones within a commit or by Git LFS, each commit is kept, and files
are given by revision.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_CanaryTokenThatNothingKeeps"
"""The only token that may write."""


class HubServer(ThreadingHTTPServer):
    """The stand-in.

    Attributes:
        commits: by repository (`models/USER/NAME`), the commits in order: identifier, and files by path.
        private: repositories that only the token sees.
        space_sdks: SDK of each Space that was created.
        blobs: contents that arrived by LFS, by SHA-256.
        refusal: status that every request gets instead; 0 for none.
        error_code: what the Hub's own header says of it.
        requests: method and path of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.space_sdks: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self.refusal, self.error_code = 0, ""
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self, home: Path, token: str = TOKEN) -> dict[str, str]:
        """What leads a process to this Hub. Xet, whose protocol is a compiled client's own, is off."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": token,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def add_commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Add a commit whose files replace those of their names."""
        earlier = self.commits.setdefault(repo, [])
        contents = {**(earlier[-1][1] if earlier else {}), **files}
        digest = hashlib.sha1(repr((len(earlier), sorted(contents.items()))).encode()).hexdigest()
        earlier.append((digest, contents))
        return digest

    def find_files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit of a revision, which is `main` or a commit."""
        commits = self.commits.get(repo, [])
        if revision == "main":
            return commits[-1] if commits else None
        return next((commit for commit in commits if commit[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, content: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.get("Content_Size", str(len(content))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer_json(self, values: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(values).encode(), Content_Type="application/json")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _is_refused(self) -> bool:
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.refusal:
            self._answer(self.server.refusal, X_Error_Code=self.server.error_code)
        return bool(self.server.refusal)

    def do_POST(self) -> None:
        body = self._read_body()
        if self._is_refused():
            return
        parts = self.path.partition("?")[0].strip("/").split("/")
        if not self._may_write():
            self._answer(401)
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            self._answer_json({"errors": [], "warnings": []})
        elif parts[-2] == "preupload":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".onnx")) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer_json({"files": files})
        elif parts[-3:] == ["lfs", "objects", "batch"]:
            objects = [
                {**item, "actions": {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            self._answer_json({"transfer": "basic", "objects": objects})
        elif parts[-2] == "commit":
            self._commit("/".join(parts[1:4]), body)
        else:
            self._answer(404)

    def _create(self, values: dict[str, Any]) -> None:
        repo_type = values.get("type", "model")
        repo = f"{repo_type}s/{values['organization']}/{values['name']}"
        prefix = "" if repo_type == "model" else f"{repo_type}s/"
        url = f"{self.server.url}/{prefix}{values['organization']}/{values['name']}"
        exists = repo in self.server.commits
        if repo_type == "space" and values.get("sdk") not in ("gradio", "static", "docker"):
            self._answer(400)
            return
        if not exists:
            self.server.commits[repo] = []
            self.server.space_sdks[repo] = values.get("sdk", "")
            self.server.add_commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
            if values.get("private") or values.get("visibility") == "private":
                self.server.private.add(repo)
        self._answer_json({"url": url}, 409 if exists else 200)

    def _commit(self, repo: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        digest = self.server.add_commit(repo, files)
        self._answer_json({"commitUrl": f"{self.server.url}/{repo}/commit/{digest}", "commitOid": digest})

    def do_PUT(self) -> None:
        body = self._read_body()
        if self._is_refused():
            return
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self._answer(200)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self._is_refused():
            return
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "api":
            repo, revision = "/".join(parts[1:4]), (parts[5] if len(parts) > 5 else "main")
        else:
            kind = parts.pop(0) if parts[0] in ("datasets", "spaces") else "models"
            repo, revision = f"{kind}/{'/'.join(parts[:2])}", parts[3]
        if repo not in self.server.commits or (repo in self.server.private and not self._may_write()):
            self._answer(404, X_Error_Code="RepoNotFound")
            return
        commit = self.server.find_files(repo, revision)
        if commit is None:
            self._answer(404, X_Error_Code="RevisionNotFound")
            return
        digest, files = commit
        if parts[0] == "api" and parts[4:5] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self._answer_json(entries)
            return
        if parts[0] == "api":
            siblings = [{"rfilename": name} for name in files]
            self._answer_json(
                {
                    "id": repo.partition("/")[2],
                    "sha": digest,
                    "siblings": siblings,
                    "private": repo in self.server.private,
                }
            )
            return
        content = files.get("/".join(parts[4:]))
        if content is None:
            self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=digest)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._answer(200, content, ETag=etag, X_Repo_Commit=digest, Content_Type="application/octet-stream")

    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say on the terminal."""


@contextmanager
def serving_hub() -> Iterator[HubServer]:
    """A Hub at work."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
