#!/usr/bin/env bash
# One would guess: `import onnxruntime` from PyPI on Linux writes nothing and reports to nobody; and after
# `disable_telemetry_events()` nothing of its telemetry is there.
#
# True: the official build sends telemetry by default on Linux and macOS too. The import alone, before any session and before
# any call could switch it off, writes an identifier of the machine and a database of events to send into the user's cache
# folder, and a session identifier into the temporary folder. Only `ORT_DISABLE_TELEMETRY=1`, set before the import, prevents it.
#
# Seen with onnxruntime 1.32.0, Python 3.11:
#   import: deviceid onnxruntime.db .ses
#   import, then disable_telemetry_events(): deviceid onnxruntime.db .ses
#   import with ORT_DISABLE_TELEMETRY=1: nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0
unset ORT_DISABLE_TELEMETRY
try() { # name, code, further variables
  home="$folder/$1"
  mkdir "$home"
  env HOME="$home" XDG_CACHE_HOME="$home/cache" TMPDIR="$home" "${@:3}" "$folder/venv/bin/python" -c "$2"
  echo "$1: $(find "$home" -type f \( -name deviceid -o -name onnxruntime.db -o -name .ses \) -printf '%f\n' | sort | tr '\n' ' ')"
}
try import "import onnxruntime" | tee "$folder/seen"
try switched_off "import onnxruntime; onnxruntime.disable_telemetry_events()" | tee -a "$folder/seen"
try variable "import onnxruntime" ORT_DISABLE_TELEMETRY=1 | tee -a "$folder/seen"
grep -q "^import: .*deviceid" "$folder/seen" && grep -q "^switched_off: .*deviceid" "$folder/seen" && grep -q "^variable: $" "$folder/seen"
