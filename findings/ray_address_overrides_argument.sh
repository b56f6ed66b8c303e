#!/usr/bin/env bash
# One would guess: `JobSubmissionClient("http://A:8265")` submits jobs to the cluster A, as its argument says; variables of
# the environment are for calls that name no address.
#
# True: RAY_ADDRESS (and RAY_API_SERVER_ADDRESS) replace the address that the client is given, without a word. A job
# submitted to A from a shell in which RAY_ADDRESS names B runs on B, with A's paths.
#
# Seen with ray 2.60.0:
#   without RAY_ADDRESS: asked ['A']
#   with RAY_ADDRESS: asked ['B']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
cat > "$folder/two_clusters.py" <<'PYTHON'
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

asked = []


class Dashboard(BaseHTTPRequestHandler):
    """Answers what the client asks first, as the dashboard of a cluster does."""

    def do_GET(self):
        asked.append("A" if self.server is a else "B")
        body = json.dumps({"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


a, b = (HTTPServer(("127.0.0.1", 0), Dashboard) for _ in range(2))
for server in (a, b):
    threading.Thread(target=server.serve_forever, daemon=True).start()
from ray.job_submission import JobSubmissionClient

if "with" in sys.argv:
    os.environ["RAY_ADDRESS"] = f"http://127.0.0.1:{b.server_port}"
JobSubmissionClient(f"http://127.0.0.1:{a.server_port}")
print("asked", sorted(set(asked)))
PYTHON
export RAY_USAGE_STATS_ENABLED=0
unset RAY_ADDRESS RAY_API_SERVER_ADDRESS
without=$("$folder/venv/bin/python" "$folder/two_clusters.py" | grep "^asked")
with=$("$folder/venv/bin/python" "$folder/two_clusters.py" with | grep "^asked")
echo "without RAY_ADDRESS: $without"
echo "with RAY_ADDRESS: $with"
[ "$without" = "asked ['A']" ] && [ "$with" = "asked ['B']" ] || { echo "Ray goes by its argument now"; exit 1; }
