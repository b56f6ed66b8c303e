"""Browser app, started by `python app.py`, `gradio app.py` or a Hugging Face Space. See `python app.py --help`."""

from __future__ import annotations

import sys

from ftlab.ui import build_app
from ftlab.ui.serve import is_first_start, parse_profile, serve

# Under `gradio app.py` the arguments belong to gradio.
ARGUMENTS = sys.argv[1:] if __name__ == "__main__" else []

# `gradio app.py` executes this file again in the same process after each change: serve only the first time.
if __name__ == "__main__" and is_first_start():
    sys.exit(serve(ARGUMENTS))

# The name that `gradio app.py` and Hugging Face Spaces look for.
demo = build_app(parse_profile(ARGUMENTS))
