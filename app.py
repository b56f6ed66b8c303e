"""The browser app: `python app.py`, `gradio app.py`, and what a Hugging Face Space runs. `python app.py --help`."""

from __future__ import annotations

import sys

from ftlab.ui import build_app
from ftlab.ui.serve import is_first_start, parse_profile, serve

ARGUMENTS = sys.argv[1:] if __name__ == "__main__" else []

# `gradio app.py` runs this file again after each change, in the same process: only the first time serves.
if __name__ == "__main__" and is_first_start():
    sys.exit(serve(ARGUMENTS))

demo = build_app(parse_profile(ARGUMENTS))
