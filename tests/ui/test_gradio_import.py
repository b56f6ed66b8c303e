"""How Gradio is imported: fast, and without a trace in the installation."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORT_GRADIO = """
import json, sys
opened = []
sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
import ftlab.ui
import gradio
from gradio import component_meta
print(json.dumps({
    "stubs": [name for name in opened if name.endswith(".pyi")],
    "writer": hasattr(component_meta, "create_or_modify_pyi"),
    "events": hasattr(gradio.Textbox, "change"),
}))
"""


def test_gradio_reads_and_writes_no_stubs_of_its_components() -> None:
    command = [sys.executable, "-c", IMPORT_GRADIO]
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # Where Gradio has no such function any more, `gradio_import` has no purpose.
    assert seen == {"stubs": [], "writer": True, "events": True}
