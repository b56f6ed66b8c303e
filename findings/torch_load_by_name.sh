#!/usr/bin/env bash
# One would guess: `torch.load` reads a file by its content, so a path and the same file opened as a stream give the same
# tensors; and `map_location="meta"`, which loads no values, works for every file that it can read.
#
# True: a path that ends in `.safetensors` is handed to the safetensors library, whatever is in the file, and anything else
# never is. A checkpoint of torch with that ending loads only as a stream, a safetensors file only as a path, and with
# `map_location="meta"` (or a dict, or a callable) a safetensors file does not load at all.
#
# Seen with torch 2.15.0 and safetensors 0.8.0:
#   SafetensorError: Error while deserializing header: header too large
#   SafetensorError: device meta is invalid
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import safetensors.torch
import torch

print("torch", torch.__version__)
tensors = {"weight": torch.ones(2, 2)}
torch.save(tensors, "checkpoint.pth")
torch.save(tensors, "misnamed.safetensors")
safetensors.torch.save_file(tensors, "true.safetensors")
outcome = {}
for name in ("checkpoint.pth", "misnamed.safetensors", "true.safetensors"):
    for way in ("path", "stream"):
        for device in ("cpu", "meta"):
            try:
                torch.load(name if way == "path" else Path(name).open("rb"), map_location=device)
                outcome[name, way, device] = "loads"
            except Exception as error:
                outcome[name, way, device] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
            print(f"{name}, {way}, map_location={device}: {outcome[name, way, device]}")
loading = {key for key, result in outcome.items() if result == "loads"}
assert loading == {
    *((name, way, device) for name, way in (
        ("checkpoint.pth", "path"), ("checkpoint.pth", "stream"), ("misnamed.safetensors", "stream"),
    ) for device in ("cpu", "meta")),
    ("true.safetensors", "path", "cpu"),
}, "other files load now"
PYTHON
