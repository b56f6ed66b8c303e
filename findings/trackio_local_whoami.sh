#!/usr/bin/env bash
# One would guess: `trackio.init` of a local run, without a Space or a server, uses no network: it writes an SQLite file.
#
# True: where a token of Hugging Face is on the machine (HF_TOKEN, or a login of years ago), each process that opens a
# local run sends this token to huggingface.co first (`whoami`), waits for the answer, and writes the account's name
# into the run's configuration (`_Username`). Without a network the run opens all the same, silently.
#
# Seen with trackio 0.43.0 and huggingface_hub 2.4.0:
#   without a token: asked []
#   with a token: asked ['huggingface.co']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check trackio==0.43.0 huggingface_hub==2.4.0
cat > "$folder/local_run.py" <<'PYTHON'
import socket
import sys

asked = []


def refuse(event, arguments):
    """Note the hosts that are looked up, and answer as where there is no network."""
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "localhost", "127.0.0.1"):
        asked.append(arguments[0])
        raise socket.gaierror(socket.EAI_NONAME, "no network")


sys.addaudithook(refuse)
import trackio

run = trackio.init("project", name="run", embed=False, auto_log_cpu=False, auto_log_gpu=False)
run.log({"loss": 1.0}, step=0)
run.finish()
print("asked", sorted(set(asked)))
PYTHON
export HF_HOME="$folder/hub" TRACKIO_DIR="$folder/runs"
unset HF_TOKEN HF_HUB_OFFLINE TRACKIO_SPACE_ID TRACKIO_SERVER_URL
without=$("$folder/venv/bin/python" "$folder/local_run.py" | grep "^asked")
with=$(HF_TOKEN=hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "$folder/venv/bin/python" "$folder/local_run.py" | grep "^asked")
echo "without a token: $without"
echo "with a token: $with"
[ "$without" = "asked []" ] && [ "$with" = "asked ['huggingface.co']" ] || { echo "trackio asks otherwise now"; exit 1; }
