#!/usr/bin/env bash
# One would guess: choosing an option of a Gradio dropdown with the mouse calls its `input` handler once, as it calls
# `change` and `select`. The documentation says that `input` is triggered when the user changes the value.
#
# True: `input` is called twice for each choice, both times with the new value; `change` and `select` once. Outside the
# queue, where nothing drops the second call, a handler that scans a folder or starts something does it twice.
#
# Seen with Gradio 6.31.0 in Chromium:
#   after choosing two: input ['two', 'two'], change ['two'], select ['two']
#   after choosing three: input ['two', 'two', 'three', 'three'], change ['two', 'three'], select ['two', 'three']
#
# A Chromium of the system is needed (CHROMIUM names it; /usr/bin/chromium if not).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0 playwright==1.65.2
GRADIO_ANALYTICS_ENABLED=False GRADIO_TEMP_DIR="$folder/files" "$folder/venv/bin/python" - <<'PYTHON'
import os

import gradio as gr
from playwright.sync_api import sync_playwright

print("Gradio", gr.__version__)
calls = {"input": [], "change": [], "select": []}
with gr.Blocks() as page:
    menu = gr.Dropdown(["one", "two", "three"], value="one", elem_id="menu")
    for name in calls:
        getattr(menu, name)(lambda value, name=name: calls[name].append(value), menu, None, queue=False)
_, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
    )
    tab = browser.new_page()
    tab.goto(url)
    tab.wait_for_selector("#menu input")
    for option in ("two", "three"):
        tab.locator("#menu input").click()
        tab.get_by_role("option", name=option).click()
        tab.wait_for_timeout(4000)
        print(f"after choosing {option}: " + ", ".join(f"{name} {values}" for name, values in calls.items()))
    browser.close()
page.close(verbose=False)
assert calls["change"] == calls["select"] == ["two", "three"]
assert calls["input"] == ["two", "two", "three", "three"], "input is called otherwise now"
PYTHON
