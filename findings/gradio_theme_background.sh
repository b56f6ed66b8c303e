#!/usr/bin/env bash
# One would guess: `theme.set(one_value=...)` of Gradio changes that value and leaves the others of the theme as they are.
#
# True: it also puts the background colors (`background_fill_primary`, `background_fill_secondary` and their `_dark`) back to
# the defaults, so that another color of labels turns the gray page of the theme `Soft` white. `set` looks for the old values
# under names that no theme has (`background_primary`). Name the backgrounds again in each call.
#
# Seen with gradio 6.31.0, Python 3.11:
#   background_fill_primary: *neutral_50 -> white
#   block_label_text_color: *primary_500 -> red
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
GRADIO_ANALYTICS_ENABLED=False HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import gradio as gr

theme = gr.themes.Soft()
before = dict(vars(theme))
theme.set(block_label_text_color="red")
changed = {name: (before[name], value) for name, value in vars(theme).items() if before.get(name) != value}
for name, (old, new) in changed.items():
    print(f"{name}: {old} -> {new}")
assert changed == {
    "block_label_text_color": ("*primary_500", "red"),
    "background_fill_primary": ("*neutral_50", "white"),
}, changed
PYTHON
