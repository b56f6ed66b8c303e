#!/usr/bin/env bash
# One would guess: Gradio's queue starts the events of a page in the order in which they came, as queues do, at least while
# no handler has reached its limit.
#
# True: it keeps a queue for each handler and takes from a handler that is drawn at random. Of two events that wait at the
# same time, a load event and a click for example, the later one may run first; a handler that drops outdated answers by
# the order of its calls then keeps the wrong one. Handlers of one `concurrency_id` share a queue, and keep the order.
#
# Seen with gradio 6.31.0, gradio_client 2.7.2, Python 3.11 (another order at each run):
#   sent:               a b c d e f g h i j
#   each by itself:     c a i e d h g j f b
#   one concurrency_id: a b c d e f g h i j
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
GRADIO_ANALYTICS_ENABLED=False HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import time

import gradio as gr
from gradio_client import Client

NAMES = "abcdefghij"


def serve(concurrency_id):
    started = []

    def make_handler(name):
        def handle():
            started.append(name)
            time.sleep(8 if name == "busy" else 0.01)

        return handle

    with gr.Blocks() as page:
        for name in ["busy", *NAMES]:
            options = {"concurrency_id": concurrency_id} if concurrency_id else {}
            gr.Button().click(make_handler(name), api_name=name, **options)
    # One thread, so that events wait for each other; on a busy server they do so with forty.
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, max_threads=1)
    client = Client(url, verbose=False)
    jobs = [client.submit(api_name="/busy")]
    time.sleep(0.5)
    for name in NAMES:
        jobs.append(client.submit(api_name=f"/{name}"))
        time.sleep(0.5)  # the client sends from threads of its own
    for job in jobs:
        job.result(timeout=60)
    page.close()
    return started[1:]


by_handler, shared = serve(None), serve("one")
print("sent:              ", *NAMES)
print("each by itself:    ", *by_handler)
print("one concurrency_id:", *shared)
assert sorted(by_handler) == list(NAMES)
assert by_handler != list(NAMES), "they now keep the order"
assert shared == list(NAMES), "they no longer keep the order"
PYTHON
