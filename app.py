"""Browser app, started by `python app.py`, `gradio app.py` or a Hugging Face Space. See `python app.py --help`."""

from __future__ import annotations

import sys

EARLY_INTERRUPT_STATUS = 130
"""Exit status after a Ctrl+C that comes before anything else is imported."""

try:
    import threading

    from ftlab.core import interruption

    # Before the large imports, so that Ctrl+C ends them in one line. `gradio app.py` executes this file again in
    # another thread after each change.
    if __name__ == "__main__" and threading.current_thread() is threading.main_thread():
        interruption.watch_process()

    from ftlab.ui import build_app
    from ftlab.ui.serve import is_first_start, parse_profile, serve

    # Under `gradio app.py` the arguments belong to gradio.
    ARGUMENTS = sys.argv[1:] if __name__ == "__main__" else []

    # Serve only the first time that `gradio app.py` executes this file.
    if __name__ == "__main__" and is_first_start():
        sys.exit(serve(ARGUMENTS))

    # The name that `gradio app.py` and Hugging Face Spaces look for.
    demo = build_app(parse_profile(ARGUMENTS))
except KeyboardInterrupt:
    if "interruption" in globals():
        interruption.announce_interrupt()
    sys.exit(EARLY_INTERRUPT_STATUS)
