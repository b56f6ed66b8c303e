#!/usr/bin/env bash
# One would guess: `upload_file` of huggingface_hub asks the server how a large file travels: a server that answers "lfs"
# and has Git LFS's batch address, as mirrors and self-made Hubs do (HF_ENDPOINT), gets it by Git LFS.
#
# True: where hf_xet is installed, and it comes with huggingface_hub, the batch address is never asked. The client goes
# from "uploadMode": "lfs" straight to the Xet token of the repository; a server without one (404) ends the upload in a
# ConnectionError, "Network error", though the network and the server are well. HF_HUB_DISABLE_XET=1 is the way around.
#
# Seen with huggingface_hub 2.4.0 and hf_xet 1.8.0, 200,000 bytes as model.safetensors:
#   HF_HUB_DISABLE_XET=0: ConnectionError after preupload, xet-write-token
#   HF_HUB_DISABLE_XET=1: uploaded after preupload, batch, blob, commit
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0 hf_xet==1.8.0
cat > "$folder/upload.py" <<'PYTHON'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEPS = ("preupload", "xet-write-token", "batch", "blob", "commit")
asked = []


class Hub(BaseHTTPRequestHandler):
    """A Hub on this machine that takes files by Git LFS, and knows nothing of Xet."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        asked.extend(step for step in STEPS if step in path.split("/"))
        status, values = 200, {}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            values = {"files": [{"path": file["path"], "uploadMode": "lfs", "shouldIgnore": False} for file in files]}
        elif path.endswith("/objects/batch"):
            objects = [
                {**item, "actions": {"upload": {"href": f"{address}/blob/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            values = {"transfer": "basic", "objects": objects}
        elif "/commit/" in path:
            values = {"commitUrl": f"{address}/me/model/commit/{'0' * 40}", "commitOid": "0" * 40}
        elif not path.startswith("/blob/"):
            status, values = 404, {"error": "there is no such address"}
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_arguments):
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
address = f"http://127.0.0.1:{server.server_address[1]}"
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": address, "HF_TOKEN": "hf_token", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
from huggingface_hub import HfApi

try:
    HfApi().upload_file(path_or_fileobj=bytes(200_000), path_in_repo="model.safetensors", repo_id="me/model")
    result = "uploaded"
except Exception as error:
    result = type(error).__name__
print(f"{result} after {', '.join(asked)}")
PYTHON
export HF_HOME="$folder/home"
unset HF_HUB_OFFLINE
failed=0
for disabled in 0 1; do
  seen=$(HF_HUB_DISABLE_XET=$disabled timeout 300 "$folder/venv/bin/python" "$folder/upload.py" 2>/dev/null | tail -1)
  echo "HF_HUB_DISABLE_XET=$disabled: $seen"
  expected=$([ "$disabled" = 0 ] && echo "ConnectionError after preupload, xet-write-token" || echo "uploaded after preupload, batch, blob, commit")
  [ "$seen" = "$expected" ] || failed=1
done
[ $failed = 0 ] || { echo "This is different now." >&2; exit 1; }
