#!/usr/bin/env bash
# One would guess: `import openvino` uses no network, and neither does converting a file of one's own to another file.
#
# True: pip installs openvino_telemetry beside openvino, and by it the import alone writes an identifier of the user into the home
# folder and sends an event to www.google-analytics.com. `convert_model` sends more: version, framework, the operators of the
# model with their counts, which options were given, and how it ended. Nobody is asked, and errors are swallowed. Where
# openvino_telemetry cannot be imported, everything works and nothing is sent.
#
# Nothing is sent here: each request is noted, and refused before a socket is opened.
#
# Seen with openvino 2026.4.1 and openvino-telemetry 2025.2.0, Python 3.11:
#   import_only: wrote [intel/openvino_ga_cid], asked www.google-analytics.com [import]
#   convert: wrote [intel/openvino_ga_cid], asked www.google-analytics.com
#     [cli_parameters conversion_method conversion_result import op_count session version]
#   without_package: wrote [], asked  []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0 onnx==1.23.2
cat > "$folder/convert.py" <<'PYTHON'
import json
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

folder, step = Path(sys.argv[1]), sys.argv[2]


def refuse(event, arguments):
    """Note requests and refuse them, and every look-up of a name, before anything leaves the machine."""
    if event == "urllib.Request":
        address, data = arguments[:2]
        names = [message["name"] for message in json.loads(data)["events"]]
        with (folder / "asked").open("a") as file:
            file.write(f"{urlsplit(address).hostname} {','.join(names)}\n")
        raise OSError("no network here")
    if event == "socket.getaddrinfo":
        raise socket.gaierror(socket.EAI_NONAME, "no network here")


sys.addaudithook(refuse)  # processes that are forked from this one have it too
import onnx
from onnx import TensorProto, helper

values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", values[:1], values[1:])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "tiny.onnx")
if step == "without_package":
    sys.modules["openvino_telemetry"] = None
import openvino

if step != "import_only":
    openvino.save_model(openvino.convert_model(folder / "tiny.onnx"), folder / "tiny.xml")
PYTHON
try() { # step
  mkdir -p "$folder/$1/home"
  touch "$folder/$1/asked"
  env HOME="$folder/$1/home" "$folder/venv/bin/python" "$folder/convert.py" "$folder/$1" "$1"
  echo "$1: wrote [$(find "$folder/$1/home" -name 'openvino*' -printf '%P')]," \
    "asked $(cut -d' ' -f1 "$folder/$1/asked" | sort -u) [$(cut -d' ' -f2 "$folder/$1/asked" | sort -u | paste -sd' ')]"
}
for step in import_only convert without_package; do try "$step"; done | tee "$folder/seen"
grep -q "^import_only: .*google-analytics.com \[import\]" "$folder/seen" &&
  grep -q "^convert: .*google-analytics.com .*op_count" "$folder/seen" &&
  grep -q "^without_package: wrote \[\], asked  \[\]" "$folder/seen" || { echo "OpenVINO reports otherwise now"; exit 1; }
