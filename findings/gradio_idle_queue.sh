#!/usr/bin/env bash
# One would guess: a Gradio app that nobody uses takes no CPU time, as other web servers do; its queue waits to be told of
# an event.
#
# True: on Linux and macOS the queue looks for events every millisecond, and for progress every ten milliseconds, for as
# long as the server runs. Without any page open that is several percent of a core, always: on a small machine it is
# taken from whatever else computes there. `blocks._queue.sleep_when_free` is the pause; on Windows it is 50 ms.
#
# Seen with Gradio 6.31.0, Python 3.11, two cores:
#   CPU time of an idle app in 6 s: 0.57 s as launched, 0.18 s when its queue looks every 10 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
GRADIO_ANALYTICS_ENABLED=False GRADIO_TEMP_DIR="$folder/files" "$folder/venv/bin/python" - <<'PYTHON'
import platform
import time

import gradio as gr

print("Gradio", gr.__version__, "Python", platform.python_version())
with gr.Blocks() as page:
    box = gr.Textbox()
    box.submit(str, box, box)
page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)


def measure_idle_seconds() -> float:
    time.sleep(2)
    start = time.process_time()
    time.sleep(6)
    return time.process_time() - start


assert page._queue.sleep_when_free == 0.001, "the queue pauses otherwise now"
as_launched = measure_idle_seconds()
page._queue.sleep_when_free = 0.01
page._queue.progress_update_sleep_when_free = 0.1
with_pauses = measure_idle_seconds()
print(f"CPU time of an idle app in 6 s: {as_launched:.2f} s as launched, {with_pauses:.2f} s when its queue looks every 10 ms")
page.close(verbose=False)
assert as_launched > 2 * with_pauses, "an idle app takes less CPU time now"
PYTHON
